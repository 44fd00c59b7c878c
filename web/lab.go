package web

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"drydock/content"
	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
	"drydock/store"

	"github.com/go-chi/chi/v5"
)

// labCard is a lab in a list, with how the reader stands in it.
type labCard struct {
	*labs.Lab
	Session  string // of the reader's running session; empty without one
	Refused  string // why the reader may not start it, in words; empty: they may
	Attempts int    // that have ended
	Best     int    // points of the best of them
	Max      int
	Lacking  []string // what makes it a draft, in words; nothing, and it is none
}

// Solved reports whether an attempt earned everything there is.
func (c labCard) Solved() bool { return c.Attempts > 0 && c.Max > 0 && c.Best >= c.Max }

// Points is the highest score.
func (c labCard) Points() int {
	sum := 0
	for _, t := range c.Tasks {
		sum += t.Points
	}
	return sum
}

// pastAttempt is an attempt that the reader made earlier.
type pastAttempt struct {
	labs.Attempt
	store.AttemptScore
}

// Took is how long the attempt lasted.
func (a pastAttempt) Took() time.Duration { return a.Ended.Sub(a.Created).Round(time.Minute) }

// labView is the page of a lab before it is started.
type labView struct {
	labCard
	Intro   string // HTML: what the README says before its first task
	Article *content.Article
	Past    []pastAttempt
	Given   *givenCard // to the reader's cohort; nil: it was not
	// Templates says where its templates stand; only instructors are told.
	Templates []string
	// Differences are between this server's sandboxes and what their kind promises.
	Differences []string
}

func (s *server) labList(w http.ResponseWriter, r *http.Request) error {
	cards, err := s.labCards(r.Context())
	if err != nil {
		return err
	}
	page := s.page(r, "Labs")
	page.Description, page.Active = "Real systems that are broken, to be repaired in a terminal.", "labs"
	return s.render(w, r, http.StatusOK, labListPage(page, cards))
}

func (s *server) lab(w http.ResponseWriter, r *http.Request) error {
	slug := chi.URLParam(r, "slug")
	lab, ok := s.Labs.Get(slug)
	if !ok {
		return notFound("lab", nearest(slug, s.labLinks())...)
	}
	card, err := s.labCard(r.Context(), lab)
	if err != nil {
		return err
	}
	intro, err := content.Render("README.md", []byte(introOf(lab.Readme)), content.Options{
		IDPrefix: "intro-", FigureBase: "/labs/" + slug + "/figures/",
		Open: func(name string) ([]byte, error) { return fs.ReadFile(lab.FS, name) },
	})
	if err != nil {
		return fmt.Errorf("render the introduction of lab %s: %w", slug, err)
	}
	view := labView{labCard: card, Intro: intro.HTML}
	view.Article, _ = s.Library().Article(lab.Article)
	if view.Past, err = s.pastAttempts(r.Context(), slug); err != nil {
		return err
	}
	if view.Given, err = s.givenCard(r.Context(), card); err != nil {
		return err
	}
	if s.Fleet != nil {
		view.Differences = s.Fleet.Differences(lab.Sandbox.Kind)
	}
	page := s.page(r, lab.Title)
	if page.Instructor() {
		view.Templates = s.templateLines(lab)
	}
	page.Description, page.Active, page.Shape = lab.Summary, "labs", "wide"
	page.Styles = []string{"article.css", highlightSheet}
	return s.render(w, r, http.StatusOK, labPage(page, view))
}

func (s *server) labFigure(w http.ResponseWriter, r *http.Request) error {
	lab, ok := s.Labs.Get(chi.URLParam(r, "slug"))
	if !ok {
		return notFound("lab")
	}
	return serveFigure(w, r, func(name string) ([]byte, error) { return fs.ReadFile(lab.FS, name) })
}

// startLab starts the lab and leads to its session, which shows the stages.
func (s *server) startLab(w http.ResponseWriter, r *http.Request, user store.User) error {
	slug := chi.URLParam(r, "slug")
	lab, ok := s.Labs.Get(slug)
	if !ok {
		return notFound("lab", nearest(slug, s.labLinks())...)
	}
	refused, err := s.startRefusal(r.Context(), user, lab)
	if err != nil {
		return err
	}
	if refused != "" {
		if running := s.runningSession(user, slug); running != "" { // goes on, whatever became of the trust
			return redirect(w, r, "/sessions/"+running)
		}
		return problem(http.StatusForbidden, trustedOnlyTitle, refused)
	}
	session, err := s.Sessions.Start(r.Context(), user.ID, slug)
	if err != nil {
		return sessionProblem(fmt.Errorf("start lab %s: %w", slug, err))
	}
	return redirect(w, r, "/sessions/"+session.ID())
}

// introOf is what stands before the first task: its title, which the page has
// already, is left out.
func introOf(readme string) string {
	before, _, _ := strings.Cut("\n"+readme, "\n## ")
	before = strings.TrimSpace(before)
	if first, rest, _ := strings.Cut(before, "\n"); strings.HasPrefix(first, "# ") {
		before = rest
	}
	return before
}

