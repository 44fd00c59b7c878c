// Command diagrams renders the Mermaid sources of articles and labs to SVG,
// beside them:
//
//	go run ./content/diagrams [-force | -check] [DIR…]
//
// It renders those name.mmd below the folders (content/tracks and
// labs/catalogue when none is named) whose name.svg is missing or was made from
// another source. With -check it renders all and writes nothing, but fails if
// one comes out differently than it was committed.
//
// It works in a real Chromium and needs Debian's chromium and npm. The drawings
// are committed, so nobody else needs either. What the sources may use is
// described on package content.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"drydock/content"
)

// columnWidth is how wide the text of an article is on a wide screen.
const columnWidth = 720

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "diagrams:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("diagrams", flag.ContinueOnError)
	force := flags.Bool("force", false, "render also what is up to date")
	check := flags.Bool("check", false, "render all and compare, but write nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dirs := flags.Args()
	if len(dirs) == 0 {
		dirs = []string{filepath.Join("content", "tracks"), filepath.Join("labs", "catalogue")}
	}
	diagrams, err := find(dirs)
	if err != nil {
		return err
	}
	var stale []diagram
	for _, d := range diagrams {
		if *force || *check || !d.fresh {
			stale = append(stale, d)
		}
	}
	if len(stale) == 0 {
		fmt.Printf("all %d diagrams are up to date\n", len(diagrams))
		return nil
	}
	return renderAll(ctx, stale, *check)
}

// renderAll renders the diagrams one after the other. A mistake in one does
// not keep the others from being rendered.
func renderAll(ctx context.Context, diagrams []diagram, check bool) error {
	browser, err := newBrowser(ctx)
	if err != nil {
		return err
	}
	defer browser.close()
	var errs []error
	for _, d := range diagrams {
		drawn, err := browser.render(d.source)
		if err == nil && check {
			err = d.compare(drawn)
		} else if err == nil {
			err = d.write(drawn)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.path, err))
		}
	}
	if check && len(errs) == 0 {
		fmt.Printf("all %d diagrams come out as they are\n", len(diagrams))
	}
	return errors.Join(errs...)
}

func (d diagram) write(drawn drawing) error {
	if err := os.WriteFile(d.target(), []byte(drawn.SVG), 0o644); err != nil {
		return err
	}
	fmt.Printf("%s (%d px wide, %d KB)\n", d.target(), drawn.Width, (len(drawn.SVG)+1023)/1024)
	if drawn.Width > columnWidth {
		fmt.Printf("  wider than the %d px of a page's column: its words are shown at %d %% of their size. Try flowchart TB, shorter words or fewer nodes in a row.\n",
			columnWidth, 100*columnWidth/drawn.Width)
	}
	return nil
}

func (d diagram) compare(drawn drawing) error {
	committed, err := os.ReadFile(d.target())
	if err == nil && string(committed) != drawn.SVG {
		err = errors.New("comes out differently now: render it, and look at it")
	}
	return err
}

// diagram is a Mermaid source on disk.
type diagram struct {
	path   string
	source []byte
	fresh  bool
}

func (d diagram) target() string { return strings.TrimSuffix(d.path, ".mmd") + ".svg" }

// find returns the diagrams below the folders.
func find(dirs []string) (all []diagram, err error) {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".mmd" {
				return err
			}
			d := diagram{path: path}
			if d.source, err = os.ReadFile(path); err != nil {
				return err
			}
			svg, err := os.ReadFile(d.target())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			d.fresh = content.DiagramFresh(d.source, svg)
			all = append(all, d)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look for diagrams below %s: %w", dir, err)
		}
	}
	return all, nil
}

// source is a Mermaid source taken apart.
type source struct {
	title, desc string
	text        string
}

// parse takes the title and the description out of the comments, and gives
// the diagram the classes that mean something.
func parse(raw []byte) (s source, err error) {
	kind := ""
	for line := range strings.Lines(string(bytes.ReplaceAll(raw, []byte("\r"), nil))) {
		trimmed := strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(trimmed, "%% title:"); ok {
			s.title = strings.TrimSpace(rest)
		} else if rest, ok := strings.CutPrefix(trimmed, "%% desc:"); ok {
			s.desc = strings.TrimSpace(rest)
		} else if trimmed == "---" || strings.HasPrefix(trimmed, "%%{") {
			return s, errors.New("settings (--- or %%{init: …}%%) are the same for all diagrams: leave them out")
		} else if kind == "" && trimmed != "" && !strings.HasPrefix(trimmed, "%%") {
			kind = strings.Fields(trimmed)[0]
		}
	}
	switch {
	case s.title == "":
		return s, errors.New(`a diagram needs a title: begin the file with "%% title: …"`)
	case s.desc == "":
		return s, errors.New(`a diagram needs a description for people who cannot see it: add "%% desc: …" below the title`)
	case kind == "":
		return s, errors.New("the diagram is empty")
	}
	s.text = strings.TrimRight(string(raw), "\n") + "\n"
	switch kind {
	case "flowchart", "graph", "stateDiagram-v2", "classDiagram":
		s.text += meanings()
	}
	return s, nil
}

// meanings defines the classes that a node can be given with :::.
func meanings() string {
	var b strings.Builder
	colour := map[string]string{}
	for _, c := range content.DiagramColours() {
		colour[c.Name] = c.Light
	}
	for _, class := range []string{"good", "bad", "accent", "muted"} {
		fmt.Fprintf(&b, "classDef %s fill:%s,stroke:%s,color:%s\n", class, colour[class], colour[class+"-border"], colour["text"])
	}
	return b.String()
}
