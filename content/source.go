package content

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// source is what an article was loaded from. Its page is made of this when
// somebody asks for it, and not of files that may have changed meanwhile.
type source struct {
	index []byte // index.md as it was read
	// files are those beside it that the text was checked with; nil for one
	// that was looked for and is not there.
	files  map[string][]byte
	folder fs.FS // while the article is loaded
}

// take reads a file beside the text, and keeps it.
func (s *source) take(name string) ([]byte, error) {
	data, err := fs.ReadFile(s.folder, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.files == nil {
		s.files = map[string][]byte{}
	}
	if err != nil {
		s.files[name] = nil
		return nil, err
	}
	if data == nil {
		data = []byte{}
	}
	s.files[name] = data
	return data, nil
}

// kept returns a file that was taken.
func (s *source) kept(name string) ([]byte, error) {
	data := s.files[name]
	if data == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return data, nil
}

// same says whether the files in the folder are those that were taken.
func (s *source) same(index []byte, folder fs.FS) bool {
	if !bytes.Equal(index, s.index) {
		return false
	}
	for name, before := range s.files {
		now, err := fs.ReadFile(folder, name)
		if (err != nil) != (before == nil) || !bytes.Equal(now, before) {
			return false
		}
	}
	return true
}

// options say where the text of the article stands.
func (a *Article) options(open func(string) ([]byte, error)) Options {
	return Options{FigureBase: "/articles/" + a.Slug + "/", Open: open, page: true, terms: a.glossary}
}

// Figure returns a PNG or JPEG file that the text shows or links to, as it was
// when the article was loaded. Any other is [fs.ErrNotExist].
func (a *Article) Figure(name string) ([]byte, error) {
	if !isPicture(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return a.kept(name)
}

func isPicture(name string) bool {
	switch path.Ext(name) {
	case ".png", ".jpg", ".jpeg":
		return true
	}
	return false
}

// HTML returns the text as HTML that is safe to put into a page; comments in it
// are around the places of labs' cards, see [Article.Pieces]. It is rendered
// when it is asked for first, and again when others were asked for since.
func (a *Article) HTML() (string, error) {
	return a.pages.html(a, func() (string, error) {
		file := path.Join(a.Dir, "index.md")
		_, text, _ := splitFrontMatter(a.index) // it had some when it was loaded
		doc, err := Render(file, text, a.options(a.kept))
		if err != nil {
			return "", fmt.Errorf("render %s, which was sound when it was loaded: %w", file, err)
		}
		return doc.HTML, nil
	})
}
