package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
)

const (
	// maxCommandLine bounds a command of a program, in bytes: bash takes 128 KiB in one argument.
	maxCommandLine = 100 << 10
	// commandTimeout bounds a command that is run as the learner.
	commandTimeout = 5 * time.Minute
)

// rehearsalLines is an author's program: it reads JSON objects, one a line,
// and writes commands. What happens by itself is a [labs.RehearsalEvent].
type rehearsalLines struct {
	in       io.Reader
	provider sandbox.Provider

	mu  sync.Mutex
	out *json.Encoder
	err error // of writing: nobody reads any more
}

func newRehearsalLines(out io.Writer, in io.Reader, provider sandbox.Provider) *rehearsalLines {
	return &rehearsalLines{in: in, provider: provider, out: json.NewEncoder(out)}
}

// Lines that answer commands; their types are no event's.
type (
	lineError struct {
		Type  string `json:"type"` // error
		Error string `json:"error"`
	}
	lineRun struct {
		Type   string `json:"type"` // run
		Exit   int    `json:"exit"`
		Stdout string `json:"stdout"`
		Stderr string `json:"stderr"`
	}
	lineTasks struct {
		Type     string                  `json:"type"` // tasks
		Variant  string                  `json:"variant"`
		Version  string                  `json:"version"`
		Points   int                     `json:"points"`
		Done     map[string]bool         `json:"done"`
		Results  map[string]grade.Result `json:"results"`
		Violated map[string]bool         `json:"violated"`
	}
	lineQuestion struct {
		Type    string   `json:"type"` // question
		ID      string   `json:"id"`
		Text    string   `json:"text"`
		Choices []string `json:"choices,omitempty"`
	}
	lineAnswer struct {
		Type  string `json:"type"` // answer
		ID    string `json:"id"`
		Right bool   `json:"right"`
	}
	lineHint struct {
		Type string `json:"type"` // hint
		ID   string `json:"id"`
		Text string `json:"text,omitempty"` // empty: there are no more
		Cost int    `json:"cost"`
	}
)

func (l *rehearsalLines) write(line any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.out.Encode(line)
	}
}

func (l *rehearsalLines) told(e labs.RehearsalEvent) { l.write(e) }

func (l *rehearsalLines) standing(s labs.RehearsalStanding) {
	l.write(lineTasks{
		Type: "tasks", Variant: s.Variant.Name, Version: s.Lab.Version, Points: s.Points(),
		Done: s.Done, Results: s.Results, Violated: s.Violated,
	})
}

func (l *rehearsalLines) question(task labs.Task) {
	l.write(lineQuestion{Type: "question", ID: task.ID, Text: task.Ask.Text, Choices: task.Ask.Choices})
}

func (l *rehearsalLines) answer(task labs.Task, right bool) {
	l.write(lineAnswer{Type: "answer", ID: task.ID, Right: right})
}

func (l *rehearsalLines) hint(task labs.Task, hint labs.Hint, _ bool) {
	l.write(lineHint{Type: "hint", ID: task.ID, Text: hint.Text, Cost: hint.Cost})
}

// rehearse does what the lines of its input say until they end.
func (l *rehearsalLines) rehearse(ctx context.Context, r *labs.Rehearsal) error {
	lines := make(chan string)
	broken := make(chan error, 1)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(l.in)
		scanner.Buffer(nil, maxCommandLine)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				broken <- nil
				return
			}
		}
		broken <- scanner.Err()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				return <-broken
			}
			if strings.TrimSpace(line) == "" {
				continue
			}
			if end, err := l.command(ctx, r, line); end || err != nil {
				return err
			}
		}
	}
}

func (l *rehearsalLines) command(ctx context.Context, r *labs.Rehearsal, line string) (end bool, err error) {
	if command, ok := strings.CutPrefix(strings.TrimSpace(line), "run "); ok {
		err = l.run(ctx, command)
	} else {
		var choice menuChoice
		choice, err = menuCommand(ctx, r, line, l)
		end = choice.end
		if choice.reset && err == nil {
			err = r.Reset(ctx, choice.variant, nil)
		}
	}
	if errors.Is(err, errNoCommand) {
		err = errors.New(errNoCommand.Error() + ", and run COMMAND")
	}
	if err != nil {
		l.write(lineError{Type: "error", Error: err.Error()})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return end, l.err
}

// run runs a command as the learner.
func (l *rehearsalLines) run(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	result, err := l.provider.Exec(ctx, authorSession, sandbox.Command{Where: sandbox.InTerminal, Argv: []string{"bash", "-c", command}})
	if err != nil {
		return err
	}
	l.write(lineRun{Type: "run", Exit: result.ExitCode, Stdout: string(result.Stdout), Stderr: string(result.Stderr)})
	return nil
}
