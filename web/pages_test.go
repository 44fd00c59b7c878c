package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"drydock/content"
	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox"
	"drydock/store"
)

// TestEveryPageIsSound follows every link as a visitor, as a learner who is in
// the middle of things, as an operator and as an instructor who is none.
func TestEveryPageIsSound(t *testing.T) {
	site := newSiteOf(t, withNodeLab(t, catalogue.FS()))
	operator, instructor := site.instructor(), site.teacher("barbara")
	cohort, err := site.store.AddCohort(t.Context(), "Autumn", 0)
	if err != nil {
		t.Fatal(err)
	}
	trusted := site.cohort("Winter")
	operator.must(http.StatusSeeOther, operator.post(trustURL(trusted.ID), "on", "yes"))
	instructor.must(http.StatusCreated, instructor.post(fmt.Sprintf("/teach/cohorts/%d/invites", cohort.ID), "days", "7", "uses", "0"))
	given := site.give(cohort.ID, labSlug, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	gone := site.give(cohort.ID, "gone", time.Time{}, time.Time{})
	site.give(trusted.ID, nodeSlug, time.Time{}, time.Time{})
	learner, user := site.learner("ada", cohort.ID)
	learner.must(http.StatusNoContent, learner.post("/articles/services/reading", "fraction", "0.4"))
	site.attempt("pastattempt1", user.ID, requested(), ready(), labs.Event{Type: labs.EventEnded})

	for name, visit := range map[string]struct {
		*browser
		pages int // at least so many are reached
	}{"visitor": {site.browser(), 9}, "learner": {learner, 10}, "instructor": {instructor, 12}, "operator": {operator, 14}} {
		t.Run(name, func(t *testing.T) {
			seen := visit.crawl(t, "/")
			pages := 0
			for _, a := range seen {
				if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
					pages++
				}
			}
			if pages < visit.pages {
				t.Errorf("reached %d pages, want at least %d", pages, visit.pages)
			}
			for _, path := range []string{trustURL(cohort.ID), trustURL(trusted.ID)} {
				if _, reached := seen[path]; reached != (name == "operator") {
					t.Errorf("reached %s: %v", path, reached)
				}
			}
			for _, a := range []store.Assignment{given, gone} {
				if _, reached := seen[removeAssignmentURL(a)]; reached != (name == "operator" || name == "instructor") {
					t.Errorf("reached %s: %v", removeAssignmentURL(a), reached)
				}
			}
		})
	}
}

func requested() labs.Event { return labs.Event{Type: labs.EventRequested, Data: []byte(`{}`)} }
func ready() labs.Event     { return labs.Event{Type: labs.EventReady, Data: []byte(`{}`)} }

