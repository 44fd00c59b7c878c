package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"drydock/content"
	"drydock/content/live"
	"drydock/labs"
)

// articles are those that a server shows.
type articles interface {
	Library() *content.Library
	// Trouble is why the newest version is not the one that is shown.
	Trouble() live.Trouble
	// Watch reads them again when they change, until ctx ends.
	Watch(ctx context.Context)
}

// builtIn are the articles that come with Drydock. They never change.
type builtIn struct{ library *content.Library }

func (b builtIn) Library() *content.Library { return b.library }
func (builtIn) Trouble() live.Trouble       { return live.Trouble{} }
func (builtIn) Watch(context.Context)       {}

// startGC is the growth of the heap, in percent, after which garbage is collected
// while articles are loaded at start.
const startGC = 400

// openArticles loads the articles of a folder, or those that come with Drydock.
// What it makes stays, nearly all of it: of 2,000 articles a fifth of the time
// would go into looking for garbage, with the percentage of a running server.
func openArticles(dir string, labSet *labs.Catalogue, log *slog.Logger) (articles, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(startGC))
	if dir == "" {
		library, err := content.Load(content.Embedded())
		if err != nil {
			return nil, fmt.Errorf("the articles have errors:\n%w", err)
		}
		return builtIn{library}, nil
	}
	folder, err := live.Open(live.Config{Dir: dir, Log: log, Check: func(l *content.Library) error { return l.CheckLabs(slugsOf(labSet)) }})
	if err != nil {
		return nil, badArticles(dir, err)
	}
	return folder, nil
}

// startProblems is how many problems a server that does not start prints: what
// fits on a screen.
const startProblems = 20

// badArticles is why a server with articles of this folder does not start.
func badArticles(dir string, err error) error {
	found := content.Problems(err)
	if len(found) == 0 {
		return fmt.Errorf("--content %s: %w", dir, err)
	}
	shown := found[:min(len(found), startProblems)]
	lines := make([]error, len(shown))
	for i, p := range shown {
		lines[i] = p
	}
	if more := len(found) - len(shown); more > 0 {
		lines = append(lines, fmt.Errorf("and %d more", more))
	}
	return fmt.Errorf("--content %s: the articles have problems (drydock content lint %[1]s prints them all):\n%w", dir, errors.Join(lines...))
}

func slugsOf(set *labs.Catalogue) []string {
	var slugs []string
	for _, lab := range set.All() {
		slugs = append(slugs, lab.Slug)
	}
	return slugs
}

// watchInBackground watches until ctx ends or stop is called.
func watchInBackground(ctx context.Context, a articles) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.Watch(ctx)
	}()
	return func() {
		cancel()
		<-stopped
	}
}
