package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/client-go/rest"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/sandbox"
)

const (
	// menuKey is Ctrl-], which telnet users know and shells do not use.
	menuKey = 0x1d
	// authorSession is the one session of `lab start`: a data directory has one at a time.
	authorSession = "start"
	// startRemoveTimeout bounds the removal of the sandbox at the end.
	startRemoveTimeout = 2 * time.Minute
)

func newLabStartCommand(dir *string) *cobra.Command {
	var variant, data, nodeImage string
	cmd := &cobra.Command{
		Use:   "start SLUG|DIR",
		Short: "Bring a lab up and work on it in this terminal",
		Long: `Brings a lab up and opens the learner's shell in this terminal. What happens to the
tasks is told as it happens. Ctrl-] opens a menu to answer questions, take hints and
look at what the checks say. Leaving the shell ends the lab and removes its sandbox.
Nothing is kept of the attempt.`,
		Example: `  drydock lab start init-containers
  drydock lab start ./my-labs/broken-dns --variant typo`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
				return errors.New("lab start needs a terminal for the learner's shell; lab test runs without one")
			}
			folder, err := findLab(*dir, args[0])
			if err != nil {
				return err
			}
			lab, err := folder.load()
			if err != nil {
				return fmt.Errorf("the lab has errors:\n%w", err)
			}
			chosen, err := chooseVariant(lab, variant)
			if err != nil {
				return err
			}
			provider, done, err := authorSandboxes(cmd, data, nodeImage)
			if err != nil {
				return err
			}
			defer done()
			return startLab(cmd, provider, lab, chosen)
		},
	}
	cmd.Flags().StringVar(&variant, "variant", "", "variant of the fault (default one at random)")
	addSandboxFlags(cmd, &data, &nodeImage)
	return cmd
}

func chooseVariant(lab *labs.Lab, name string) (labs.Variant, error) {
	all := lab.AllVariants()
	if name == "" {
		return all[rand.IntN(len(all))], nil
	}
	var names []string
	for _, v := range all {
		if v.Name == name {
			return v, nil
		}
		names = append(names, v.Name)
	}
	return labs.Variant{}, fmt.Errorf("the lab %s has no variant %q; it has: %s", lab.Slug, name, strings.Join(names, ", "))
}

// startLab brings the lab up, runs the shell, and takes the lab away.
func startLab(cmd *cobra.Command, provider sandbox.Provider, lab *labs.Lab, v labs.Variant) (err error) {
	ctx, errOut := cmd.Context(), cmd.ErrOrStderr()
	fmt.Fprintf(errOut, "%s (version %s, variant %s)\n", lab.Title, lab.Version, v.Name)
	exec := func(ctx context.Context, c sandbox.Command) (sandbox.Result, error) {
		return provider.Exec(ctx, authorSession, c)
	}
	spec := lab.SandboxSpec(provider, authorSession, v)
	if _, err := provider.Create(ctx, spec, func(s sandbox.Stage) {
		if s.Done {
			fmt.Fprintf(errOut, "  %-40s %5.1f s\n", s.Name, s.Took.Seconds())
		}
	}); err != nil {
		return fmt.Errorf("bring up the lab: %w", err)
	}
	defer func() {
		fmt.Fprintln(errOut, "Removing the sandbox.")
		ctx, cancel := context.WithTimeout(context.Background(), startRemoveTimeout)
		defer cancel()
		err = errors.Join(err, provider.Destroy(ctx, authorSession))
	}()
	a := &attempt{provider: provider, lab: lab, variant: v, out: errOut, results: map[string]grade.Result{}, done: map[string]bool{}}
	return a.run(ctx, exec)
}

// attempt is a try at a lab in the author's own terminal.
type attempt struct {
	provider sandbox.Provider
	lab      *labs.Lab
	variant  labs.Variant
	out      io.Writer
	hints    map[string]int // shown, by task

	mu      sync.Mutex // also orders what is written to out
	results map[string]grade.Result
	done    map[string]bool
}

