package content

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"image"
	_ "image/jpeg" // to read the size of figures
	_ "image/png"
	"path"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// maxPicture is a screenshot of a whole screen with all its colours. Pictures
// are kept in memory while the library is served.
const maxPicture = 512 << 10

// figureNode is a figure in the place of a paragraph with only an image.
type figureNode struct {
	ast.BaseBlock
	html    string
	drawing *drawing // nil for a picture
}

// Kinds of node are numbered by goldmark when the program starts.
var kindFigure = ast.NewNodeKind("DrydockFigure")

func (*figureNode) Kind() ast.NodeKind           { return kindFigure }
func (n *figureNode) Dump(src []byte, level int) { ast.DumpHelper(n, src, level, nil, nil) }

// onlyImage returns the image that is all of the paragraph.
func onlyImage(p *ast.Paragraph) *ast.Image {
	if p.ChildCount() != 1 {
		return nil
	}
	image, _ := p.FirstChild().(*ast.Image)
	return image
}

// figure replaces the paragraph by the figure that its image names.
func (r *reader) figure(p *ast.Paragraph, image *ast.Image) {
	line := r.line(image)
	name, alt := destination(image.Destination), words(r.plain(image))
	if alt == "" {
		r.add(line, "say what %s shows between the brackets, for people who cannot see it: ![…](%s)", name, name)
		return
	}
	r.figures++
	r.said.say(alt)
	r.said.say(string(image.Title))
	drawn, err := r.draw(name, alt)
	if err != nil {
		r.add(line, "%v", err)
		return
	}
	caption := ""
	if len(image.Title) > 0 {
		caption = "<figcaption>" + html.EscapeString(string(image.Title)) + "</figcaption>"
	}
	drawn.html = "<figure>" + drawn.html + caption + "</figure>\n"
	p.Parent().ReplaceChild(p.Parent(), p, drawn)
}

// draw returns the picture itself.
func (r *reader) draw(name, alt string) (*figureNode, error) {
	if strings.ContainsAny(name, `:\`) || strings.HasPrefix(name, "/") || path.Clean(name) != name || strings.HasPrefix(name, "..") {
		return nil, fmt.Errorf("the figure %q must be a file beside this text: Drydock works without a network", name)
	}
	data, err := r.open(name)
	if err != nil {
		return nil, err
	}
	switch path.Ext(name) {
	case ".svg":
		byHand, err := r.checkFresh(name, data)
		if err != nil {
			return nil, err
		}
		drawn, err := inlineSVG(data, alt, fmt.Sprintf("%sfigure-%d-", r.opt.IDPrefix, r.figures), byHand)
		if err != nil {
			return nil, fmt.Errorf("the drawing %s: %w", name, err)
		}
		return &figureNode{html: drawn.html, drawing: drawn}, nil
	case ".png", ".jpg", ".jpeg":
		if len(data) > maxPicture {
			return nil, fmt.Errorf("the picture %s has %d KB, and at most %d are allowed: make it smaller", name, len(data)>>10, maxPicture>>10)
		}
		size, _, err := image.DecodeConfig(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("read the figure %s: %w", name, err)
		}
		return &figureNode{html: fmt.Sprintf(`<img src="%s" alt="%s" width="%d" height="%d" loading="lazy" decoding="async">`,
			html.EscapeString(r.opt.FigureBase+name), html.EscapeString(alt), size.Width, size.Height)}, nil
	}
	return nil, fmt.Errorf("a figure is an .svg, .png or .jpg file, not %s", name)
}

func (r *reader) open(name string) ([]byte, error) {
	if r.opt.Open == nil {
		return nil, fmt.Errorf("there can be no file such as %s here", name)
	}
	data, err := r.opt.Open(name)
	if err != nil {
		if strings.HasSuffix(name, ".svg") {
			if _, err := r.opt.Open(strings.TrimSuffix(name, ".svg") + ".mmd"); err == nil {
				return nil, fmt.Errorf("the diagram %s was not rendered yet: run `make diagrams`", name)
			}
		}
		return nil, fmt.Errorf("there is no file %s beside this text", name)
	}
	return data, nil
}

// checkFresh says whether an SVG is what its Mermaid source beside it gives,
// or made by hand, where there is no such source.
func (r *reader) checkFresh(name string, svg []byte) (byHand bool, err error) {
	source, err := r.opt.Open(strings.TrimSuffix(name, ".svg") + ".mmd")
	if err != nil {
		return true, nil
	}
	if !DiagramFresh(source, svg) {
		return false, errors.New(strings.TrimSuffix(name, ".svg") + ".mmd was changed since " + name + " was rendered: run `make diagrams`")
	}
	return false, nil
}
