package web

import (
	"sort"
	"strings"

	"drydock/content"
)

// maxSuggestions bounds "did you mean": more than a few is a list, not a hint.
const maxSuggestions = 3

// nearest returns those of the links whose slug (the last part of the URL) is
// most like the one asked for, nearest first, and none that is too far off.
func nearest(slug string, among []link) []link {
	type scored struct {
		link
		distance int
	}
	var found []scored
	slug = slug[:min(len(slug), maxCompared)]
	for _, l := range among {
		have := l.URL[strings.LastIndexByte(l.URL, '/')+1:]
		d := content.EditDistance(strings.ToLower(slug), have)
		near := d <= 2+len(have)/4
		if part := len(slug) >= 4 && strings.Contains(have, strings.ToLower(slug)); near || part {
			found = append(found, scored{l, d})
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].distance < found[j].distance })
	var links []link
	for _, f := range found[:min(len(found), maxSuggestions)] {
		links = append(links, f.link)
	}
	return links
}

// maxCompared bounds the work that a long made-up address can cause.
const maxCompared = 64

func (s *server) articleLinks() []link {
	var links []link
	for _, a := range s.Library().Articles {
		links = append(links, link{"/articles/" + a.Slug, a.Title})
	}
	return links
}

func (s *server) labLinks() []link {
	var links []link
	for _, l := range s.Labs.All() {
		links = append(links, link{"/labs/" + l.Slug, "Lab: " + l.Title})
	}
	return links
}

func (s *server) trackLinks() []link {
	var links []link
	for _, t := range s.Library().Tracks {
		links = append(links, link{"/tracks/" + t.Slug, "Track: " + t.Title})
	}
	return links
}

// suggestionsForPath looks for the last part of an unknown address among everything there is.
func (s *server) suggestionsForPath(path string) []link {
	path = strings.TrimSuffix(path, "/")
	slug := path[strings.LastIndexByte(path, '/')+1:]
	all := append(append(s.articleLinks(), s.labLinks()...), s.trackLinks()...)
	return nearest(slug, all)
}
