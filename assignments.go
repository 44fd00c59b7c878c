package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/fleet"
	"drydock/store"
)

const (
	// classesEvery is how often the pool is told of the classes that are going
	// to begin. Meanwhile learners join, leave and begin, and nobody tells.
	classesEvery = time.Minute
	// classOver is when a class has begun for good: who has not started the lab
	// by then comes some time, as its own starts tell. The fleet asks for no more.
	classOver = time.Hour
)

// classes tells the pool of the labs that cohorts are going to begin.
type classes struct {
	upcoming func(ctx context.Context, since time.Time) ([]store.AssignmentStanding, error)
	labs     *labs.Catalogue
	provider sandbox.Provider
	expect   func([]fleet.Demand)
	now      func() time.Time
	log      *slog.Logger
	nudge    chan struct{}
}

func newClasses(db *store.Store, set *labs.Catalogue, all *fleet.Fleet, log *slog.Logger) *classes {
	return &classes{
		upcoming: db.UpcomingAssignments, labs: set, provider: all, expect: all.Expect,
		now: time.Now, log: log, nudge: make(chan struct{}, 1),
	}
}

// changed has the pool told soon. It does not wait.
func (c *classes) changed() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// inBackground tells the pool until stop is called.
func (c *classes) inBackground() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.run(ctx)
	}()
	return func() {
		cancel()
		<-stopped
	}
}

func (c *classes) run(ctx context.Context) {
	tick := time.NewTicker(classesEvery)
	defer tick.Stop()
	for {
		if err := c.tell(ctx); err != nil && !errors.Is(err, context.Canceled) {
			c.log.Warn("the pool can't be told of upcoming classes; what it knew of them before holds", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.nudge:
		}
	}
}

func (c *classes) tell(ctx context.Context) error {
	now := c.now()
	upcoming, err := c.upcoming(ctx, now.Add(-classOver))
	if err != nil {
		return err
	}
	c.expect(classDemands(upcoming, c.labs, c.provider, now))
	return nil
}

// classDemands is what classes that begin a lab together will ask for: learners
// who have not begun it draw one of its variants each, any as likely as another.
//
// What has no begin is no demand, not even near its due date. A demand is for
// starts that come together, half of them within the minutes that the pool
// takes to fill up again: a class does that when it begins, while those who
// work by themselves come one by one in the days before the date. And however
// small, a demand takes one of the few spares for each variant before any class
// gets its second, for hours in which mostly nobody comes. Once somebody comes,
// the starts themselves are demand, and the second learner finds a spare.
func classDemands(upcoming []store.AssignmentStanding, set *labs.Catalogue, provider sandbox.Provider, now time.Time) []fleet.Demand {
	var demands []fleet.Demand
	for _, a := range upcoming {
		lab, known := set.Get(a.Lab)
		missing := a.Learners - a.Begun
		switch {
		case !known, missing <= 0:
			continue
		case a.Begins.IsZero(), now.Sub(a.Begins) > classOver:
			continue
		case lab.Sandbox.WholeNode() && !a.Trusted: // they may not start it
			continue
		}
		variants := lab.AllVariants()
		each := (missing + len(variants) - 1) / len(variants)
		for _, v := range variants {
			demands = append(demands, fleet.Demand{Spec: lab.SandboxSpec(provider, "", v), Count: each, At: a.Begins})
		}
	}
	return demands
}
