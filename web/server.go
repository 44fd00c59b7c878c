package web

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"drydock/content"
	"drydock/content/live"
	"drydock/labs"
	"drydock/store"
	"drydock/store/search"
	"drydock/web/assets"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// Config is what the pages are made from.
type Config struct {
	Store    *store.Store
	Sessions *labs.Sessions
	Labs     *labs.Catalogue
	// Library returns the articles as they stand now: it is asked anew for
	// every page, so that an author sees a change on reload.
	Library func() *content.Library
	// Trouble returns why the articles' newest version is not what Library
	// returns, for the authors among the readers; nil: there is never any.
	Trouble    func() live.Trouble
	Search     *search.Index // made of the articles and labs, here; whoever passes it closes it
	Recordings string        // the folder with <session>/<tab>.cast
	// Fleet is all sandboxes of the server, for the operator's page; nil: there is no such page.
	Fleet Fleet
	Log   *slog.Logger
	// Dev shows causes of errors on the page.
	Dev bool
	// BaseURL returns what links that leave the browser (an invite) begin
	// with, such as https://drydock.example.org, without a slash at its end.
	// Nil: what the request was made to.
	BaseURL func(*http.Request) string
	// Answered, when set, is told of every request once it is answered.
	Answered func(Answer)
	// Assigned, when set, is told each time that cohorts were given a lab, or not any more.
	Assigned func()
	Now      func() time.Time // nil: time.Now
}

// Answer is how a request was answered, for whoever counts.
type Answer struct {
	Method string // as the client wrote it
	// Route is the pattern that the address fits, such as /labs/{slug}, so
	// that there are few; empty when it fits none.
	Route  string
	Status int
	Took   time.Duration
	// Open is set for event streams and terminals, which last as long as a page is open.
	Open bool
}

// server holds what handlers need. Its methods are the handlers.
type server struct {
	Config
	preview     *Preview // the site is only one; nil: it is whole
	assets      *assets.Set
	limits      limits
	visitors    visitorPages
	searching   searchKeeper
	fleetSeen   *fleetWatch
	crossOrigin *http.CrossOriginProtection
}

const (
	// maxForm bounds the body of a request: the longest form holds an answer
	// or a password, both far below it.
	maxForm = 64 << 10
	// formTimeout is ample for a form over a bad line, and ends those who send
	// a byte a second to hold the server up.
	formTimeout = 30 * time.Second
	// compressLevel is gzip's: above 5 pages get hardly smaller and clearly slower.
	compressLevel = 5
)

