package web

import (
	"encoding/base64"
	"net/http"
	"time"

	"drydock/content/live"
	"drydock/store"
	"drydock/web/assets"
)

// Page is what [layout] needs to know about the page that it frames.
type Page struct {
	Title       string // in the window's title, before the product's name
	Description string // for previews of a link; may be empty
	Active      string // the navigation entry that it belongs to: articles, labs, teach, sandboxes, account
	// Shape is how the content sits: "" in a reading width, "wide" across the
	// page, "app" fills the window and has no footer.
	Shape   string
	Styles  []string // style sheets besides base.css, by their name in assets
	Scripts []string // modules besides page.js
	Reading bool     // keys lead through this page; see shortcuts.templ

	// The rest is filled in by server.page.
	User     store.User
	SignedIn bool
	Theme    string // light, dark or "" (as the system has it)
	Here     string // path and query of this page, to come back to
	Notice   string // what the last form did, told once
	hasFleet bool   // there is a page of all sandboxes
	assets   *assets.Set
	preview  string       // of which version it is, where somebody writes the articles and looks on
	trouble  live.Trouble // of the articles, for those who can mend it
}

// Instructor reports whether the reader teaches.
func (p Page) Instructor() bool { return p.SignedIn && p.User.Role == store.RoleInstructor }

const (
	themeCookie  = "theme" // written by page.ts
	noticeCookie = "notice"
	// noticeTTL: the page that shows a notice follows at once.
	noticeTTL = time.Minute
)

// page begins a page for this request.
func (s *server) page(r *http.Request, title string) Page {
	p := Page{Title: title, Here: r.URL.RequestURI(), assets: s.assets, hasFleet: s.Fleet != nil}
	p.User, p.SignedIn = signedIn(r.Context())
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		p.Theme = c.Value
	}
	if c, err := r.Cookie(noticeCookie); err == nil {
		if text, err := base64.RawURLEncoding.DecodeString(c.Value); err == nil {
			p.Notice = string(text)
		}
	}
	p.trouble = s.troubleFor(p)
	if s.preview != nil {
		p.preview = s.preview.stamp()
	}
	return p
}

// reading begins a page of reading.
func (s *server) reading(r *http.Request, title string) Page {
	p := s.page(r, title)
	p.Active, p.Reading = "articles", true
	p.Styles, p.Scripts = []string{"lists.css"}, []string{"reading.js"}
	return p
}

// notify has the next page say what a form did.
func (s *server) notify(w http.ResponseWriter, r *http.Request, text string) {
	s.setCookie(w, r, noticeCookie, base64.RawURLEncoding.EncodeToString([]byte(text)), noticeTTL)
}