func (s *server) labCards(ctx context.Context) ([]labCard, error) {
	past, err := s.pastAttempts(ctx, "")
	if err != nil {
		return nil, err
	}
	cards := make([]labCard, 0, len(s.Labs.All()))
	for _, lab := range s.Labs.All() {
		card, err := s.standing(ctx, lab, past)
		if err != nil {
			return nil, err
		}
		cards = append(cards, card)
	}
	return cards, nil
}

func (s *server) labCard(ctx context.Context, lab *labs.Lab) (labCard, error) {
	past, err := s.pastAttempts(ctx, lab.Slug)
	if err != nil {
		return labCard{}, err
	}
	return s.standing(ctx, lab, past)
}

// standing says how the reader stands in a lab.
func (s *server) standing(ctx context.Context, lab *labs.Lab, past []pastAttempt) (card labCard, err error) {
	card.Lab = lab
	if card.Lacking, err = lab.Lacking(); err != nil {
		return card, fmt.Errorf("look whether lab %s is a draft: %w", lab.Slug, err)
	}
	for _, a := range past {
		if a.Lab == lab.Slug && a.Scored {
			card.Attempts++
			if a.Points >= card.Best {
				card.Best, card.Max = a.Points, a.Max
			}
		}
	}
	user, ok := signedIn(ctx)
	if !ok {
		return card, nil
	}
	card.Session = s.runningSession(user, lab.Slug)
	card.Refused, err = s.startRefusal(ctx, user, lab)
	return card, err
}

// runningSession is the user's session of the lab; empty without one.
func (s *server) runningSession(user store.User, slug string) string {
	for _, session := range s.Sessions.Running() {
		if session.User() == user.ID && session.Lab().Slug == slug {
			return session.ID()
		}
	}
	return ""
}

// pastAttempts are the reader's that have ended, newest first; of all labs when slug is empty.
func (s *server) pastAttempts(ctx context.Context, slug string) ([]pastAttempt, error) {
	user, ok := signedIn(ctx)
	if !ok {
		return nil, nil
	}
	attempts, err := s.Store.Attempts(ctx, store.AttemptFilter{User: user.ID, Lab: slug, Limit: maxAttemptsShown})
	if err != nil {
		return nil, fmt.Errorf("look up earlier attempts: %w", err)
	}
	var past []pastAttempt
	for _, a := range attempts {
		if a.Ended.IsZero() {
			continue
		}
		score, err := s.Store.Score(ctx, a.ID)
		if err != nil {
			return nil, fmt.Errorf("look up the score of attempt %s: %w", a.ID, err)
		}
		past = append(past, pastAttempt{a, score})
	}
	return past, nil
}

// sandboxWords says what a learner works in.
func sandboxWords(box labs.Sandbox) []string {
	var words []string
	switch box.Kind {
	case sandbox.Cluster:
		words = append(words, "A real Kubernetes cluster of your own, with "+plural(max(1, box.Nodes), "node", "nodes"))
	default:
		words = append(words, "A Linux machine of your own")
	}
	switch box.Access {
	case sandbox.AccessNamespace:
		words = append(words, "You work in the namespace "+strings.Join(box.Namespaces, ", ")+" and can look at what is around it")
	case sandbox.AccessCluster:
		words = append(words, "You may change everything that the Kubernetes API offers, except leaving the node")
	case sandbox.AccessNode:
		words = append(words, "You are root on the node: this lab is for trusted cohorts only")
	}
	if box.Egress == "internet" {
		words = append(words, "It reaches the internet")
	} else {
		words = append(words, "It does not reach the internet: everything you need is inside")
	}
	return words
}

// provenWords says when the lab was last proven. The day is the same for
// everybody, as that of an article is.
func provenWords(lab *labs.Lab) string {
	switch {
	case lab.Proven == nil:
		return "Never proven: nobody has recorded that every solution passes here and every wrong fix is caught."
	case !lab.ProvenNow():
		return "Proven for an older version of this lab, on " + day(lab.Proven.At) + "."
	}
	return "Last proven " + day(lab.Proven.At) + " on " + lab.Proven.On() + ": every solution passes, every wrong fix is caught."
}

// celPart is where the grader fills a value in.
var celPart = regexp.MustCompile(`\s*\(?\x00\)?`)

// inWords is what a learner may know of a check before it failed: its message
// without the values that are only known then.
func inWords(message, id string) string {
	text := strings.TrimSpace(celPart.ReplaceAllString(grade.WithoutValues(message, "\x00"), " …"))
	if text == "" {
		return strings.ReplaceAll(id, "-", " ")
	}
	return text
}

func hasHints(lab *labs.Lab) bool {
	return slices.ContainsFunc(lab.Tasks, func(t labs.Task) bool { return len(t.Hints) > 0 })
}

// levelMarks is how many of three marks a level shows.
func levelMarks(level string) int {
	switch level {
	case "beginner":
		return 1
	case "intermediate":
		return 2
	default:
		return 3
	}
}
