package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/labs/grade"
	"drydock/store"
)

type labRegradeOptions struct {
	data, since, why, by string
	attempts             []string
	all, apply, yes      bool
	asJSON               bool
}

func newLabRegradeCommand(dir *string) *cobra.Command {
	var o labRegradeOptions
	cmd := &cobra.Command{
		Use:   "regrade SLUG|DIR",
		Short: "Judge the attempts of a lab again, by the lab as it is now",
		Long: `Judges all attempts of a lab that have ended again, by the lab as it is now, from
the evidence and the answers that were kept with them, and prints what that
changes. Nothing is written without --apply. A server may be running meanwhile.

A check that judges as it did keeps its result. One that was corrected is judged
by what was collected then; where that does not suffice, because it looks at
something else now, its result stays as it was, and that is said. An attempt
whose learner was asked something else keeps its grade.

Each grade that is changed keeps a trace: when, by whom, why, and by which
version of the lab. The learner sees it in the report. A grade that an
instructor has given stays until it is withdrawn there.`,
		Example: `  drydock lab regrade init-containers
  drydock lab regrade ./my-labs/broken-dns --since 2026-11-01
  drydock lab regrade init-containers --attempt k3x7q2m5a9bd --json
  drydock lab regrade init-containers --apply --why "web-ready did not count pods of the new name" --by grace`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, err := labToRegradeBy(*dir, args[0])
			if err != nil {
				return err
			}
			return withStore(cmd.Context(), o.data, func(db *store.Store) error { return regradeLab(cmd, db, lab, o) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", "./data", "directory of everything that is kept")
	flags.StringSliceVar(&o.attempts, "attempt", nil, "only this attempt (can be repeated)")
	flags.StringVar(&o.since, "since", "", "only attempts begun on or after this day, such as 2026-11-01")
	flags.BoolVar(&o.all, "all-checks", false, "judge the checks again, too, that are as they were, such as after a mend of Drydock itself")
	flags.BoolVar(&o.apply, "apply", false, "change the grades, after asking")
	flags.BoolVar(&o.yes, "yes", false, "with --apply: do not ask")
	flags.StringVar(&o.why, "why", "", "with --apply: the reason, which the learners read")
	flags.StringVar(&o.by, "by", "", "with --apply: login of the instructor who changes the grades (default: the command line)")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object for each attempt")
	return cmd
}

func labToRegradeBy(dir, arg string) (*labs.Lab, error) {
	folder, err := findLab(dir, arg)
	if err != nil {
		return nil, err
	}
	lab, err := folder.load()
	if err != nil {
		return nil, fmt.Errorf("the lab has errors:\n%w", err)
	}
	if problems := labs.Lint(lab); len(problems) > 0 {
		return nil, fmt.Errorf("the lab has errors:\n%w", folder.shown(problems))
	}
	return lab, nil
}

// points is a grade as JSON.
type points struct {
	Points int `json:"points"`
	Max    int `json:"max"`
}

// regradedLine is an attempt in the output of `lab regrade --json`.
type regradedLine struct {
	Attempt    string           `json:"attempt"`
	Learner    string           `json:"learner"`
	Created    time.Time        `json:"created"`
	Version    string           `json:"version"` // of the lab that it was made with
	Was        points           `json:"was"`
	Now        points           `json:"now"`
	Overridden bool             `json:"overridden,omitempty"`
	Refused    string           `json:"refused,omitempty"`
	Changes    []labs.Change    `json:"changes,omitempty"`
	Open       []labs.OpenCheck `json:"open,omitempty"`
	LeftOut    int              `json:"leftOut,omitempty"` // pieces of evidence that were not kept
	Applied    bool             `json:"applied,omitempty"`
}

func (l regradedLine) differs() bool { return l.Refused == "" && l.Was != l.Now }

func regradeLab(cmd *cobra.Command, db *store.Store, lab *labs.Lab, o labRegradeOptions) error {
	by, err := o.check(cmd, db)
	if err != nil {
		return err
	}
	attempts, err := attemptsToRegrade(cmd.Context(), db, lab.Slug, o)
	if err != nil {
		return err
	}
	builtIn, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		return err
	}
	versions := labs.NewVersions(builtIn, db)
	lines := make([]regradedLine, 0, len(attempts))
	for _, a := range attempts {
		line, err := regradeAttempt(cmd.Context(), db, versions, lab, a, o.all)
		if err != nil {
			return fmt.Errorf("judge attempt %s again: %w", a.ID, err)
		}
		if !o.asJSON {
			printRegraded(cmd.OutOrStdout(), line)
		}
		lines = append(lines, line)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), regradeSummary(lab, lines))
	if o.apply {
		if err := applyRegrade(cmd, db, lab, lines, by, o); err != nil {
			return err
		}
	}
	if !o.asJSON {
		return nil
	}
	out := json.NewEncoder(cmd.OutOrStdout())
	for _, line := range lines {
		err = errors.Join(err, out.Encode(line))
	}
	return err
}

// check finds what is wrong with the options before anything is judged, and who it is.
func (o labRegradeOptions) check(cmd *cobra.Command, db *store.Store) (by int64, err error) {
	if !o.apply {
		if o.why != "" || o.by != "" || o.yes {
			return 0, errors.New("--why, --by and --yes are for --apply: without it nothing is written")
		}
		return 0, nil
	}
	if strings.TrimSpace(o.why) == "" {
		return 0, errors.New("--apply needs --why TEXT: the learners read why their grades have changed")
	}
	if !o.yes && !isTerminal(cmd.InOrStdin()) {
		return 0, errors.New("--apply asks before it writes, and there is no terminal to ask on: say --yes")
	}
	if o.by == "" {
		return 0, nil
	}
	user, err := db.UserByLogin(cmd.Context(), o.by)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, fmt.Errorf("nobody has the login %q; `drydock user list` shows all", o.by)
	case err != nil:
		return 0, err
	case user.Role != store.RoleInstructor:
		return 0, fmt.Errorf("%s is a learner; only instructors change grades", user.Login)
	}
	return user.ID, nil
}