func (a *attempt) run(ctx context.Context, exec labs.Execer) error {
	a.hints = map[string]int{}
	var config *rest.Config // of a machine there is none
	var err error
	if a.lab.Sandbox.Kind == sandbox.Cluster {
		if config, err = labs.AdminConfig(ctx, a.provider, authorSession); err != nil {
			return err
		}
	}
	set, problems := grade.Compile(a.lab.Checks())
	if len(problems) > 0 {
		return fmt.Errorf("lab.yaml:%d: %s", problems[0].Line, problems[0])
	}
	env := grade.Env{REST: config, Vars: a.variant.Vars, Exec: exec, Log: slog.New(slog.DiscardHandler)}
	if env.Baseline, err = set.Baseline(ctx, env); err != nil {
		return fmt.Errorf("take the baseline: %w", err)
	}
	a.tasks()
	fmt.Fprint(a.out, "Ctrl-] opens the menu; leaving the shell ends the lab.\n\n")
	ctx, cancel := context.WithCancel(ctx)
	var grading sync.WaitGroup
	grading.Go(func() {
		if err := set.Run(ctx, env, a); err != nil && ctx.Err() == nil {
			a.say("grading stopped: %v", err)
		}
	})
	err = a.shell(ctx)
	cancel()
	grading.Wait()
	a.tasks()
	return err
}

// say prints a line while the terminal is raw.
func (a *attempt) say(format string, args ...any) {
	fmt.Fprintf(a.out, "\r\n\x1b[7m drydock \x1b[0m %s\r\n", fmt.Sprintf(format, args...))
}

// Evidence implements grade.Sink.
func (a *attempt) Evidence(grade.Evidence) {}

// Result implements grade.Sink.
func (a *attempt) Result(r grade.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.results[r.Check]
	a.results[r.Check] = r
	for _, guard := range a.lab.Guards {
		if guard.ID == r.Check && r.Verdict == grade.Fail && before.Verdict != grade.Fail {
			a.say("a guard was violated: %s", r.Reason)
		}
	}
	for _, task := range a.lab.Tasks {
		if done := a.passes(task); task.Ask == nil && done != a.done[task.ID] {
			a.done[task.ID] = done
			if done {
				a.say("done: %s", task.Title)
			} else {
				a.say("no longer done: %s", task.Title)
			}
		}
	}
}

func (a *attempt) passes(task labs.Task) bool {
	for _, check := range task.Checks {
		if a.results[check.ID].Verdict != grade.Pass {
			return false
		}
	}
	return true
}

// tasks prints where the tasks stand.
func (a *attempt) tasks() {
	a.mu.Lock()
	defer a.mu.Unlock()
	points := 0
	for _, task := range a.lab.Tasks {
		mark := "[ ]"
		if a.done[task.ID] {
			mark, points = "[x]", points+task.Points
		}
		fmt.Fprintf(a.out, "%s %s: %s (%d points)\n", mark, task.ID, task.Title, task.Points)
		for _, check := range task.Checks {
			if r := a.results[check.ID]; r.Verdict == grade.Fail || r.Verdict == grade.Error {
				fmt.Fprintf(a.out, "      %s: %s\n", check.ID, r.Reason)
			}
		}
	}
	fmt.Fprintf(a.out, "%d of %d points\n", points, labs.TotalPoints)
}

