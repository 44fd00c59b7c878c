package convert

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// What is read of a source is bounded: an archive of some kilobytes can hold
// terabytes, and what does not fit into a lab is of no use to one.
const (
	// maxArchive bounds what an archive unpacks to, in bytes. Collections of
	// hundreds of scenarios have some 20 MB; most of that is pictures.
	maxArchive = 256 << 20
	// maxEntries bounds the number of files and folders. The largest public
	// collections have a few thousand.
	maxEntries = 50_000
	// maxFile bounds one file. A lab's whole folder may have 8 MiB.
	maxFile = 8 << 20
	// maxPath bounds a path in an archive, as file systems do.
	maxPath = 1024
	// maxIndex bounds a file that describes a scenario; real ones have some kilobytes.
	maxIndex = 1 << 20
	// maxPage bounds a page of text; long ones have some 50 kilobytes.
	maxPage = 256 << 10
)

// source is what is imported: a folder on disk, or an archive unpacked into
// a folder of its own. Nothing outside it is read, wherever links point.
type source struct {
	fs.FS
	name  string // as the user called it
	close func() error
	left  []Note // what was not unpacked
}

// openSource opens a folder or an archive: tar, tar.gz or zip, by content.
func openSource(name string) (*source, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open what is to be imported: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, fmt.Errorf("open what is to be imported: %w", err)
		}
		return &source{FS: root.FS(), name: name, close: root.Close}, nil
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a folder nor an archive", name)
	}
	return openArchive(name)
}

func openArchive(name string) (_ *source, err error) {
	dir, err := os.MkdirTemp("", "drydock-import-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to unpack %s into: %w", name, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a folder to unpack %s into: %w", name, err), os.RemoveAll(dir))
	}
	s := &source{FS: root.FS(), name: name, close: func() error { return errors.Join(root.Close(), os.RemoveAll(dir)) }}
	u := &unpacker{root: root, left: maxArchive}
	if err := u.unpack(name); err != nil {
		return nil, errors.Join(fmt.Errorf("unpack %s: %w", name, err), s.close())
	}
	s.left = u.notes
	return s, nil
}

// unpacker writes the entries of an archive below a folder.
type unpacker struct {
	root    *os.Root
	left    int64 // bytes that may still be written
	entries int
	notes   []Note
}

// errNoArchive is for what no archive begins with.
var errNoArchive = errors.New("this is no archive that can be read: it must be a tar, a tar.gz or a zip")

// magicLength is up to where a tar names itself.
const magicLength = 262

func (u *unpacker) unpack(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	head := bufio.NewReaderSize(f, magicLength)
	magic, _ := head.Peek(magicLength) // a shorter file is none of them
	switch {
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")), bytes.HasPrefix(magic, []byte("PK\x05\x06")):
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return u.zip(f, info.Size())
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		unzipped, err := gzip.NewReader(head)
		if err != nil {
			return fmt.Errorf("read the gzip: %w", err)
		}
		return u.tar(unzipped)
	case len(magic) == magicLength && string(magic[257:262]) == "ustar":
		return u.tar(head)
	}
	return errNoArchive
}

