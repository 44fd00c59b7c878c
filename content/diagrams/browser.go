package main

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"drydock/content"
)

// renderTimeout is for one diagram, and for starting the browser on a busy
// machine. One takes a tenth of a second.
const renderTimeout = 2 * time.Minute

//go:embed draw.js
var drawScript string

// browser is a Chromium with a page that has Mermaid and our script.
type browser struct {
	page context.Context
	stop []func()
}

func newBrowser(ctx context.Context) (_ *browser, err error) {
	b := &browser{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	dir, err := os.MkdirTemp("", "drydock-diagrams-*")
	if err != nil {
		return nil, err
	}
	b.stop = append(b.stop, func() { os.RemoveAll(dir) })
	page, err := writePage(ctx, dir)
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, // root in a container has no sandbox
		chromedp.Flag("force-device-scale-factor", "1"), chromedp.Flag("font-render-hinting", "none")) // the same widths everywhere
	allocator, cancel := chromedp.NewExecAllocator(ctx, options...)
	b.stop = append(b.stop, cancel)
	b.page, cancel = chromedp.NewContext(allocator)
	b.stop = append(b.stop, cancel)
	if err := chromedp.Do(b.page, chromedp.Navigate("file://"+page)); err != nil {
		return nil, fmt.Errorf("start Chromium (apt install chromium): %w", err)
	}
	return b, nil
}

func (b *browser) close() {
	for i := len(b.stop) - 1; i >= 0; i-- {
		b.stop[i]()
	}
}

// drawing is what the script answers.
type drawing struct {
	SVG      string   `json:"svg"`
	Width    int      `json:"width"`
	Problems []string `json:"problems"`
}

// render returns the SVG of a source.
func (b *browser) render(raw []byte) (drawing, error) {
	s, err := parse(raw)
	if err != nil {
		return drawing{}, err
	}
	colours := map[string]string{}
	for _, c := range content.DiagramColours() {
		colours[c.Light] = c.Name
	}
	call, err := callOf("draw", s.text, mermaidConfig(), colours, s.title, s.desc)
	if err != nil {
		return drawing{}, err
	}
	ctx, cancel := context.WithTimeout(b.page, renderTimeout)
	defer cancel()
	drawn, err := chromedp.Run(ctx, chromedp.Evaluate[drawing](call, chromedp.EvalAwaitPromise))
	if err != nil {
		return drawing{}, errors.New(complaint(err))
	}
	if len(drawn.Problems) > 0 {
		return drawing{}, errors.New(strings.Join(drawn.Problems, "; "))
	}
	drawn.SVG = content.DiagramMark(raw) + "\n" + drawn.SVG
	return drawn, nil
}

// complaint is what Mermaid says, without the places in its own program.
func complaint(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n    at ")
	if _, after, ok := strings.Cut(text, "): Error: "); ok {
		text = after
	}
	return "Mermaid: " + text
}

// callOf is a call of a JavaScript function.
func callOf(function string, args ...any) (string, error) {
	list := make([]string, len(args))
	for i, arg := range args {
		data, err := json.Marshal(arg)
		if err != nil {
			return "", err
		}
		list[i] = string(data)
	}
	return function + "(" + strings.Join(list, ",") + ")", nil
}

// writePage writes the page that diagrams are rendered in. The font is part
// of it: what is installed on the machine must not change a diagram.
func writePage(ctx context.Context, dir string) (string, error) {
	mermaid, err := fromNPM(ctx, "mermaid", mermaidVersion, "dist/mermaid.min.js")
	if err != nil {
		return "", err
	}
	var html strings.Builder
	html.WriteString("<!doctype html><meta charset=utf-8><title>diagrams</title><style>")
	for _, weight := range []string{"400", "700"} {
		for _, slope := range []string{"normal", "italic"} {
			font, err := fromNPM(ctx, "@fontsource/arimo", arimoVersion, "files/arimo-latin-"+weight+"-"+slope+".woff2")
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&html, "@font-face{font-family:Arimo;font-weight:%s;font-style:%s;src:url(data:font/woff2;base64,%s)}",
				weight, slope, base64.StdEncoding.EncodeToString(font))
		}
	}
	html.WriteString("</style><div id=holder></div><script src=mermaid.js></script><script src=draw.js></script>")
	page := filepath.Join(dir, "page.html")
	return page, errors.Join(
		os.WriteFile(page, []byte(html.String()), 0o600),
		os.WriteFile(filepath.Join(dir, "mermaid.js"), mermaid, 0o600),
		os.WriteFile(filepath.Join(dir, "draw.js"), []byte(drawScript), 0o600),
	)
}