// New returns the handler of the whole site.
func New(cfg Config) (http.Handler, error) {
	if cfg.Store == nil || cfg.Labs == nil || cfg.Library == nil || cfg.Search == nil {
		return nil, errors.New("web: Store, Labs, Library and Search must be set")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.BaseURL == nil {
		cfg.BaseURL = requestedBase
	}
	a, err := loadAssets()
	if err != nil {
		return nil, err
	}
	s := &server{Config: cfg, assets: a, crossOrigin: http.NewCrossOriginProtection()}
	s.limits = s.newLimits()
	s.fleetSeen = &fleetWatch{fleet: cfg.Fleet, now: cfg.Now}
	s.keepSearch()
	return s.routes(), nil
}

// requestedBase is the origin that the browser asked for.
func requestedBase(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (s *server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(s.logged, s.recovered, s.secured, middleware.GetHead, middleware.RedirectSlashes)
	r.Get("/healthz", s.handle(s.health))
	r.Get("/assets/*", s.assets.ServeHTTP)
	r.Group(func(r chi.Router) {
		r.Use(middleware.Compress(compressLevel), s.timed, s.identified, s.sameOrigin, limitBody)
		r.NotFound(s.handle(func(w http.ResponseWriter, r *http.Request) error { return s.unknownPage(r) }))
		r.MethodNotAllowed(s.handle(func(http.ResponseWriter, *http.Request) error {
			return problem(http.StatusMethodNotAllowed, "That does not work here", "This address does not take that kind of request.")
		}))
		s.routesReading(r)
		s.routesSignIn(r)
		s.routesTeach(r)
		s.routesAdmin(r)
		s.routesSession(r)
	})
	return r
}

func (s *server) routesReading(r chi.Router) {
	r.Get("/", s.handle(s.home))
	r.Get("/articles", s.handle(s.articleList))
	r.Get("/articles/{slug}", s.handle(s.article))
	r.Get("/articles/{slug}/{figure}", s.handle(s.articleFigure))
	r.Post("/articles/{slug}/reading", s.handle(s.saveReading))
	r.Post("/articles/{slug}/answers", s.handle(s.saveAnswer))
	r.Get("/posts", s.handle(s.posts))
	r.Get(feedPath, s.handle(s.feed))
	r.Get("/glossary", s.handle(s.glossary))
	r.Get("/tracks/{track}", s.handle(s.track))
	r.Get("/labs", s.handle(s.labList))
	r.Get("/labs/{slug}", s.handle(s.lab))
	r.Get("/labs/{slug}/figures/{figure}", s.handle(s.labFigure))
	r.Post("/labs/{slug}/start", s.handle(s.needUser(s.startLab)))
	r.With(s.limits.searchesByIP).Get(searchPath, s.handle(s.search))
	r.With(s.limits.searchesByIP).Get(suggestPath, s.handle(s.suggest))
}

func (s *server) routesSignIn(r chi.Router) {
	r.Get("/sign-in", s.handle(s.signInForm))
	r.With(s.limits.attemptsByIP).Post("/sign-in", s.handle(s.signIn))
	r.Post("/sign-out", s.handle(s.signOut))
	r.Get("/setup/{token}", s.handle(s.setupForm))
	r.With(s.limits.attemptsByIP).Post("/setup/{token}", s.handle(s.setup))
	r.Get("/join/{token}", s.handle(s.joinForm))
	r.With(s.limits.attemptsByIP).Post("/join/{token}", s.handle(s.join))
	r.Get("/account", s.handle(s.needUser(s.accountForm)))
	r.With(s.limits.attemptsByIP).Post("/account/password", s.handle(s.needUser(s.changePassword)))
}

func (s *server) routesTeach(r chi.Router) {
	r.Get("/teach", s.handle(s.needInstructor(s.teach)))
	r.Get("/teach/events", s.handle(s.needInstructor(s.teachEvents)))
	r.Get("/teach/cohorts", s.handle(s.needInstructor(s.cohorts)))
	r.Post("/teach/cohorts", s.handle(s.needInstructor(s.addCohort)))
	r.Get("/teach/cohorts/{cohort}/trust", s.handle(s.needOperator(s.trustForm)))
	r.Post("/teach/cohorts/{cohort}/trust", s.handle(s.needOperator(s.trust)))
	r.Post("/teach/cohorts/{cohort}/labs", s.handle(s.needInstructor(s.giveLab)))
	r.Get("/teach/cohorts/{cohort}/labs", s.handle(s.needInstructor(s.cohorts))) // a reload of the page that its form leads to
	r.Get("/teach/cohorts/{cohort}/labs/{assignment}/remove", s.handle(s.needInstructor(s.removeAssignmentForm)))
	r.Post("/teach/cohorts/{cohort}/labs/{assignment}/remove", s.handle(s.needInstructor(s.removeAssignment)))
	r.Post("/teach/cohorts/{cohort}/invites", s.handle(s.needInstructor(s.addInvite)))
	r.Get("/teach/cohorts/{cohort}/invites", s.handle(s.needInstructor(s.cohorts))) // a reload of the page that its form leads to
	r.Get("/teach/cohorts/{cohort}/invites/{invite}/revoke", s.handle(s.needInstructor(s.revokeInviteForm)))
	r.Post("/teach/cohorts/{cohort}/invites/{invite}/revoke", s.handle(s.needInstructor(s.revokeInvite)))
}

// handler answers a request or says why it could not.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle makes an http.HandlerFunc of h; its error becomes a page.
func (s *server) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

// render sends a view as a whole page, or an error and nothing of it.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, view templ.Component) error {
	var b strings.Builder
	if err := view.Render(r.Context(), &b); err != nil {
		return fmt.Errorf("render %s: %w", r.URL.Path, err)
	}
	if _, err := r.Cookie(noticeCookie); err == nil {
		s.clearCookie(w, r, noticeCookie) // this page has told it
	}
	pageHeaders(w.Header())
	page := []byte(b.String())
	if status == http.StatusOK {
		tag := pageTag(page)
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag { // back and forth, or a reload: nothing is sent again
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	w.WriteHeader(status)
	_, err := w.Write(page)
	if err != nil {
		s.Log.Debug("the reader went away", "path", r.URL.Path, "err", err)
	}
	return nil
}

// pageTag is a weak validator: compressed or not, it is the same page.
func pageTag(page []byte) string {
	sum := sha256.Sum256(page)
	return fmt.Sprintf(`W/"%x"`, sum[:9])
}

func pageHeaders(h http.Header) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "private, no-cache") // what a page shows depends on who looks
	h.Add("Vary", "Cookie")
}

// redirect answers a form that was carried out. to must be a path of this site.
func redirect(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// health answers monitors and load balancers: the program runs and its database answers.
func (s *server) health(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := s.Store.CountInstructors(r.Context()); err != nil {
		s.Log.Error("health: the database does not answer", "err", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "the database does not answer")
		return nil
	}
	fmt.Fprintln(w, "ok")
	return nil
}

// logged notes every request once it is answered; assets only when debugging.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		began := s.Now()
		defer func() {
			level := slog.LevelInfo
			if strings.HasPrefix(r.URL.Path, "/assets/") || r.URL.Path == "/healthz" {
				level = slog.LevelDebug
			}
			took := s.Now().Sub(began)
			s.Log.Log(r.Context(), level, "request", "method", r.Method, "path", loggedPath(r.URL.Path),
				"status", ww.Status(), "bytes", ww.BytesWritten(), "took", took)
			if s.Answered != nil {
				s.Answered(answerOf(r, ww, took))
			}
		}()
		next.ServeHTTP(ww, r)
	})
}