func (u *unpacker) tar(r io.Reader) error {
	// What is skipped is decompressed, too: the bound is on all that is read.
	bounded := &io.LimitedReader{R: r, N: 2 * maxArchive}
	for archive := tar.NewReader(bounded); ; {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case bounded.N <= 0:
			return tooMuch()
		case err != nil:
			return fmt.Errorf("read the tar: %w", err)
		}
		switch header.Typeflag {
		case tar.TypeXGlobalHeader: // git writes the commit into one
			continue
		case tar.TypeDir:
			continue // made with the files in them
		case tar.TypeReg:
			err = u.file(header.Name, header.Size, archive)
		case tar.TypeSymlink, tar.TypeLink:
			err = u.skip(header.Name, "a link, which could lead out of the archive, is not followed")
		default:
			err = u.skip(header.Name, "a special file is not unpacked")
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacker) zip(f *os.File, size int64) error {
	archive, err := zip.NewReader(f, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // its paths are looked at below
		return fmt.Errorf("read the zip: %w", err)
	}
	for _, entry := range archive.File {
		mode := entry.Mode()
		switch {
		case mode.IsDir():
			continue
		case mode&fs.ModeSymlink != 0:
			err = u.skip(entry.Name, "a link, which could lead out of the archive, is not followed")
		case !mode.IsRegular():
			err = u.skip(entry.Name, "a special file is not unpacked")
		default:
			err = u.zipped(entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) zipped(entry *zip.File) error {
	content, err := entry.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", entry.Name, err)
	}
	defer content.Close()
	// The size that a zip declares may be a lie; what is read is counted.
	return u.file(entry.Name, int64(min(entry.UncompressedSize64, maxArchive)), content)
}

// count refuses what no collection of scenarios looks like.
func (u *unpacker) count(name string) (string, error) {
	u.entries++
	clean := path.Clean(strings.TrimPrefix(name, "./"))
	switch {
	case u.entries > maxEntries:
		return "", fmt.Errorf("it holds more than %d files", maxEntries)
	case len(name) > maxPath:
		return "", fmt.Errorf("it holds a path of %d characters; at most %d are taken", len(name), maxPath)
	case !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(name, `\`) || !fs.ValidPath(clean):
		return "", fmt.Errorf("its entry %q leads out of the archive: it is not trusted", name)
	}
	return clean, nil
}

func (u *unpacker) skip(name, why string) error {
	clean, err := u.count(name)
	if err == nil {
		u.notes = append(u.notes, Note{Kind: KindFile, File: clean, Text: why})
	}
	return err
}

func (u *unpacker) file(name string, size int64, content io.Reader) error {
	clean, err := u.count(name)
	if err != nil {
		return err
	}
	if size > maxFile {
		u.notes = append(u.notes, Note{Kind: KindFile, File: clean, Text: fmt.Sprintf("%d bytes are more than a lab may have: not unpacked", size)})
		return nil
	}
	if err := u.root.MkdirAll(filepath.FromSlash(path.Dir(clean)), 0o700); err != nil {
		return fmt.Errorf("unpack %s: %w", clean, err)
	}
	out, err := u.root.OpenFile(filepath.FromSlash(clean), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", clean, err)
	}
	limit := min(u.left, maxFile)
	n, err := io.Copy(out, io.LimitReader(content, limit+1))
	err = errors.Join(err, out.Close())
	u.left -= n
	switch {
	case err != nil:
		return fmt.Errorf("unpack %s: %w", clean, err)
	case n > limit && limit < maxFile:
		return tooMuch()
	case n > limit:
		return fmt.Errorf("its entry %s is larger than it says: it is not trusted", clean)
	}
	return nil
}

func tooMuch() error {
	return fmt.Errorf("it unpacks to more than %d MiB: unpack it yourself and import the folder, if you trust it", maxArchive>>20)
}

// errOutside is for a path that leads out of what is imported.
var errOutside = errors.New("leads out of what is imported")

// within joins a path that a file names to that file's folder.
func within(dir, name string) (string, error) {
	name = strings.ReplaceAll(strings.TrimSpace(name), `\`, "/")
	joined := path.Join(dir, name)
	switch {
	case name == "":
		return "", errors.New("is empty")
	case path.IsAbs(name) || !fs.ValidPath(joined) || strings.ContainsRune(name, 0):
		return "", errOutside
	}
	return joined, nil
}

// read reads a file of at most limit bytes, in words for a report.
func (s *source) read(name string, limit int64) ([]byte, error) {
	f, err := s.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.missing(name)
	case err != nil:
		return nil, inWords(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, inWords(err)
	case info.IsDir():
		return nil, errors.New("is a folder, not a file")
	case !info.Mode().IsRegular():
		return nil, errors.New("is no ordinary file")
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, inWords(err)
	case int64(len(content)) > limit:
		return nil, fmt.Errorf("is larger than %d KiB, the most that is taken", limit>>10)
	}
	return content, nil
}

// missing names the file that was probably meant.
func (s *source) missing(name string) error {
	entries, err := fs.ReadDir(s, path.Dir(name))
	if err != nil {
		return fmt.Errorf("%w: there is no folder %s", errMissing, path.Dir(name))
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return fmt.Errorf("%w%s", errMissing, didYouMean(path.Base(name), names))
}

// errMissing is for a file that is named and not there.
var errMissing = errors.New("is not there")

// walk lists the files that want takes, in the order of their names. Folders
// that hold no scenarios, such as .git, are left out.
func (s *source) walk(want func(name string) bool) ([]string, error) {
	var found []string
	seen := 0
	err := fs.WalkDir(s, ".", func(name string, entry fs.DirEntry, err error) error {
		switch seen++; {
		case err != nil:
			return fmt.Errorf("look through %s: %w", s.name, err)
		case seen > maxEntries:
			return fmt.Errorf("look through %s: it holds more than %d files", s.name, maxEntries)
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules"):
			return fs.SkipDir
		case entry.Type().IsRegular() && want(name):
			found = append(found, name)
		}
		return nil
	})
	return found, err
}

// inWords leaves out the path, which the report names already.
func inWords(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		if strings.Contains(at.Err.Error(), "escapes") {
			return errors.New("is a link that " + errOutside.Error())
		}
		return fmt.Errorf("can't be read: %w", at.Err)
	}
	return fmt.Errorf("can't be read: %w", err)
}