// shell connects this terminal to the learner's until the shell ends.
func (a *attempt) shell(ctx context.Context) error {
	stdin := int(os.Stdin.Fd())
	size := func() sandbox.Size {
		cols, rows, err := term.GetSize(stdin)
		if err != nil {
			return sandbox.Size{Cols: 80, Rows: 24}
		}
		return sandbox.Size{Cols: uint16(cols), Rows: uint16(rows)}
	}
	shell, err := a.provider.Terminal(ctx, authorSession, sandbox.TerminalSpec{Tab: "1", Size: size()})
	if err != nil {
		return fmt.Errorf("open the learner's shell: %w", err)
	}
	defer shell.Close()
	cooked, err := term.MakeRaw(stdin)
	if err != nil {
		return fmt.Errorf("prepare this terminal: %w", err)
	}
	defer func() { _ = term.Restore(stdin, cooked) }()

	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(os.Stdout, shell)
		ended <- err
	}()
	go func() { ended <- a.typing(stdin, cooked, shell) }()
	for {
		select {
		case <-resized:
			_ = shell.Resize(size())
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// typing passes what is typed on to the shell, and opens the menu on its key.
// It ends when the menu's `end` is chosen.
func (a *attempt) typing(stdin int, cooked *term.State, shell io.Writer) error {
	keys := bufio.NewReader(os.Stdin)
	buffer := make([]byte, 4096)
	for {
		n, err := keys.Read(buffer)
		if err != nil {
			return err
		}
		before, after, menu := strings.Cut(string(buffer[:n]), string(rune(menuKey)))
		if _, err := io.WriteString(shell, before); err != nil {
			return nil // the shell has ended; its reader tells how
		}
		if !menu {
			continue
		}
		raw, err := term.GetState(stdin)
		if err != nil {
			return err
		}
		_ = term.Restore(stdin, cooked)
		end := a.menu(bufio.NewReader(io.MultiReader(strings.NewReader(after), keys)))
		_ = term.Restore(stdin, raw)
		if end {
			return nil
		}
		_, _ = io.WriteString(shell, "\r") // a fresh prompt
	}
}

const menuHelp = `  tasks              where the tasks stand, and what the checks say
  answer TASK TEXT   answer a question (a number chooses among those shown)
  hint TASK          the next hint
  end                end the lab
An empty line goes back to the shell.
`

// menu reads commands until an empty line, or end.
func (a *attempt) menu(in *bufio.Reader) (end bool) {
	fmt.Fprint(a.out, "\n", menuHelp)
	for {
		fmt.Fprint(a.out, "drydock> ")
		line, err := in.ReadString('\n')
		words := strings.Fields(line)
		switch {
		case err != nil || len(words) == 0:
			return false
		case words[0] == "end":
			return true
		case words[0] == "tasks":
			a.tasks()
		case words[0] == "hint" && len(words) == 2:
			a.hint(words[1])
		case words[0] == "answer" && len(words) >= 2:
			_, text, _ := strings.Cut(strings.TrimSpace(line), words[1])
			a.answer(words[1], strings.TrimSpace(text))
		default:
			fmt.Fprint(a.out, menuHelp)
		}
	}
}

func (a *attempt) task(id string) (labs.Task, bool) {
	i := slices.IndexFunc(a.lab.Tasks, func(t labs.Task) bool { return t.ID == id })
	if i < 0 {
		fmt.Fprintf(a.out, "there is no task %q\n", id)
		return labs.Task{}, false
	}
	return a.lab.Tasks[i], true
}

func (a *attempt) hint(id string) {
	task, ok := a.task(id)
	switch {
	case !ok:
	case a.hints[id] == len(task.Hints):
		fmt.Fprintln(a.out, "there are no more hints")
	default:
		hint := task.Hints[a.hints[id]]
		a.hints[id]++
		fmt.Fprintf(a.out, "%s (costs %s)\n", hint.Text, counted(hint.Cost, "point"))
	}
}

// answer judges an answer; without one it shows the question.
func (a *attempt) answer(id, text string) {
	task, ok := a.task(id)
	if !ok {
		return
	}
	if task.Ask == nil {
		fmt.Fprintln(a.out, "this task asks nothing: it is done when the cluster is in order")
		return
	}
	choices := map[string]string{}
	for i, choice := range task.Ask.ChoicesIn(a.variant.Vars) {
		choices[fmt.Sprint(i+1)] = choice
	}
	if text == "" {
		fmt.Fprintln(a.out, task.Ask.Text)
		for _, number := range slices.Sorted(maps.Keys(choices)) {
			fmt.Fprintf(a.out, "  %s  %s\n", number, choices[number])
		}
		return
	}
	if choice, ok := choices[text]; ok {
		text = choice
	}
	if !task.Ask.Right(text, a.variant.Vars) {
		fmt.Fprintln(a.out, "that is not it")
		return
	}
	a.mu.Lock()
	a.done[id] = true
	a.mu.Unlock()
	fmt.Fprintln(a.out, "right.", task.Ask.Why)
}