func answerOf(r *http.Request, ww middleware.WrapResponseWriter, took time.Duration) Answer {
	return Answer{
		Method: r.Method, Route: chi.RouteContext(r.Context()).RoutePattern(), Status: ww.Status(), Took: took,
		Open: ww.Status() == http.StatusSwitchingProtocols || ww.Header().Get("Content-Type") == "text/event-stream",
	}
}

// loggedPath hides the secret of a one-time or invite link.
func loggedPath(path string) string {
	for _, prefix := range []string{"/setup/", "/join/"} {
		if strings.HasPrefix(path, prefix) {
			return prefix + "…"
		}
	}
	return path
}

// recovered turns a panic into the 500 page.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				s.fail(w, r, &panicError{value: v, stack: stack()})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// contentPolicy lets nothing in that this server does not send itself.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secured sets the headers that hold for every answer.
func (s *server) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		if strings.HasPrefix(s.BaseURL(r), "https://") {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses state changes that another site's page asks for.
func (s *server) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.crossOrigin.Check(r); err != nil {
			s.fail(w, r, problem(http.StatusForbidden, "That came from another site",
				"For your safety Drydock only takes forms that were sent from its own pages. Open the page here and try again."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limitBody bounds the size of a form and the time it may take to arrive.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			// A connection that knows no deadlines, as in some tests, goes without.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTimeout))
		}
		next.ServeHTTP(w, r)
	})
}