// attemptsToRegrade are those of the lab that have ended, the oldest first.
func attemptsToRegrade(ctx context.Context, db *store.Store, slug string, o labRegradeOptions) ([]labs.Attempt, error) {
	var since time.Time
	if o.since != "" {
		var err error
		if since, err = time.ParseInLocation(time.DateOnly, o.since, time.Local); err != nil {
			return nil, fmt.Errorf("--since %q: write a day like 2026-11-01", o.since)
		}
	}
	all, err := db.Attempts(ctx, store.AttemptFilter{Lab: slug})
	if err != nil {
		return nil, err
	}
	for _, id := range o.attempts {
		i := slices.IndexFunc(all, func(a labs.Attempt) bool { return a.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("lab %s has no attempt %q: its id is in the address of its report", slug, id)
		}
		if all[i].Ended.IsZero() {
			return nil, fmt.Errorf("attempt %s is still running: it can be judged again when it has ended", id)
		}
	}
	all = slices.DeleteFunc(all, func(a labs.Attempt) bool {
		return a.Ended.IsZero() || a.Created.Before(since) || len(o.attempts) > 0 && !slices.Contains(o.attempts, a.ID)
	})
	slices.Reverse(all)
	return all, nil
}

func regradeAttempt(ctx context.Context, db *store.Store, versions *labs.Versions, lab *labs.Lab, a labs.Attempt, all bool) (line regradedLine, err error) {
	line = regradedLine{Attempt: a.ID, Created: a.Created, Version: a.Version}
	user, err := db.User(ctx, a.User)
	if err != nil {
		return line, err
	}
	line.Learner = user.Name
	graded, err := db.Grade(ctx, a.ID)
	if err != nil {
		return line, err
	}
	line.Was, line.Overridden = points{graded.Judged, graded.JudgedMax}, graded.Overridden
	line.Now = line.Was
	if !graded.Scored {
		line.Refused = "it was never graded"
		return line, nil
	}
	r := labs.Regrading{Lab: lab, Attempt: a, All: all}
	if r.Was, err = versions.Of(ctx, a); err != nil && !errors.Is(err, labs.ErrNotKept) {
		return line, err
	}
	if r.Events, err = db.Events(ctx, a.ID, 0); err != nil {
		return line, err
	}
	r.Evidence, err = db.Evidence(ctx, a.ID)
	switch {
	case errors.Is(err, store.ErrTooLarge):
		line.Refused = "there is more evidence of it than can be judged at once"
		return line, nil
	case err != nil:
		return line, err
	}
	if line.LeftOut, err = db.EvidenceLeftOut(ctx, a.ID); err != nil {
		return line, err
	}
	out, err := labs.Regrade(r)
	if err != nil {
		return line, err
	}
	line.Refused, line.Changes, line.Open = out.Refused, out.Changes, out.Open
	if out.Refused == "" {
		line.Now = points{out.Now.Score, out.Now.MaxScore}
	}
	return line, nil
}

func printRegraded(w io.Writer, l regradedLine) {
	fmt.Fprintf(w, "%-12s  %s  %s  ", l.Attempt, l.Created.Local().Format("2006-01-02 15:04"), l.Learner)
	switch {
	case l.Refused != "":
		fmt.Fprintf(w, "%d of %d points stay: %s\n", l.Was.Points, l.Was.Max, l.Refused)
	case l.differs():
		fmt.Fprintf(w, "%d of %d -> %d of %d points\n", l.Was.Points, l.Was.Max, l.Now.Points, l.Now.Max)
	default:
		fmt.Fprintf(w, "%d of %d points, as before\n", l.Was.Points, l.Was.Max)
	}
	if l.Overridden {
		fmt.Fprintln(w, "    an instructor has given another grade, which goes on to count")
	}
	for _, c := range l.Changes {
		fmt.Fprintf(w, "    %s\n", changeWords(c))
	}
	for _, c := range l.Open {
		rest := "left out"
		if c.Kept {
			rest = "its result stays as it was"
		}
		fmt.Fprintf(w, "    %s can't be judged again: %s; %s\n", c.Check, c.Why, rest)
	}
	if l.LeftOut > 0 {
		fmt.Fprintf(w, "    %s not kept: a guard may have been violated unseen\n", wereNot(l.LeftOut))
	}
}

func wereNot(n int) string {
	if n == 1 {
		return "1 piece of evidence was"
	}
	return fmt.Sprintf("%d pieces of evidence were", n)
}

// changeWords says what is different with a check, a guard or a question.
func changeWords(c labs.Change) string {
	words := func(v grade.Verdict) string {
		switch {
		case c.Guard && v == grade.Pass:
			return "kept"
		case c.Guard && v == grade.Fail:
			return "violated"
		case v == "":
			return "not judged"
		case c.Check == "" && v == grade.Pass:
			return "right"
		case c.Check == "" && v == grade.Fail:
			return "wrong"
		}
		return string(v)
	}
	name := c.Check
	switch {
	case c.Guard:
		name = "guard " + c.Check
	case c.Check == "":
		name = "answer to " + c.Task
	}
	text := fmt.Sprintf("%s: %s -> %s", name, words(c.Was), words(c.Now))
	switch reason := strings.Join(strings.Fields(c.Reason), " "); {
	case reason == "":
	case c.Now == grade.Pass:
		text += " (then: " + reason + ")"
	default:
		text += " (" + reason + ")"
	}
	return text
}

func regradeSummary(lab *labs.Lab, lines []regradedLine) string {
	if len(lines) == 0 {
		return fmt.Sprintf("%s has no attempts that have ended.", lab.Slug)
	}
	var more, less, same, refused, open int
	for _, l := range lines {
		switch {
		case l.Refused != "":
			refused++
		case l.Now.Points*l.Was.Max > l.Was.Points*l.Now.Max:
			more++
		case l.differs():
			less++
		default:
			same++
		}
		if len(l.Open) > 0 {
			open++
		}
	}
	text := fmt.Sprintf("%s of %s, judged by version %s: %d with more points, %d with fewer, %d as before.",
		counted(len(lines), "attempt"), lab.Slug, lab.Version, more, less, same)
	if refused > 0 {
		text += fmt.Sprintf(" %s can't be judged by it.", counted(refused, "attempt"))
	}
	if open > 0 {
		text += fmt.Sprintf(" In %s some checks can't be judged again.", counted(open, "attempt"))
	}
	return text
}

// applyRegrade changes the grades that differ, once that was agreed to.
func applyRegrade(cmd *cobra.Command, db *store.Store, lab *labs.Lab, lines []regradedLine, by int64, o labRegradeOptions) error {
	differ := 0
	for _, l := range lines {
		if l.differs() {
			differ++
		}
	}
	if differ == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "There is nothing to change.")
		return nil
	}
	if !o.yes {
		agreed, err := agreeTo(cmd, fmt.Sprintf("Change %s? Type yes: ", counted(differ, "grade")))
		if err != nil || !agreed {
			return errors.Join(err, errors.New("nothing was changed"))
		}
	}
	if err := lab.KeepWith(cmd.Context(), db); err != nil { // the trace names it
		return err
	}
	for i := range lines {
		l := &lines[i]
		if !l.differs() {
			continue
		}
		details, err := json.Marshal(map[string]any{"changes": l.Changes, "open": l.Open})
		if err == nil {
			_, err = db.Regrade(cmd.Context(), store.GradeChange{
				Attempt: l.Attempt, By: by, Why: o.why, Version: lab.Version, JudgedPoints: l.Now.Points, JudgedMax: l.Now.Max, Details: details,
			})
		}
		if err != nil {
			return fmt.Errorf("%s changed, then: %w", counted(i, "grade"), plainly(err))
		}
		l.Applied = true
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s changed. The reports say so, and why.\n", counted(differ, "grade"))
	return nil
}

// agreeTo asks on the terminal; only yes is agreement.
func agreeTo(cmd *cobra.Command, question string) (bool, error) {
	fmt.Fprint(cmd.ErrOrStderr(), question)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	return strings.EqualFold(strings.TrimSpace(line), "yes"), nil
}
