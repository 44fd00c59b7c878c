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
	role, user := roleTerminal, learnerUser
	if cmd.Where == sandbox.OnNode {
		role, user = roleNode, dock.RootUser
	} else if cmd.Where != sandbox.InTerminal {
		return sandbox.Result{}, fmt.Errorf("no such place in a cluster: %q", cmd.Where)
	}
	c, err := p.find(ctx, session, role)
	if err != nil {
		return sandbox.Result{}, err
	}
	res, err := p.dock.Exec(ctx, dock.Place{Container: c.ID, User: user}, cmd)
	if err != nil {
		return res, fmt.Errorf("run %q in the %s of session %s: %w", cmd.Argv, role, session, err)
	}
	return res, nil
}

// asRoot is a container, and root in it.
func asRoot(container string) dock.Place {
	return dock.Place{Container: container, User: dock.RootUser}
}
