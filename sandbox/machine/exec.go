package machine

import (
	"context"
	"fmt"

	"github.com/moby/moby/api/types/container"

	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/sandbox/machine/boot"
)

// asRoot is the machine's root, with all rights inside the machine and none outside.
func asRoot(c container.Summary) dock.Place {
	return dock.Place{Container: c.ID, User: dock.RootUser, Enter: []string{boot.Program, "enter", "root", "--"}}
}

// asLearner is the learner, with the rights of a command that is typed.
func asLearner(c container.Summary) dock.Place {
	return dock.Place{Container: c.ID, User: dock.RootUser,
		Enter: []string{boot.Program, "enter", boot.LearnerName, "-pids", c.Labels[labelPIDs], "--"}}
}

// Exec runs a command and waits for it. When ctx ends first, the command's processes are killed.
func (p *Provider) Exec(ctx context.Context, session string, cmd sandbox.Command) (sandbox.Result, error) {
	c, err := p.find(ctx, session)
	if err != nil {
		return sandbox.Result{}, err
	}
	var place dock.Place
	switch cmd.Where {
	case sandbox.InTerminal:
		place = asLearner(c)
	case sandbox.OnNode:
		place = asRoot(c)
	default:
		return sandbox.Result{}, fmt.Errorf("no such place in a machine: %q", cmd.Where)
	}
	res, err := p.runner.Exec(ctx, place, cmd)
	if err != nil {
		return res, fmt.Errorf("run %q in the machine of session %s: %w", cmd.Argv, session, err)
	}
	return res, nil
}

// Terminal attaches to a shell of the learner's. ctx bounds the attaching only.
func (p *Provider) Terminal(ctx context.Context, session string, spec sandbox.TerminalSpec) (sandbox.Terminal, error) {
	c, err := p.find(ctx, session)
	if err != nil {
		return nil, err
	}
	t, err := p.runner.Terminal(ctx, asRoot(c), spec)
	if err != nil {
		return nil, fmt.Errorf("open terminal %s of session %s: %w", spec.Tab, session, err)
	}
	return t, nil
}

// CloseTerminal ends a shell. Closing what is not open is no error.
func (p *Provider) CloseTerminal(ctx context.Context, session, tab string) error {
	c, err := p.find(ctx, session)
	if err != nil {
		return err
	}
	if err := p.runner.CloseTerminal(ctx, asRoot(c), tab); err != nil {
		return fmt.Errorf("close terminal %s of session %s: %w", tab, session, err)
	}
	return nil
}
