package web

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"drydock/content"
	"drydock/content/live"
	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox"
	"drydock/store"
	"drydock/store/search"
)

// testSite is the whole site on a real store in a temporary directory, with a
// small library of its own and the labs that come with Drydock.
type testSite struct {
	t        *testing.T
	url      string
	handler  http.Handler
	store    *store.Store
	sessions *labs.Sessions
	labs     *labs.Catalogue
	library  *content.Library
	trouble  live.Trouble // of the articles
	fleet    *fakeFleet
	log      *lockedWriter // what an operator would read
	assigned *atomic.Int32 // how often the server told that what cohorts were given has changed
}

// deadEngine is the provider of a server whose container engine is down: what
// the pages show of that needs no engine to be tried.
type deadEngine struct{ sandbox.Provider }

func (deadEngine) Create(context.Context, sandbox.Spec, sandbox.Progress) (sandbox.Info, error) {
	return sandbox.Info{}, sandbox.ErrEngine
}
func (deadEngine) Destroy(context.Context, string) error { return sandbox.ErrEngine }

// attemptLog is a store as labs wants it.
type attemptLog struct{ *store.Store }

func (l attemptLog) RunningAttempts(ctx context.Context) ([]labs.Attempt, error) {
	return l.Attempts(ctx, store.AttemptFilter{Running: true})
}

const (
	testPassword = "correct horse battery"
	labSlug      = "init-containers"
)

func testLibrary(t *testing.T) *content.Library { return loadArticles(t, testArticles()) }

func loadArticles(t *testing.T, files fs.FS) *content.Library {
	t.Helper()
	library, err := content.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return library
}

func testArticles() fstest.MapFS {
	article := func(title, lab string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("---\ntitle: " + title + "\nsummary: About it.\npublished: 2026-11-01\norder: 1\n" + lab +
			"---\nThe first paragraph of “" + title + "”.\n\n## One part {#part}\n\n```sh\nkubectl get pods\n```\n\n## Another\n\nText.\n")}
	}
	return fstest.MapFS{
		"kubernetes/track.yaml":               {Data: []byte("title: Kubernetes\nsummary: Clusters.\norder: 1\n")},
		"kubernetes/init-containers/index.md": article("Init containers", "lab: "+labSlug+"\n"),
		"kubernetes/services/index.md":        article("Services", ""),
		"linux/track.yaml":                    {Data: []byte("title: Linux\nsummary: Kernels.\norder: 2\n")},
		"linux/pipes/index.md":                article("Pipes", ""),
	}
}

// testSearch is an index that lives as long as the test.
func testSearch(t *testing.T) *search.Index {
	x := search.New()
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func newSite(t *testing.T) *testSite {
	t.Helper()
	return newSiteOf(t, catalogue.FS())
}

func newSiteOf(t *testing.T, folder fs.FS) *testSite {
	t.Helper()
	return newSiteAt(t, folder, time.Now)
}

// newSiteAt is a site whose pages take the time, and their zone, from now.
func newSiteAt(t *testing.T, folder fs.FS, now func() time.Time) *testSite {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "drydock.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	set, err := labs.LoadCatalogue(folder)
	if err != nil {
		t.Fatal(err)
	}
	site := &testSite{t: t, store: db, labs: set, library: testLibrary(t), fleet: &fakeFleet{}, log: &lockedWriter{w: &strings.Builder{}}, assigned: &atomic.Int32{}}
	log := slog.New(slog.NewTextHandler(site.log, nil))
	site.sessions = labs.NewSessions(labs.Config{
		Provider: deadEngine{}, Log: attemptLog{db}, Labs: set, Recordings: t.TempDir(), Now: time.Now, Logger: log,
	})
	t.Cleanup(site.sessions.Close)
	handler, err := New(Config{
		Search: testSearch(t), Store: db, Sessions: site.sessions, Labs: set, Recordings: t.TempDir(), Log: log, Fleet: site.fleet,
		Library: func() *content.Library { return site.library }, Trouble: func() live.Trouble { return site.trouble },
		Now: now, Assigned: func() { site.assigned.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	site.handler = handler
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	site.url = server.URL
	return site
}

// browser is one visitor with cookies, who does not follow redirects by itself.
type browser struct {
	*testSite
	client *http.Client
}

func (s *testSite) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path string, form url.Values, headers ...string) answer {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

func (b *browser) get(path string) answer { b.t.Helper(); return b.do(http.MethodGet, path, nil) }

// post sends a form; fields are names and values in turn.
func (b *browser) post(path string, fields ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

// must fails the test unless the answer has the status, and returns it.
func (b *browser) must(status int, a answer) answer {
	b.t.Helper()
	if a.status != status {
		b.t.Fatalf("status %d, want %d; Location %q; body:\n%s", a.status, status, a.header.Get("Location"), a.body)
	}
	return a
}

// instructor signs the first instructor in.
func (s *testSite) instructor() *browser {
	s.t.Helper()
	token, err := s.store.SetupToken(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	b := s.browser()
	b.must(http.StatusSeeOther, b.post("/setup/"+token, "name", "Grace Hopper", "login", "grace", "password", testPassword))
	return b
}

// learner makes an account and signs it in.
func (s *testSite) learner(login string, cohort int64) (*browser, store.User) {
	s.t.Helper()
	user, err := s.store.AddUser(s.t.Context(), store.NewUser{Name: "Learner " + login, Login: login, Password: testPassword, Cohort: cohort})
	if err != nil {
		s.t.Fatal(err)
	}
	b := s.browser()
	b.must(http.StatusSeeOther, b.post("/sign-in", "login", login, "password", testPassword))
	return b, user
}

// attempt records an attempt with these events.
func (s *testSite) attempt(id string, user int64, events ...labs.Event) {
	s.t.Helper()
	lab, ok := s.labs.Get(labSlug)
	if !ok {
		s.t.Fatalf("the catalogue has no lab %s", labSlug)
	}
	now := time.Now()
	err := s.store.CreateAttempt(s.t.Context(), labs.Attempt{ID: id, User: user, Lab: labSlug, Version: lab.Version, Variant: lab.AllVariants()[0].Name, Created: now})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range events {
		if events[i].At.IsZero() {
			events[i].At = now
		}
	}
	_, storing := s.store.AppendEvents(s.t.Context(), id, events...)
	ended := error(nil)
	for _, e := range events {
		if e.Type == labs.EventEnded {
			p := labs.Fold(lab, events)
			ended = errors.Join(s.store.EndAttempt(s.t.Context(), id, e.At), s.store.SetScore(s.t.Context(), id, p.Score, p.MaxScore))
		}
	}
	if err := errors.Join(storing, ended); err != nil {
		s.t.Fatal(err)
	}
}