func TestHeaders(t *testing.T) {
	b := newSite(t).browser()
	for _, path := range []string{"/", "/articles/services", "/no-such-page", "/healthz", "/assets/base.css"} {
		h := b.get(path).header
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestAddressesThatAreNearlyRight(t *testing.T) {
	b := newSite(t).browser()
	if a := b.do("HEAD", "/articles/services", nil); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	if a := b.get("/labs/"); a.status != 301 || !strings.HasSuffix(a.header.Get("Location"), "/labs") {
		t.Errorf("a slash at the end: %d %q", a.status, a.header.Get("Location"))
	}
	for _, path := range []string{"//evil.example/", `/\evil.example/`, "//evil.example/%2f"} {
		to, err := url.Parse(b.get(path).header.Get("Location"))
		if err != nil || to.Host == "evil.example" || strings.HasPrefix(to.Path, `/\`) {
			t.Errorf("%s leads to another site: %v, %v", path, to, err)
		}
	}
}

func TestWrongAddressesGetTheRightPage(t *testing.T) {
	site := newSite(t)
	instructor := site.instructor()
	cohort, err := site.store.AddCohort(t.Context(), "Autumn", 1)
	if err != nil {
		t.Fatal(err)
	}
	expired, _, err := site.store.AddInvite(t.Context(), cohort.ID, 1, time.Nanosecond, 0)
	if err != nil {
		t.Fatal(err)
	}
	learner, _ := site.learner("ada", 0)
	visitor := site.browser()
	for _, c := range []struct {
		who    *browser
		path   string
		status int
		says   string
	}{
		{visitor, "/articles/init-container", 404, `href="/articles/init-containers"`},
		{visitor, "/labs/containers", 404, `href="/labs/init-containers"`},
		{visitor, "/tracks/linx", 404, `href="/tracks/linux"`},
		{visitor, "/service", 404, `href="/articles/services"`},
		{visitor, "/xyzzyplugh", 404, "No such page"},
		{visitor, "/articles/services/secret.svg", 404, "No such figure"},
		{visitor, "/labs/init-containers/figures/lab.yaml", 404, "No such figure"},
		{visitor, "/join/nonsense", 404, "No such invite"},
		{visitor, "/join/" + expired, 410, "Ask Grace Hopper for a new link"},
		{visitor, "/setup/nonsense", 410, "This link was used"},
		{visitor, "/teach", 303, ""},
		{visitor, "/account", 303, ""},
		{learner, "/teach", 404, "No such page"},
		{learner, "/teach/events", 404, "No such page"},
		{learner, "/teach/cohorts", 404, "No such page"},
		{instructor, "/teach?cohort=99", 404, "No such"},
		{instructor, "/teach?cohort=x", 404, "No such cohort"},
		{instructor, "/teach/cohorts/99/invites/1/revoke", 404, "No such invite"},
		{instructor, "/teach/cohorts/x/invites/1/revoke", 404, "No such cohort"},
		{learner, "/teach/cohorts/1/trust", 404, "No such page"},
		{learner, "/teach/cohorts/1/labs/1/remove", 404, "No such page"},
		{instructor, "/teach/cohorts/1/labs/1/remove", 404, "No such assignment"},
		{instructor, "/teach/cohorts/99/labs/1/remove", 404, "No such"},
		{instructor, "/teach/cohorts/1/labs/x/remove", 404, "No such assignment"},
		{instructor, "/teach/cohorts/99/trust", 404, "No such"},
		{instructor, "/teach/cohorts/x/trust", 404, "No such cohort"},
	} {
		a := c.who.get(c.path)
		if a.status != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: status %d, want %d with %q:\n%s", c.path, a.status, c.status, c.says, a.body)
		}
		if a.status >= 400 {
			checkHTML(t, c.path, a.body)
		}
	}
}

func TestRefusedForms(t *testing.T) {
	site := newSite(t)
	instructor := site.instructor()
	b := site.browser()
	for name, c := range map[string]struct {
		got    answer
		status int
		says   string
	}{
		"too large":     {b.post("/sign-in", "login", "ada", "password", strings.Repeat("x", maxForm)), 413, "up to 64 KiB"},
		"other site's":  {b.do("POST", "/sign-out", url.Values{}, "Sec-Fetch-Site", "cross-site"), 403, "another site"},
		"no such use":   {b.post("/labs"), 405, "does not work here"},
		"for a script":  {b.do("POST", "/articles/services/reading", url.Values{"fraction": {"0.5"}}, "Accept", "*/*"), 401, "Not signed in."},
		"no fraction":   {instructor.post("/articles/services/reading", "fraction", "NaN"), 400, "from 0 to 1"},
		"over the end":  {instructor.post("/articles/services/reading", "fraction", "1.2"), 400, "from 0 to 1"},
		"no article":    {instructor.post("/articles/nothing/reading", "fraction", "1"), 404, "No such article"},
		"not a number":  {instructor.post("/teach/cohorts/1/invites", "days", "many", "uses", "0"), 422, "from 1 to 90"},
		"nameless":      {instructor.post("/teach/cohorts", "name", " "), 422, `aria-invalid="true"`},
		"no lab to run": {instructor.post("/labs/nothing/start"), 404, "No such lab"},
	} {
		if c.got.status != c.status || !strings.Contains(c.got.body, c.says) {
			t.Errorf("%s: status %d, want %d with %q:\n%s", name, c.got.status, c.status, c.says, c.got.body)
		}
	}
}

func TestOurFaultsAreNumberedAndTellNothing(t *testing.T) {
	site := newSite(t)
	b, _ := site.learner("ada", 0)
	if err := site.store.Close(); err != nil {
		t.Fatal(err)
	}
	a := b.must(500, b.get("/"))
	number := regexp.MustCompile(`Number: <code>([0-9a-f]{8})</code>`).FindStringSubmatch(a.body)
	if number == nil || !strings.Contains(site.log.String(), "id="+number[1]) {
		t.Errorf("the page's number is not in the log:\n%s\n%s", a.body, site.log)
	}
	if strings.Contains(a.body, "database") || strings.Contains(a.body, "sql") {
		t.Errorf("the page tells of our inside:\n%s", a.body)
	}
	if a := b.get("/healthz"); a.status != 503 {
		t.Errorf("health: %d %s", a.status, a.body)
	}
}

func TestProblemOf(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("start: %w", sandbox.ErrEngine), 503},
		{fmt.Errorf("look up: %w", store.ErrNotFound), 404},
		{fmt.Errorf("look up: %w", store.ErrExpired), 410},
		{&http.MaxBytesError{Limit: 1 << 10}, 413},
		{errors.New("disk on fire"), 500},
	} {
		if p := problemOf(c.err); p.Status != c.status || p.Text == "" || strings.Contains(p.Text, "fire") {
			t.Errorf("%v: %+v, want status %d", c.err, p, c.status)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	site := newSite(t)
	_, user := site.learner("ada", 0)
	b := site.browser()

	a := b.must(401, b.post("/sign-in", "login", "ada", "password", "not the password", "next", "/labs"))
	if !strings.Contains(a.body, `value="ada"`) || !strings.Contains(a.body, `role="alert"`) || strings.Contains(a.body, "not the password") {
		t.Errorf("after a wrong password:\n%s", a.body)
	}

	for next, want := range map[string]string{
		"/labs/init-containers?x=1": "/labs/init-containers?x=1", "": "/",
		"https://evil.example/": "/", "//evil.example": "/", `/\evil.example`: "/", "javascript:alert(1)": "/", "/\tx": "/",
	} {
		b := site.browser()
		a := b.must(303, b.post("/sign-in", "login", " ADA ", "password", testPassword, "next", next))
		if to := a.header.Get("Location"); to != want {
			t.Errorf("next=%q leads to %q, want %q", next, to, want)
		}
	}

	a = b.must(303, b.post("/sign-in", "login", "ada", "password", testPassword))
	cookie := a.header.Get("Set-Cookie")
	for _, flag := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, flag) {
			t.Errorf("cookie %q lacks %s", cookie, flag)
		}
	}
	if !strings.Contains(b.get("/").body, user.Name) {
		t.Error("the home page does not know who signed in")
	}
	token, _, _ := strings.Cut(cookie, ";")
	b.must(303, b.post("/sign-out"))
	thief := site.browser()
	if a := thief.do("GET", "/account", nil, "Cookie", token); a.status != 303 {
		t.Errorf("a cookie from before the sign-out still works: %d", a.status)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	site := newSite(t)
	site.learner("ada", 0)
	b := site.browser()
	for range attemptsPerLogin {
		b.post("/sign-in", "login", "ada", "password", "guess number so and so")
	}
	a := b.must(429, b.post("/sign-in", "login", "Ada", "password", testPassword))
	if !strings.Contains(a.body, "Too many tries") || a.header.Get("Retry-After") == "" {
		t.Errorf("%v\n%s", a.header, a.body)
	}
	site.learner("alan", 0) // somebody else, from the same address
}

// TestFromTheFirstStartToALearner goes the way of a new server: the one-time
// link, a cohort, an invite, and the learner who opens it.
func TestFromTheFirstStartToALearner(t *testing.T) {
	site := newSite(t)
	token, err := site.store.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	grace := site.browser()
	grace.must(200, grace.get("/setup/"+token))
	a := grace.must(422, grace.post("/setup/"+token, "name", "Grace", "login", "gr ace", "password", "short"))
	checkHTML(t, "/setup", a.body)
	for _, says := range []string{"at least 10 characters", "A login has the letters", `value="Grace"`} {
		if !strings.Contains(a.body, says) {
			t.Errorf("the form does not say %q:\n%s", says, a.body)
		}
	}
	a = grace.must(303, grace.post("/setup/"+token, "name", "Grace", "login", "grace", "password", testPassword))
	if again := site.browser(); again.get("/setup/"+token).status != 410 {
		t.Error("the one-time link works twice")
	}
	first, second := grace.get(a.header.Get("Location")), grace.get("/teach/cohorts")
	if !strings.Contains(first.body, "Your account is ready") || strings.Contains(second.body, "Your account is ready") {
		t.Error("the notice must be told once")
	}

	grace.must(303, grace.post("/teach/cohorts", "name", "Autumn"))
	a = grace.must(422, grace.post("/teach/cohorts", "name", "Autumn"))
	if !strings.Contains(a.body, "There is a cohort") {
		t.Errorf("the same name again:\n%s", a.body)
	}
	a = grace.must(201, grace.post("/teach/cohorts/1/invites", "days", "7", "uses", "1"))
	link := regexp.MustCompile(`value="http://[^"]*(/join/[^"]+)"`).FindStringSubmatch(a.body)
	if link == nil {
		t.Fatalf("no invite link on the page:\n%s", a.body)
	}
	if strings.Contains(grace.get("/teach/cohorts").body, link[1]) {
		t.Error("the invite's link is shown again later")
	}

	ada := site.browser()
	if a := ada.must(200, ada.get(link[1])); !strings.Contains(a.body, "Join Autumn") {
		t.Errorf("the invite's page:\n%s", a.body)
	}
	a = ada.must(422, ada.post(link[1], "name", "Ada", "login", "grace", "password", testPassword))
	if !strings.Contains(a.body, "is taken") {
		t.Errorf("a login that is taken:\n%s", a.body)
	}
	ada.must(303, ada.post(link[1], "name", "Ada", "login", "ada", "password", testPassword))
	if a := ada.must(200, ada.get("/")); !strings.Contains(a.body, "Welcome to Autumn, Ada.") {
		t.Errorf("home after joining:\n%s", a.body)
	}
	late := site.browser()
	late.must(410, late.get(link[1]))
	late.must(410, late.post(link[1], "name", "Late", "login", "late", "password", testPassword))
	if strings.Contains(site.log.String(), strings.TrimPrefix(link[1], "/join/")) || strings.Contains(site.log.String(), token) {
		t.Error("the log holds the secret of a link")
	}
}

func TestWithdrawnInvite(t *testing.T) {
	site := newSite(t)
	grace := site.instructor()
	grace.must(303, grace.post("/teach/cohorts", "name", "Autumn"))
	a := grace.must(201, grace.post("/teach/cohorts/1/invites", "days", "7", "uses", "0"))
	link := regexp.MustCompile(`/join/[^"]+`).FindString(a.body)
	a = grace.must(200, grace.get("/teach/cohorts/1/invites/1/revoke"))
	if !strings.Contains(a.body, "Withdraw this invite?") {
		t.Errorf("no confirmation:\n%s", a.body)
	}
	site.browser().must(200, site.browser().get(link))
	grace.must(303, grace.post("/teach/cohorts/1/invites/1/revoke"))
	site.browser().must(410, site.browser().get(link))
}

func TestAnAccountThatExistsJoinsACohort(t *testing.T) {
	site := newSite(t)
	grace := site.instructor()
	grace.must(303, grace.post("/teach/cohorts", "name", "Autumn"))
	a := grace.must(201, grace.post("/teach/cohorts/1/invites", "days", "7", "uses", "0"))
	link := regexp.MustCompile(`/join/[^"]+`).FindString(a.body)
	ada, user := site.learner("ada", 0)
	if a := ada.must(200, ada.get(link)); !strings.Contains(a.body, "Join with this account") {
		t.Errorf("the invite's page for somebody with an account:\n%s", a.body)
	}
	ada.must(303, ada.post(link))
	if user, err := site.store.User(t.Context(), user.ID); err != nil || user.Cohort != 1 {
		t.Errorf("after joining: %+v, %v", user, err)
	}
}

func TestChangedPassword(t *testing.T) {
	site := newSite(t)
	ada, _ := site.learner("ada", 0)
	elsewhere := site.browser()
	elsewhere.must(303, elsewhere.post("/sign-in", "login", "ada", "password", testPassword))

	ada.must(422, ada.post("/account/password", "current", "not it at all", "password", "another long password"))
	ada.must(422, ada.post("/account/password", "current", testPassword, "password", "short"))
	ada.must(303, ada.post("/account/password", "current", testPassword, "password", "another long password"))
	ada.must(200, ada.get("/account"))
	if a := elsewhere.get("/account"); a.status != 303 {
		t.Errorf("another browser is still signed in: %d", a.status)
	}
	b := site.browser()
	b.must(401, b.post("/sign-in", "login", "ada", "password", testPassword))
	b.must(303, b.post("/sign-in", "login", "ada", "password", "another long password"))
}

func TestReadingIsRemembered(t *testing.T) {
	site := newSite(t)
	ada, _ := site.learner("ada", 0)
	if a := ada.get("/"); strings.Contains(a.body, "Continue where you left off") {
		t.Error("there is nothing to continue yet")
	}
	ada.must(204, ada.post("/articles/services/reading", "fraction", "0.42"))
	ada.must(204, ada.post("/articles/services/reading", "fraction", "0.1")) // scrolled back
	if a := ada.get("/"); !strings.Contains(a.body, "Continue where you left off") || !strings.Contains(a.body, "42 % read") {
		t.Errorf("home:\n%s", a.body)
	}
	if a := ada.get("/articles/services"); !strings.Contains(a.body, `data-fraction="0.420"`) {
		t.Errorf("article:\n%s", a.body)
	}
	ada.must(204, ada.post("/articles/services/reading", "fraction", "0.98"))
	if a := ada.get("/"); strings.Contains(a.body, "Continue where you left off") {
		t.Error("an article that was read to its end is not to be continued")
	}
}

func TestStartingALabAsksToSignInAndComesBack(t *testing.T) {
	site := newSite(t)
	b := site.browser()
	lab := "/labs/" + labSlug
	a := b.must(200, b.get(lab))
	if !strings.Contains(a.body, `href="/sign-in?next=%2Flabs%2Finit-containers"`) {
		t.Errorf("the lab's page does not lead to the sign-in:\n%s", a.body)
	}
	a = b.must(303, b.do("POST", lab+"/start", url.Values{}, "Referer", site.url+"/articles/init-containers"))
	if to := a.header.Get("Location"); to != "/sign-in?next=%2Farticles%2Finit-containers" {
		t.Errorf("a start by nobody leads to %q", to)
	}
	ada, user := site.learner("ada", 0)
	a = ada.must(303, ada.post(lab+"/start"))
	id, ok := strings.CutPrefix(a.header.Get("Location"), "/sessions/")
	attempt, err := site.store.Attempt(t.Context(), id)
	if !ok || err != nil || attempt.User != user.ID || attempt.Lab != labSlug {
		t.Errorf("started %q: %+v, %v", a.header.Get("Location"), attempt, err)
	}
}

func TestLabPageSaysHowItIsGraded(t *testing.T) {
	site := newSite(t)
	lab, _ := site.labs.Get(labSlug)
	ada, user := site.learner("ada", 0)
	site.attempt("pastattempt1", user.ID, requested(), ready(), labs.Event{Type: labs.EventTaskDone, Task: lab.Tasks[0].ID}, labs.Event{Type: labs.EventEnded})
	page := textOfPage(t, ada.must(200, ada.get("/labs/"+labSlug)).body)
	for _, task := range lab.Tasks {
		if !strings.Contains(page, task.Title) {
			t.Errorf("no task %q", task.Title)
		}
		for _, check := range task.Checks {
			if strings.Contains(page, check.That) {
				t.Errorf("the page shows the condition of check %s", check.ID)
			}
		}
		for _, hint := range task.Hints {
			if strings.Contains(page, hint.Text) {
				t.Errorf("the page gives the hint %q away", hint.Text)
			}
		}
	}
	for _, says := range []string{"Each violated guard costs 25 points", lab.Guards[0].Else, fmt.Sprintf("%d of 100", lab.Tasks[0].Points), "Report"} {
		if !strings.Contains(page, says) {
			t.Errorf("the page does not say %q:\n%s", says, page)
		}
	}
}

func TestLabPageSaysWhenItWasProven(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for want, proven := range map[string]*labs.Proven{
		"Last proven 23 November 2026 on Kubernetes 1.37.2: ":                       {Version: "now", At: at, Kubernetes: "v1.37.2"},
		"Last proven 23 November 2026 on machine image d95bb75e978a: ":              {Version: "now", At: at, Image: "machine d95bb75e978a"},
		"Proven for an older version of this lab, on 23 November 2026.":             {Version: "before", At: at, Kubernetes: "v1.37.2"},
		"Never proven: nobody has recorded that every solution passes here and eve": nil,
	} {
		if got := provenWords(&labs.Lab{Version: "now", Proven: proven}); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: %q", proven, got)
		}
	}
	site := newSite(t)
	lab, _ := site.labs.Get(labSlug)
	b := site.browser()
	if page := textOfPage(t, b.must(http.StatusOK, b.get("/labs/"+labSlug)).body); !strings.Contains(page, provenWords(lab)) {
		t.Errorf("the page does not say %q", provenWords(lab))
	}
}

func TestLabPageSaysWhatIsDifferentHere(t *testing.T) {
	b := newSite(t).browser()
	const words = "What is different on this server"
	if page := b.must(http.StatusOK, b.get("/labs/full-disk")); !strings.Contains(page.body, words) || !strings.Contains(page.body, "perf does not work") {
		t.Errorf("a machine lab does not say what is different:\n%s", page.body)
	}
	if page := b.must(http.StatusOK, b.get("/labs/"+labSlug)); strings.Contains(page.body, words) {
		t.Error("a cluster lab says that something is different")
	}
}

func TestThemeOfTheCookie(t *testing.T) {
	b := newSite(t).browser()
	for value, want := range map[string]bool{"dark": true, "light": true, `"><script>`: false} {
		a := b.do("GET", "/", nil, "Cookie", "theme="+value)
		if strings.Contains(a.body, `data-theme="`+value+`"`) != want {
			t.Errorf("theme %q: %s", value, a.body[:200])
		}
	}
}

// TestKeptPagesAreNobodysOwn: what is kept of an article for visitors is not
// shown to others, nor theirs to visitors.
func TestKeptPagesAreNobodysOwn(t *testing.T) {
	site := newSite(t)
	ada, user := site.learner("ada", 0)
	visitor := site.browser()
	const path = "/articles/init-containers"
	for range 2 {
		if a := ada.must(200, ada.get(path)); !strings.Contains(a.body, user.Name) || !strings.Contains(a.body, "Start lab") {
			t.Errorf("the learner gets another's page:\n%s", a.body)
		}
		if a := visitor.must(200, visitor.get(path)); strings.Contains(a.body, user.Name) || !strings.Contains(a.body, "Sign in to start") {
			t.Errorf("the visitor gets another's page:\n%s", a.body)
		}
		if a := visitor.do("GET", path, nil, "Cookie", "theme=dark"); !strings.Contains(a.body, `data-theme="dark"`) {
			t.Error("the dark page is not dark")
		}
		if a := visitor.get(path + "?from=mail"); !strings.Contains(a.body, "%3Ffrom%3Dmail") {
			t.Error("signing in would not lead back to the very address")
		}
	}
	etag := visitor.get(path).header.Get("ETag")
	if a := visitor.do("GET", path, nil, "If-None-Match", etag); a.status != 304 || a.body != "" {
		t.Errorf("asked again: %d %s", a.status, a.body)
	}
	files := testArticles()
	for name, file := range files {
		file.Data = bytes.ReplaceAll(file.Data, []byte("Text.\n"), []byte("Written anew.\n"))
		files[name] = file
	}
	site.library = loadArticles(t, files)
	if a := visitor.get(path); !strings.Contains(a.body, "Written anew.") {
		t.Error("an old page is shown after the library was read anew")
	}
}

// TestAPageOfReadingIsSmall weighs the largest article that comes with Drydock
// with everything that it loads, as sent.
func TestAPageOfReadingIsSmall(t *testing.T) {
	const limit = 60 << 10
	site := newSite(t)
	library, err := content.Load(content.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	site.library = library
	for _, article := range library.Articles {
		total, loaded := 0, ""
		page := site.weigh(t, "/articles/"+article.Slug)
		total += page.size
		for _, path := range addresses(page.text) {
			if strings.HasPrefix(path, "/assets/") || strings.HasPrefix(path, "/articles/"+article.Slug+"/") {
				part := site.weigh(t, path)
				total += part.size
				loaded += fmt.Sprintf(" %s %d", path, part.size)
			}
		}
		t.Logf("%s: %d bytes; page %d%s", article.Slug, total, page.size, loaded)
		if total > limit {
			t.Errorf("%s ships %d bytes, %d allowed", article.Slug, total, limit)
		}
	}
}

type weighed struct {
	size int
	text string
}

// weigh fetches what a browser would get, compressed if the server offers it.
func (s *testSite) weigh(t *testing.T, path string) weighed {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("Accept", "text/html")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: status %d, %v", path, res.StatusCode, err)
	}
	w := weighed{size: len(body), text: string(body)}
	if res.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(strings.NewReader(w.text))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		w.text = string(plain)
	}
	return w
}

func TestTeachShowsWhoIsWhere(t *testing.T) {
	site := newSite(t)
	grace := site.instructor()
	lab, _ := site.labs.Get(labSlug)
	cohort, err := site.store.AddCohort(t.Context(), "Autumn", 1)
	if err != nil {
		t.Fatal(err)
	}
	_, ada := site.learner("ada", cohort.ID)
	_, alan := site.learner("alan", cohort.ID)
	site.learner("barbara", 0)
	long := time.Now().Add(-20 * time.Minute)
	site.attempt("working00001", ada.ID, requested(), ready(),
		labs.Event{Type: labs.EventTaskDone, Task: lab.Tasks[0].ID},
		labs.Event{Type: labs.EventHint, Task: lab.Tasks[1].ID, Data: []byte(`{"cost":5}`)},
		labs.Event{Type: labs.EventGuard, Check: lab.Guards[0].ID, Data: []byte(`{"verdict":"fail","reason":"the Deployment was deleted"}`)})
	site.attempt("idle00000001", alan.ID, labs.Event{Type: labs.EventRequested, At: long}, labs.Event{Type: labs.EventReady, At: long})

	page := textOfPage(t, grace.must(200, grace.get("/teach")).body)
	for _, says := range []string{
		"Learner ada ada Working", lab.Tasks[1].Title, "1 violated", "the Deployment was deleted",
		"Watch : Learner ada", "Learner alan alan Idle", "Learner barbara barbara Not begun", "Learners 3 Working 1 Idle 1 In trouble 0 Done 0 Not begun 1",
	} {
		if !strings.Contains(page, says) {
			t.Errorf("the table does not say %q:\n%s", says, page)
		}
	}
	page = textOfPage(t, grace.must(200, grace.get(fmt.Sprintf("/teach?cohort=%d", cohort.ID))).body)
	if strings.Contains(page, "barbara") || !strings.Contains(page, "Learner ada") {
		t.Errorf("the table of one cohort:\n%s", page)
	}
}

// TestTeachIsLive starts a lab whose engine is down while the table is open:
// its stream says so by itself, with the row that a reload would show.
func TestTeachIsLive(t *testing.T) {
	site := newSite(t)
	grace := site.instructor()
	ada, user := site.learner("ada", 0)

	req, err := http.NewRequestWithContext(t.Context(), "GET", site.url+"/teach/events?cohort=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := grace.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type %q", got)
	}
	stream := bufio.NewScanner(res.Body)
	row := func(says string) string {
		t.Helper()
		for stream.Scan() {
			if line := stream.Text(); strings.HasPrefix(line, "data: ") && strings.Contains(line, says) {
				return strings.TrimPrefix(line, "data: ")
			}
		}
		t.Fatalf("the stream ended before it said %q: %v", says, stream.Err())
		return ""
	}
	row("Not begun")
	ada.must(303, ada.post("/labs/"+labSlug+"/start"))
	began := time.Now()
	html := row("Did not start")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the row came after %v", took)
	}
	if !strings.Contains(html, fmt.Sprintf(`id="learner-%d"`, user.ID)) {
		t.Errorf("not the learner's row: %s", html)
	}
	if page := grace.get("/teach").body; !strings.Contains(page, html) {
		t.Errorf("a reload shows another row than the stream:\n%s\n%s", html, page)
	}
}

func TestNearest(t *testing.T) {
	all := []link{{"/articles/init-containers", "a"}, {"/articles/services", "b"}, {"/labs/slow-dns", "c"}}
	for slug, want := range map[string]string{
		"init-container": "a", "INIT-containers": "a", "sevices": "b", "dns": "", "slow": "c", "zzzzzzzz": "", strings.Repeat("a", 1<<16): "",
	} {
		got := ""
		if found := nearest(slug, all); len(found) > 0 {
			got = found[0].Text
		}
		if got != want {
			t.Errorf("%.20s: %q, want %q", slug, got, want)
		}
	}
}
