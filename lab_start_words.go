package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"drydock/labs"
	"drydock/labs/grade"
)

// Colours of the terminal, by what they mean here.
const (
	colourGood   = "\x1b[32m"
	colourBad    = "\x1b[31m"
	colourWait   = "\x1b[33m"
	colourSign   = "\x1b[7m" // what Drydock says, between what the shell says
	colourNormal = "\x1b[0m"
)

// rehearsalWords tells a rehearsal in words. It is safe for concurrent use.
type rehearsalWords struct {
	newline  string // a raw terminal wants a carriage return with it
	coloured bool

	mu  sync.Mutex
	out io.Writer
}

// newRehearsalWords colours what it says only where it is shown: on a
// terminal, unless NO_COLOR is set (no-color.org).
func newRehearsalWords(out io.Writer, newline string) *rehearsalWords {
	return &rehearsalWords{out: out, newline: newline, coloured: isTerminal(out) && os.Getenv("NO_COLOR") == ""}
}

func (w *rehearsalWords) in(colour, text string) string {
	if !w.coloured {
		return text
	}
	return colour + text + colourNormal
}

// say prints lines of Drydock's own between those of the shell.
func (w *rehearsalWords) say(lines ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var text strings.Builder
	text.WriteString(w.newline)
	for i, line := range lines {
		if i == 0 {
			text.WriteString(w.in(colourSign, " drydock ") + " ")
		} else {
			text.WriteString("          ")
		}
		text.WriteString(line + w.newline)
	}
	_, _ = io.WriteString(w.out, text.String())
}

// told prints what happened.
func (w *rehearsalWords) told(e labs.RehearsalEvent) {
	switch e.Type {
	case labs.RehearsalReady:
		w.say(fmt.Sprintf("the lab is ready (version %s, variant %s)", e.Version, e.Variant))
	case labs.RehearsalCheck:
		w.say(w.check(e.ID, grade.Result{Verdict: e.Verdict, Reason: e.Reason}, e.Holding))
	case labs.RehearsalGuard:
		w.say(w.in(colourBad, "a guard was violated: "+e.ID) + reasonAfter(e.Reason))
	case labs.RehearsalTask:
		if e.Done {
			w.say(w.in(colourGood, "done: "+e.ID))
		} else {
			w.say(w.in(colourBad, "no longer done: "+e.ID))
		}
	case labs.RehearsalReload:
		w.say(w.reload(e)...)
	case labs.RehearsalProblems:
		lines := []string{w.in(colourBad, "the lab has errors; what is judged is the last version without:")}
		for _, problem := range e.Problems {
			lines = append(lines, problem.Error())
		}
		w.say(lines...)
	case labs.RehearsalStopped:
		w.say(w.in(colourBad, "nothing is judged any more: "+e.Reason))
	}
}

func (w *rehearsalWords) reload(e labs.RehearsalEvent) []string {
	lines := []string{fmt.Sprintf("reloaded: judged by version %s from now on", e.Version)}
	if len(e.Baselines) > 0 {
		lines = append(lines, w.in(colourWait, "compared with now, and not with the hand-over: "+strings.Join(e.Baselines, ", ")))
	}
	if len(e.Reset) > 0 {
		lines = append(lines, w.in(colourWait, "only a fresh sandbox shows: "+strings.Join(e.Reset, ", ")+" (Ctrl-] and reset)"))
	}
	return lines
}

// check says where a check stands.
func (w *rehearsalWords) check(id string, r grade.Result, holding bool) string {
	switch {
	case r.Verdict == grade.Pass:
		return w.in(colourGood, "✓ "+id)
	case holding:
		return w.in(colourWait, "… "+id) + " holds, but not yet for long enough"
	case r.Verdict == grade.Error:
		return w.in(colourWait, "! "+id) + " could not be looked at" + reasonAfter(r.Reason)
	case r.Verdict == grade.Fail:
		return w.in(colourBad, "✗ "+id) + reasonAfter(r.Reason)
	}
	return "· " + id + " was not judged yet"
}

func reasonAfter(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// standing prints where everything stands.
func (w *rehearsalWords) standing(s labs.RehearsalStanding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := func(format string, args ...any) { fmt.Fprintf(w.out, format+w.newline, args...) }
	for _, task := range s.Lab.Tasks {
		mark := "[ ]"
		if s.Done[task.ID] {
			mark = w.in(colourGood, "[x]")
		}
		line("%s %s: %s (%s)", mark, task.ID, task.Title, counted(task.Points, "point"))
		for _, check := range task.Checks {
			r := s.Results[check.ID]
			line("      %s", w.check(check.ID, r, !r.HoldUntil.IsZero()))
		}
	}
	for _, guard := range s.Lab.Guards {
		if s.Violated[guard.ID] {
			line("    %s", w.in(colourBad, "the guard "+guard.ID+" was violated")+reasonAfter(guard.Else))
		} else if r := s.Results[guard.ID]; r.Verdict == grade.Error {
			line("    %s", w.check(guard.ID, r, false))
		}
	}
	line("%d of %d points", s.Points(), labs.TotalPoints)
}
