package kind

import (
	"context"
	"fmt"

	"drydock/sandbox"
	"drydock/sandbox/dock"
)

// learnerUser is who the learner's commands run as.
const learnerUser = "learner"

// Exec runs a command and waits for it. When ctx ends first, the command's processes are killed.
func (p *Provider) Exec(ctx context.Context, session string, cmd sandbox.Command) (sandbox.Result, error) {
	place, err := p.place(ctx, session, cmd.Where)
	if err != nil {
		return sandbox.Result{}, err
	}
	res, err := p.dock.Exec(ctx, place, cmd)
	if err != nil {
		return res, fmt.Errorf("run %q in the %s of session %s: %w", cmd.Argv, cmd.Where, session, err)
	}
	return res, nil
}

func (p *Provider) place(ctx context.Context, session string, where sandbox.Where) (dock.Place, error) {
	switch where {
	case sandbox.InTerminal:
		learner, _, err := p.desk(ctx, session)
		return learner, err
	case sandbox.OnNode:
		c, err := p.find(ctx, session, roleNode)
		return asRoot(c.ID), err
	}
	return dock.Place{}, fmt.Errorf("no such place in a cluster: %q", where)
}

// asRoot is a container, and root in it.
func asRoot(container string) dock.Place {
	return dock.Place{Container: container, User: dock.RootUser}
}
