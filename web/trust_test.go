package web

import (
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"drydock/labs"
	"drydock/labs/terminaltest"
	"drydock/store"
)

// nodeSlug is a lab whose learners get a whole node.
const nodeSlug = "whole-node"

// nodeLabs is a folder with that lab, which runs like the one of [filesLab].
func nodeLabs() fstest.MapFS {
	return labFolder(nodeSlug, strings.NewReplacer(
		"title: A file that is missing", "title: A node of your own", "access: cluster", "access: node").Replace(filesLab))
}

// withNodeLab is the folder of labs with the one for trusted cohorts in it.
func withNodeLab(t *testing.T, folder fs.FS) fs.FS {
	t.Helper()
	all := nodeLabs()
	err := fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(folder, name)
		all[name] = &fstest.MapFile{Data: data, Mode: 0o755}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// teacher makes an instructor who is no operator, and signs them in.
func (s *testSite) teacher(login string) *browser {
	s.t.Helper()
	_, err := s.store.AddUser(s.t.Context(), store.NewUser{Name: "Teacher " + login, Login: login, Password: testPassword, Role: store.RoleInstructor})
	if err != nil {
		s.t.Fatal(err)
	}
	b := s.browser()
	b.must(http.StatusSeeOther, b.post("/sign-in", "login", login, "password", testPassword))
	return b
}

// in is the same browser in a subtest.
func (b *browser) in(t *testing.T) *browser {
	site := *b.testSite
	site.t = t
	return &browser{&site, b.client}
}

// cohort makes one.
func (s *testSite) cohort(name string) store.Cohort {
	s.t.Helper()
	c, err := s.store.AddCohort(s.t.Context(), name, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

const (
	nodeStart  = "/labs/" + nodeSlug + "/start"
	nodeButton = `action="` + nodeStart + `"`
)

// TestWholeNodesAreForTrustedCohorts asks everybody's browser for the pages
// that offer a lab with access to the node, and posts its start from each.
func TestWholeNodesAreForTrustedCohorts(t *testing.T) {
	site := newSiteOf(t, nodeLabs())
	for _, a := range site.library.Articles {
		if a.Slug == "services" {
			a.Lab = nodeSlug
		}
	}
	operator := site.instructor()
	trusted, other := site.cohort("Trusted"), site.cohort("Other")
	operator.must(http.StatusSeeOther, operator.post(trustURL(trusted.ID), "on", "yes"))
	ada, _ := site.learner("ada", trusted.ID)
	alan, _ := site.learner("alan", other.ID)
	eve, _ := site.learner("eve", 0)
	for name, c := range map[string]struct {
		*browser
		refused string // what to do; empty: may start it
	}{
		"operator":                      {operator, ""},
		"instructor":                    {site.teacher("barbara"), ""},
		"learner of a trusted cohort":   {ada, ""},
		"learner of another cohort":     {alan, "Yours is not trusted with that: ask an operator of this server to trust your cohort."},
		"learner who is in no cohort":   {eve, "You are in no cohort: ask your instructor for an invite"},
		"learner who joins the trusted": {site.joined("joe", trusted.ID), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.browser = c.in(t)
			for _, path := range []string{"/labs/" + nodeSlug, "/articles/services"} {
				a := c.must(http.StatusOK, c.get(path))
				checkHTML(t, path, a.body)
				if offered := strings.Contains(a.body, nodeButton); offered != (c.refused == "") {
					t.Errorf("%s offers the start: %v", path, offered)
				}
				says := textOfPage(t, a.body)
				if c.refused != "" && !(strings.Contains(says, trustedOnlyTitle) && strings.Contains(says, c.refused)) {
					t.Errorf("%s does not say why, or what to do:\n%s", path, says)
				}
			}
			for _, path := range []string{"/labs", "/"} {
				if a := c.must(http.StatusOK, c.get(path)); !strings.Contains(a.body, "Trusted cohorts only") {
					t.Errorf("%s does not mark the lab", path)
				}
			}
			running := len(site.sessions.Running())
			a := c.post(nodeStart)
			if c.refused == "" {
				c.must(http.StatusSeeOther, a)
				return
			}
			c.must(http.StatusForbidden, a)
			checkHTML(t, nodeStart, a.body)
			says := textOfPage(t, a.body)
			for _, words := range []string{trustedOnlyTitle, "root on a privileged container", c.refused} {
				if !strings.Contains(says, words) {
					t.Errorf("the refusal does not say %q:\n%s", words, says)
				}
			}
			if len(site.sessions.Running()) > running {
				t.Error("a session was begun")
			}
		})
	}
	visitor := site.browser()
	page := visitor.must(http.StatusOK, visitor.get("/labs/"+nodeSlug)).body
	if !strings.Contains(page, "Sign in to start") || !strings.Contains(page, trustedOnlyTitle) {
		t.Errorf("who is not signed in reads:\n%s", textOfPage(t, page))
	}
	attempts, err := site.store.Attempts(t.Context(), store.AttemptFilter{Lab: nodeSlug})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attempts {
		may, err := site.store.Trusted(t.Context(), a.User)
		if err != nil || !may {
			t.Errorf("user %d has an attempt: %v", a.User, err)
		}
	}
}

// joined is a learner who makes an account with an invite to the cohort.
func (s *testSite) joined(login string, cohort int64) *browser {
	s.t.Helper()
	grace := s.teacher("inviter")
	page := grace.must(http.StatusCreated, grace.post(fmt.Sprintf("/teach/cohorts/%d/invites", cohort), "days", "1", "uses", "1")).body
	_, link, found := strings.Cut(page, s.url+"/join/")
	if !found {
		s.t.Fatalf("no link on the page:\n%s", page)
	}
	link, _, _ = strings.Cut(link, `"`)
	b := s.browser()
	b.must(http.StatusSeeOther, b.post("/join/"+link, "name", "Learner "+login, "login", login, "password", testPassword))
	return b
}

// Labs without access to the node ask for no trust.
func TestOtherLabsNeedNoTrust(t *testing.T) {
	site := newSite(t)
	eve, _ := site.learner("eve", 0)
	for _, lab := range site.labs.All() {
		if page := eve.must(http.StatusOK, eve.get("/labs/"+lab.Slug)).body; strings.Contains(page, trustedOnlyTitle) {
			t.Errorf("%s is for trusted cohorts only", lab.Slug)
		}
		eve.must(http.StatusSeeOther, eve.post("/labs/"+lab.Slug+"/start"))
	}
}

func TestOnlyOperatorsTrustACohort(t *testing.T) {
	site := newSite(t)
	operator, barbara := site.instructor(), site.teacher("barbara")
	autumn := site.cohort("Autumn <b>")
	learner, _ := site.learner("ada", autumn.ID)
	visitor := site.browser()
	path := trustURL(autumn.ID)
	cohorts := func(b *browser) string { t.Helper(); return b.must(http.StatusOK, b.get("/teach/cohorts")).body }
	trusted := func() store.Cohort {
		t.Helper()
		c, err := site.store.Cohort(t.Context(), autumn.ID)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	// Others are refused, and nothing changes.
	for name, c := range map[string]struct {
		*browser
		status int
	}{"instructor": {barbara, 403}, "learner": {learner, 404}, "visitor": {visitor, 303}} {
		for _, a := range []answer{c.get(path), c.post(path, "on", "yes")} {
			if a.status != c.status {
				t.Errorf("%s gets %d, want %d", name, a.status, c.status)
			}
		}
	}
	operator.must(http.StatusForbidden, operator.do("POST", path, map[string][]string{"on": {"yes"}}, "Sec-Fetch-Site", "cross-site"))
	if trusted().Trusted {
		t.Fatal("somebody else has trusted the cohort")
	}
	page := cohorts(barbara)
	says := textOfPage(t, page)
	if strings.Contains(page, path) || !strings.Contains(says, "Not trusted with whole nodes") ||
		!strings.Contains(says, "Only operators of this server change it: Grace Hopper.") {
		t.Errorf("an instructor reads:\n%s", says)
	}

	// The operator is asked, and told what it means.
	if !strings.Contains(cohorts(operator), `href="`+path+`"`) {
		t.Error("no link leads the operator there")
	}
	says = textOfPage(t, operator.must(http.StatusOK, operator.get(path)).body)
	for _, words := range []string{"Trust this cohort with whole nodes?", "Autumn <b>", "1 learner", "root on a privileged container", "the host machine can be taken over", "whoever joins it later", "would give a shell on this server"} {
		if !strings.Contains(says, words) {
			t.Errorf("the question does not say %q:\n%s", words, says)
		}
	}
	if trusted().Trusted {
		t.Fatal("to be asked was enough")
	}
	a := operator.must(http.StatusSeeOther, operator.post(path, "on", "yes"))
	if got := a.header.Get("Location"); got != cohortAnchor(autumn.ID) {
		t.Errorf("it leads to %s", got)
	}
	c := trusted()
	if !c.Trusted || c.TrustedBy != 1 || c.TrustedAt.IsZero() {
		t.Errorf("then the cohort is %+v", c)
	}
	if !strings.Contains(site.log.String(), "trusted=true by=grace") {
		t.Error("the log does not tell who did it")
	}
	says = textOfPage(t, cohorts(operator))
	for _, words := range []string{"Autumn <b> is trusted with whole nodes", "Trusted with whole nodes trusted by Grace Hopper on", "Withdraw trust"} {
		if !strings.Contains(says, words) {
			t.Errorf("the page of cohorts does not say %q:\n%s", words, says)
		}
	}

	// A form sent twice, or from a page that is out of date, does not turn it around.
	operator.must(http.StatusSeeOther, operator.post(path, "on", "yes"))
	if again := trusted(); again != c {
		t.Errorf("trusted again: %+v", again)
	}
	barbara.must(http.StatusForbidden, barbara.post(path, "on", "no"))
	says = textOfPage(t, operator.must(http.StatusOK, operator.get(path)).body)
	if !strings.Contains(says, "Withdraw trust in this cohort?") || !strings.Contains(says, "go on until they end") {
		t.Errorf("the question:\n%s", says)
	}
	operator.must(http.StatusSeeOther, operator.post(path, "on", "no"))
	says = textOfPage(t, cohorts(operator))
	if trusted().Trusted || !strings.Contains(says, "Not trusted with whole nodes withdrawn by Grace Hopper on") || !strings.Contains(says, "Sessions that have begun go on.") {
		t.Errorf("after it was withdrawn: %+v\n%s", trusted(), says)
	}
}

// TestASessionOutlivesTrust: what has begun goes on when trust is withdrawn,
// through a reset and a restart of the server; only then it is over.
func TestASessionOutlivesTrust(t *testing.T) {
	site := newLabSiteOf(t, nodeLabs())
	operator, autumn := site.instructor(), site.cohort("Autumn")
	operator.must(http.StatusSeeOther, operator.post(trustURL(autumn.ID), "on", "yes"))
	ada, _ := site.learner("ada", autumn.ID)
	path := ada.must(http.StatusSeeOther, ada.post(nodeStart)).header.Get("Location")
	running := func(when string, more func(labs.Progress) bool) {
		t.Helper()
		terminaltest.Eventually(t, when, func() bool {
			session, there := site.sessions.Get(strings.TrimPrefix(path, "/sessions/"))
			return there && session.Snapshot().Phase == labs.PhaseRunning && more(session.Snapshot())
		})
	}
	anyhow := func(labs.Progress) bool { return true }
	running("the lab runs", anyhow)

	operator.must(http.StatusSeeOther, operator.post(trustURL(autumn.ID), "on", "no"))
	goesOn := func(when string) {
		t.Helper()
		page := ada.must(http.StatusOK, ada.get("/labs/"+nodeSlug)).body
		if !strings.Contains(page, `href="`+path+`"`) || strings.Contains(page, trustedOnlyTitle+".") {
			t.Errorf("%s: the lab's page does not lead to the session:\n%s", when, textOfPage(t, page))
		}
		if to := ada.must(http.StatusSeeOther, ada.post(nodeStart)).header.Get("Location"); to != path {
			t.Errorf("%s: a start leads to %s, not to the session", when, to)
		}
		ada.must(http.StatusOK, ada.get(path))
	}
	goesOn("with trust withdrawn")
	ada.must(http.StatusSeeOther, ada.post(path+"/reset"))
	running("the lab runs after a reset", func(p labs.Progress) bool { return p.Resets == 1 })
	goesOn("after a reset")

	site.sessions.Close()
	site.serve()
	running("the lab runs after a restart", anyhow)
	goesOn("after a restart")

	ada.must(http.StatusSeeOther, ada.post(path+"/end"))
	ada.must(http.StatusForbidden, ada.post(nodeStart))
	operator.must(http.StatusSeeOther, operator.post(trustURL(autumn.ID), "on", "yes"))
	ada.must(http.StatusSeeOther, ada.post(nodeStart))
}
