package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"drydock/store"

	"github.com/go-chi/httprate"
)

// SignInCookie is the name of the cookie whose value is the token of [store.Store.SignIn].
const SignInCookie = "signin"

const (
	// signInTTL is how long a browser stays signed in: a course of two weeks
	// without typing the password again.
	signInTTL = 14 * 24 * time.Hour

	// A class behind one address signs in or joins within a minute: the limit
	// by address must let a lecture hall through.
	attemptsPerIP = 240
	// Guessing one person's password from one address: slower than anyone mistypes.
	attemptsPerLogin       = 10
	attemptsPerLoginWindow = 5 * time.Minute
)

type userKey struct{}

// signedIn returns who made the request.
func signedIn(ctx context.Context) (store.User, bool) {
	u, ok := ctx.Value(userKey{}).(store.User)
	return u, ok
}

// identified puts the signed-in user into the request's context.
func (s *server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie(SignInCookie)
		if err != nil || cookie.Value == "" {
			next.ServeHTTP(w, r)
			return
		}
		user, err := s.Store.SignedIn(r.Context(), cookie.Value)
		switch {
		case err == nil:
			r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrExpired):
			s.clearCookie(w, r, SignInCookie)
		default:
			s.fail(w, r, fmt.Errorf("find who is signed in: %w", err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// userHandler is a handler for people who are signed in.
type userHandler func(w http.ResponseWriter, r *http.Request, user store.User) error

// needUser sends others to sign in first, and back here afterwards. A form
// can't be sent again by a redirect: after signing in they are on the page it
// stood on.
func (s *server) needUser(h userHandler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if user, ok := signedIn(r.Context()); ok {
			return h(w, r, user)
		}
		if !wantsPage(r) {
			return problem(http.StatusUnauthorized, "Please sign in", "You are not signed in any more. Reload the page and sign in.")
		}
		next := r.URL.RequestURI()
		if r.Method != http.MethodGet {
			next = pathOf(r.Referer())
		}
		return redirect(w, r, signInURL(next))
	}
}

// needInstructor shows others that there is nothing here.
func (s *server) needInstructor(h userHandler) handler {
	return s.needUser(func(w http.ResponseWriter, r *http.Request, user store.User) error {
		if user.Role != store.RoleInstructor {
			return notYours("page")
		}
		return h(w, r, user)
	})
}

func signInURL(next string) string {
	if next == "" || next == "/" {
		return "/sign-in"
	}
	return "/sign-in?next=" + url.QueryEscape(next)
}

// localPath returns where to go after signing in: p when it is a path of this
// site, else the home page. Browsers read //host and /\host as another site.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(p, "/") ||
		strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n\t") {
		return "/"
	}
	return p
}

// pathOf returns the path of a page's full address, or the home page's.
func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "/"
	}
	return localPath(u.RequestURI())
}

// startSignIn signs the browser in.
func (s *server) startSignIn(w http.ResponseWriter, r *http.Request, user store.User) error {
	token, err := s.Store.SignIn(r.Context(), user.ID, signInTTL)
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	s.setCookie(w, r, SignInCookie, token, signInTTL)
	return nil
}

// setCookie sets a cookie that scripts can't read and other sites' forms don't send.
func (s *server) setCookie(w http.ResponseWriter, r *http.Request, name, value string, ttl time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(ttl.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(s.BaseURL(r), "https://"),
	})
}

func (s *server) clearCookie(w http.ResponseWriter, r *http.Request, name string) {
	s.setCookie(w, r, name, "", -time.Second)
}

// limits slow down guessing, and searching without end.
type limits struct {
	attemptsByIP    func(http.Handler) http.Handler
	searchesByIP    func(http.Handler) http.Handler
	attemptsByLogin *httprate.RateLimiter
}

func (s *server) newLimits() limits {
	tooMany := func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, problem(http.StatusTooManyRequests, "Too many tries", "Wait a few minutes, then try again."))
	}
	byIP := httprate.WithKeyFuncs(remoteIP)
	busy := func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, problem(http.StatusTooManyRequests, "Too many searches", "So many have come from your address within a minute that others would have to wait. Try again soon."))
	}
	return limits{
		searchesByIP: httprate.NewRateLimiter(searchesPerIP, time.Minute, byIP, httprate.WithLimitHandler(busy)).Handler,
		attemptsByIP: httprate.NewRateLimiter(attemptsPerIP, time.Minute, byIP, httprate.WithLimitHandler(tooMany)).Handler,
		attemptsByLogin: httprate.NewRateLimiter(attemptsPerLogin, attemptsPerLoginWindow, byIP,
			httprate.WithLimitHandler(tooMany)),
	}
}

func remoteIP(r *http.Request) (string, error) {
	host := r.RemoteAddr
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = strings.Trim(host[:i], "[]")
	}
	return httprate.CanonicalizeIP(host), nil
}

// tooManyFor answers with 429 and reports true once a login was tried too
// often from one address.
func (l limits) tooManyFor(w http.ResponseWriter, r *http.Request, login string) bool {
	ip, _ := remoteIP(r) // never fails
	return l.attemptsByLogin.RespondOnLimit(w, r, ip+" "+strings.ToLower(login))
}
