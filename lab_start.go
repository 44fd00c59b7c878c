package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drydock/labs"
	"drydock/sandbox"
)

const (
	// authorSession is the one session of `lab start`: a data directory has one at a time.
	authorSession = "start"
	// startRemoveTimeout bounds the removal of the sandbox at the end.
	startRemoveTimeout = 2 * time.Minute
)

type labStartOptions struct {
	variant         string
	asJSON          bool
	data, nodeImage string
}

func newLabStartCommand(dir *string) *cobra.Command {
	var o labStartOptions
	cmd := &cobra.Command{
		Use:   "start SLUG|DIR",
		Short: "Bring a lab up and work on it in this terminal",
		Long: `Brings a lab up and opens the learner's shell in this terminal. What becomes of the
checks, guards and tasks is told as it happens. Ctrl-] opens a menu to look at where
they stand, answer questions, take hints and reset the lab. Leaving the shell ends the
lab and removes its sandbox. Nothing is kept of the attempt.

A lab that is a folder of yours may be edited meanwhile. As soon as lab.yaml is saved, the
same sandbox is judged by its new checks. A version with errors is told with its problems,
and changes nothing. What only a fresh sandbox shows (setup, manifests, ready, the variant's
vars) is named: reset, in the menu, makes one.

With --json it needs no terminal: one JSON object a line tells what happens, and commands
are read from standard input: those of the menu, and "run COMMAND" as the learner. It ends
with "end", or with its input.`,
		Example: `  drydock lab start init-containers
  drydock lab start ./my-labs/broken-dns --variant typo
  echo 'run kubectl get pods' | drydock lab start init-containers --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.asJSON && (!term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd()))) {
				return errors.New("lab start needs a terminal for the learner's shell; with --json it takes commands from standard input, and lab test runs without any")
			}
			folder, err := findLab(*dir, args[0])
			if err != nil {
				return err
			}
			return startLab(cmd, folder, o)
		},
	}
	cmd.Flags().StringVar(&o.variant, "variant", "", "variant of the fault (default one at random)")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print one JSON object a line; take commands from standard input")
	addSandboxFlags(cmd, &o.data, &o.nodeImage)
	return cmd
}

func chooseVariant(lab *labs.Lab, name string) (labs.Variant, error) {
	all := lab.AllVariants()
	if name == "" {
		return all[rand.IntN(len(all))], nil
	}
	return lab.FindVariant(name)
}

// startLab brings the lab up, lets the author at it, and takes it away.
func startLab(cmd *cobra.Command, folder labFolder, o labStartOptions) (err error) {
	copies, err := os.MkdirTemp("", "drydock-lab-*")
	if err != nil {
		return fmt.Errorf("make a place for copies of the lab: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copies)) }()
	lab, err := folder.loadCopy(copies)
	if err != nil {
		return fmt.Errorf("the lab has errors:\n%w", err)
	}
	chosen, err := chooseVariant(lab, o.variant)
	if err != nil {
		return err
	}
	provider, done, err := authorSandboxes(cmd, o.data, o.nodeImage)
	if err != nil {
		return err
	}
	defer done()
	errOut := cmd.ErrOrStderr()
	var desk rehearser = &console{words: newRehearsalWords(errOut, "\r\n"), provider: provider}
	if o.asJSON {
		desk = newRehearsalLines(cmd.OutOrStdout(), cmd.InOrStdin(), provider)
	}
	rehearsal := labs.NewRehearsal(provider, authorSession, lab, chosen, desk.told)
	fmt.Fprintf(errOut, "%s (version %s, variant %s)\n", lab.Title, lab.Version, chosen.Name)
	if err := rehearsal.Open(cmd.Context(), stagesOn(errOut, "\n")); err != nil {
		return fmt.Errorf("bring up the lab: %w", err)
	}
	defer func() {
		fmt.Fprintln(errOut, "Removing the sandbox.")
		ctx, cancel := context.WithTimeout(context.Background(), startRemoveTimeout)
		defer cancel()
		err = errors.Join(err, rehearsal.Close(ctx))
	}()
	ctx, cancel := context.WithCancel(cmd.Context())
	var following sync.WaitGroup
	if folder.dir != "" { // one that is built in never changes
		following.Go(func() { followLab(ctx, folder, lab, copies, rehearsal) })
	}
	err = desk.rehearse(ctx, rehearsal)
	cancel()
	following.Wait()
	return err
}

// rehearser is how an author works on a lab: at a terminal, or as a program.
type rehearser interface {
	// told is told of what happens, from any goroutine, one after the other.
	told(labs.RehearsalEvent)
	// rehearse returns when the author has done.
	rehearse(context.Context, *labs.Rehearsal) error
}

// followLab judges the sandbox by each new version of the lab.
func followLab(ctx context.Context, folder labFolder, lab *labs.Lab, copies string, r *labs.Rehearsal) {
	labs.Follow(ctx, folder.files, lab, copies, func(lab *labs.Lab, problems labs.Problems) {
		if lab == nil {
			r.Broken(folder.shown(problems))
			return
		}
		r.Reload(ctx, lab)
	})
}

// stagesOn prints the steps of bringing a lab up as they end.
func stagesOn(w io.Writer, newline string) sandbox.Progress {
	return func(s sandbox.Stage) {
		if s.Done {
			fmt.Fprintf(w, "  %-40s %5.1f s%s", s.Name, s.Took.Seconds(), newline)
		}
	}
}
