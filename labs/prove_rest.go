package labs

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"drydock/labs/grade"
)

// standing is where a check stands, without its reason: that may change for ever.
type standing string

const (
	standsTrue  standing = "true" // with or without its hold
	standsFalse standing = "false"
	standsOpen  standing = "not known"
)

func standingOf(r grade.Result) standing {
	switch {
	case holds(r):
		return standsTrue
	case r.Verdict == grade.Fail:
		return standsFalse
	}
	return standsOpen
}

// rest waits until the state is final: nothing has changed for a while, no
// check is within its hold, and a fresh look at everything finds what was
// last seen, however seldom each check looks by itself. A state that does not
// come to rest in time is judged as it stands then, and the case says so.
func (p *prover) rest(ctx context.Context, at *live, t *trial) error {
	timeout := p.options.Patience + longestHold(p.checks.Checks())
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := p.untilRest(waiting, at)
	if waiting.Err() != nil && ctx.Err() == nil {
		t.result.Notes = append(t.result.Notes, fmt.Sprintf("the state did not come to rest within %s, and was judged as it stood; what changed last: %s", timeout, at.seen.lastMoved()))
		return nil
	}
	return err
}

func (p *prover) untilRest(ctx context.Context, at *live) error {
	for before := map[string]standing(nil); ; {
		if err := at.seen.untilQuiet(ctx, minQuiet); err != nil {
			return err
		}
		now, err := p.look(ctx, at.env)
		if err != nil {
			return err
		}
		// What a look finds a second time stays so: the run, which knows what came before, sees it differently.
		if maps.Equal(now, at.seen.standings()) || maps.Equal(now, before) {
			return nil
		}
		before = now
		p.checks.Recheck("")
		at.seen.stir()
	}
}

// look looks at everything once, afresh.
func (p *prover) look(ctx context.Context, env grade.Env) (map[string]standing, error) {
	env.Log = slog.New(slog.DiscardHandler) // the run tells what can't be looked at
	_, results, err := p.checks.Once(ctx, env)
	if err != nil {
		return nil, err
	}
	found := map[string]standing{}
	for _, r := range results {
		found[r.Check] = standingOf(r)
	}
	return found, nil
}
