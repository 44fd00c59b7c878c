package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"net/http"
	"time"

	"drydock/content"
)

const (
	// feedEntries is what readers of feeds that look now and then still find.
	feedEntries = 50
	feedType    = "application/atom+xml"
	feedPath    = "/feed.xml"
)

// atomFeed is a feed as RFC 4287 has it.
type atomFeed struct {
	XMLName  xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	Title    string      `xml:"title"`
	Subtitle string      `xml:"subtitle"`
	ID       string      `xml:"id"`
	Updated  string      `xml:"updated"`
	Author   atomAuthor  `xml:"author"`
	Links    []atomLink  `xml:"link"`
	Entries  []atomEntry `xml:"entry"`
}

type atomAuthor struct {
	Name string `xml:"name"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr"`
	Href string `xml:"href,attr"`
}

type atomEntry struct {
	Title     string       `xml:"title"`
	ID        string       `xml:"id"`
	Link      atomLink     `xml:"link"`
	Published string       `xml:"published"`
	Updated   string       `xml:"updated"`
	Category  atomCategory `xml:"category"`
	Summary   string       `xml:"summary"`
}

type atomCategory struct {
	Term  string `xml:"term,attr"`
	Label string `xml:"label,attr"`
}

// feed sends the newest articles to readers of feeds.
func (s *server) feed(w http.ResponseWriter, r *http.Request) error {
	var out bytes.Buffer
	out.WriteString(xml.Header)
	if err := xml.NewEncoder(&out).Encode(newFeed(s.Library(), s.BaseURL(r))); err != nil {
		return fmt.Errorf("write the feed: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", feedType+"; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", fmt.Sprintf(`W/"%x"`, sha256.Sum256(out.Bytes()))) // weak: it may be compressed on the way
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(out.Bytes()))
	return nil
}

// newFeed makes the feed; its addresses begin with base.
func newFeed(library *content.Library, base string) atomFeed {
	feed := atomFeed{
		Title: "Drydock", Subtitle: "Learn systems by repairing them.", ID: base + feedPath,
		Updated: time.Unix(0, 0).UTC().Format(time.RFC3339), // of a library without articles
		Author:  atomAuthor{Name: "Drydock"},
		Links:   []atomLink{{"self", feedType, base + feedPath}, {"alternate", "text/html", base + "/posts"}},
	}
	titles := map[string]string{}
	for _, t := range library.Tracks {
		titles[t.Slug] = t.Title
	}
	for i, a := range library.Articles[:min(len(library.Articles), feedEntries)] {
		address, at := base+"/articles/"+a.Slug, a.Published.UTC().Format(time.RFC3339)
		if i == 0 { // the newest
			feed.Updated = at
		}
		feed.Entries = append(feed.Entries, atomEntry{
			Title: a.Title, ID: address, Link: atomLink{"alternate", "text/html", address},
			Published: at, Updated: at, Category: atomCategory{a.Track, titles[a.Track]}, Summary: a.Summary,
		})
	}
	return feed
}
