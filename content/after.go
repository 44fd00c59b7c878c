package content

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// after is what comes before something: slugs, and the line that names them.
type after struct {
	file  string
	line  int
	slug  string
	slugs []string
}

// checkAfter checks what articles and tracks are to be read after.
func (l *Library) checkAfter() error {
	var articles, tracks []after
	for _, t := range l.Tracks {
		tracks = append(tracks, after{path.Join(t.Slug, "track.yaml"), t.afterLine, t.Slug, t.After})
		for _, a := range t.Articles {
			articles = append(articles, after{path.Join(a.Dir, "index.md"), a.afterLine, a.Slug, a.After})
		}
	}
	return errors.Join(checkAfter("article", articles), l.checkOrder(), checkAfter("track", tracks))
}

// checkAfter checks that all are known, and that none waits for itself.
func checkAfter(kind string, all []after) error {
	known := slugs(all, func(a after) string { return a.slug })
	before := map[string][]string{}
	var errs []error
	for _, a := range all {
		p := &problems{file: a.file}
		for i, slug := range a.slugs {
			switch {
			case !slices.Contains(known, slug):
				p.add(a.line, "after: there is no %s %q: %s", kind, slug, didYouMean(slug, known))
			case slices.Contains(a.slugs[:i], slug):
				p.add(a.line, "after: %s is named twice", slug)
			}
		}
		before[a.slug] = a.slugs
		errs = append(errs, p.err())
	}
	if way := circle(known, before); way != nil {
		i := slices.Index(known, way[0])
		errs = append(errs, Problem{File: all[i].file, Line: max(all[i].line, 1),
			Msg: fmt.Sprintf("after: these %ss wait for each other: %s", kind, strings.Join(way, " → "))})
	}
	return errors.Join(errs...)
}

// checkOrder: who reads a track in order has read before what an article needs.
func (l *Library) checkOrder() error {
	var errs []error
	for _, t := range l.Tracks {
		order := slugs(t.Articles, func(a *Article) string { return a.Slug })
		for i, a := range t.Articles {
			p := &problems{file: path.Join(a.Dir, "index.md")}
			for _, slug := range a.After {
				if slices.Index(order, slug) > i {
					p.add(a.afterLine, "after: %s comes later in the track: change the order of one of them", slug)
				}
			}
			errs = append(errs, p.err())
		}
	}
	return errors.Join(errs...)
}

// circle returns a way from a slug back to itself, or nil when there is none.
func circle(all []string, before map[string][]string) []string {
	done := map[string]bool{}
	var way []string
	var visit func(slug string) []string
	visit = func(slug string) []string {
		if i := slices.Index(way, slug); i >= 0 {
			return append(slices.Clone(way[i:]), slug)
		}
		if done[slug] {
			return nil
		}
		way = append(way, slug)
		for _, next := range before[slug] {
			if found := visit(next); found != nil {
				return found
			}
		}
		way = way[:len(way)-1]
		done[slug] = true
		return nil
	}
	for _, slug := range all {
		if found := visit(slug); found != nil {
			return found
		}
	}
	return nil
}
