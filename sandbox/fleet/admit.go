package fleet

import (
	"cmp"
	"context"
	"slices"
	"time"

	"drydock/sandbox"
)

const (
	// tellEvery is how soon a new estimate is told; a new place is told at once.
	tellEvery = 10 * time.Second
	// tellFrom is how much an estimate has to be off by to be worth telling.
	tellFrom = 5 * time.Second
	// anyMoment is the estimate for what should have happened already.
	anyMoment = 15 * time.Second
)

// queue holds the starts that wait and those that were let in.
type queue struct {
	waiting []*start
	running map[*start]bool
	turns   map[string]int64 // each owner's latest
	turn    int64            // of the start let in last
	count   int64
}

// start is one request for leave.
type start struct {
	req      Request
	kind     sandbox.Kind
	template string // id; empty for none
	turn     int64  // the round in which it is due
	number   int64
	since    time.Time
	cost     int64
	warm     bool // it was promised a spare
	began    time.Time
	let      chan struct{} // closed when it is let in, or refused with err
	err      error
	told     Waiting
	toldAt   time.Time
	news     chan Waiting // holds the latest
}

// Admit waits for leave to make a sandbox: for memory, and for a turn. waiting
// is told the place and the estimate as they change; it must not block. The
// caller calls release when the sandbox was made or could not be.
func (f *Fleet) Admit(ctx context.Context, r Request, waiting func(Waiting)) (release func(), err error) {
	p, err := f.provider(r.Spec.Kind)
	if err != nil {
		return nil, err
	}
	template, err := f.templateID(ctx, p, r.Spec)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	} // another error the making itself will meet, and say
	s, err := f.enqueue(r, p.Kind(), template)
	if err != nil {
		return nil, err
	}
	for {
		select {
		case <-s.let:
			return f.leave(s)
		case w := <-s.news:
			if waiting != nil {
				waiting(w)
			}
		case <-ctx.Done():
			f.giveUp(s)
			return nil, context.Cause(ctx)
		}
	}
}

func (f *Fleet) leave(s *start) (release func(), err error) {
	if s.err != nil {
		return nil, s.err
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.queue.running, s)
		f.forget(s)
		f.pump()
		f.wake()
	}, nil
}

// giveUp takes back a request that nobody waits for any more.
func (f *Fleet) giveUp(s *start) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.waiting = slices.DeleteFunc(f.queue.waiting, func(o *start) bool { return o == s })
	delete(f.queue.running, s) // it may have been let in just now
	f.forget(s)
	f.pump()
	f.wake()
}

// forget drops what is known of a session that got no sandbox.
func (f *Fleet) forget(s *start) {
	for _, b := range f.boxes {
		if b.Session == s.req.Session {
			return
		}
	}
	delete(f.names, s.req.Session)
}

func (f *Fleet) enqueue(r Request, kind sandbox.Kind, template string) (*start, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !r.Reset {
		if err := f.accepts(r.Spec); err != nil {
			return nil, err
		}
	}
	q := &f.queue
	if q.running == nil {
		q.running, q.turns = map[*start]bool{}, map[string]int64{}
	}
	if len(q.waiting)+len(q.running) == 0 {
		clear(q.turns) // nobody is ahead of anybody
	}
	q.count++
	s := &start{
		req: r, kind: kind, template: template, number: q.count, since: f.cfg.Now(), cost: f.cost(r.Spec),
		let: make(chan struct{}), news: make(chan Waiting, 1),
	}
	// Each owner has one start in a round; who comes new takes part in the round that is going on.
	s.turn = max(q.turn, q.turns[r.Owner]+1)
	q.turns[r.Owner] = s.turn
	f.names[r.Session] = r.Spec.Template
	q.waiting = append(q.waiting, s)
	f.resting = time.Time{}
	f.pump()
	return s, nil
}

// order is that of the turns: resets first, for their sessions run already.
func (q *queue) order() {
	slices.SortStableFunc(q.waiting, func(a, b *start) int {
		if a.req.Reset != b.req.Reset {
			if a.req.Reset {
				return -1
			}
			return 1
		}
		if a.req.Reset {
			return cmp.Compare(a.number, b.number)
		}
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.number, b.number))
	})
}

// pump lets in whom there is room for, and tells the others how they stand. f.mu is held.
func (f *Fleet) pump() {
	q := &f.queue
	q.order()
	still := q.waiting[:0:0]
	full := false // for want of memory: nobody behind goes first, or a large one would wait for ever
	for _, s := range q.waiting {
		if f.draining && !s.req.Reset {
			s.err = ErrDraining
			close(s.let)
			continue
		}
		if full || !f.room(s, &full) {
			still = append(still, s)
			continue
		}
		s.began = f.cfg.Now()
		q.running[s] = true
		if !s.req.Reset {
			q.turn = max(q.turn, s.turn)
		}
		close(s.let)
		f.makeRoom(s)
	}
	q.waiting = still
	f.tell()
}

// room reports whether a start can be let in now. full is set when it lacks memory.
func (f *Fleet) room(s *start, full *bool) bool {
	if !s.req.Reset && f.cfg.Memory > 0 && f.account().sessions+s.cost > f.cfg.Memory {
		*full = true
		return false
	}
	spares, claimed := f.spares(s.template)
	if spares > claimed {
		s.warm = true
		return true
	}
	if m := f.making; m != nil && m.spare && m.id != "" && m.id == s.template && claimed == spares {
		return false // it is soon there, and made faster than another one
	}
	return f.creating() < f.cfg.Starts
}

// spares counts the spares of a template, and those that were promised to starts.
func (f *Fleet) spares(template string) (there, claimed int) {
	if template == "" {
		return 0, 0
	}
	for _, b := range f.boxes {
		if b.Use == sandbox.Spare && b.State == sandbox.Frozen && b.Template == template { // any other is never handed out
			there++
		}
	}
	for s := range f.queue.running {
		if s.warm && s.template == template {
			claimed++
		}
	}
	return there, min(claimed, there)
}

// creating counts the starts that make a sandbox now.
func (f *Fleet) creating() int {
	n := 0
	for s := range f.queue.running {
		if !s.warm {
			n++
		}
	}
	return n
}

// makeRoom discards spares, and then what is kept, when a start needs the memory.
func (f *Fleet) makeRoom(s *start) {
	if f.cfg.Memory <= 0 {
		return
	}
	a := f.account()
	over := a.sessions + a.others - f.cfg.Memory
	if s.warm {
		over -= s.cost // the spare becomes the session's
	}
	for over > 0 {
		b := cmp.Or(f.leastWanted(), f.oldestKept())
		if b == nil {
			return
		}
		over -= f.takes(b)
		f.discardBehind(b)
	}
}

// leastWanted is the spare to be done without first: of a template that has
// more than are wanted, else of the one wanted least.
func (f *Fleet) leastWanted() *box {
	count := map[string]int{}
	for _, b := range f.boxes {
		if b.Use == sandbox.Spare {
			count[b.Template]++
		}
	}
	var least *box
	excess := func(b *box) int { return count[b.Template] - f.wanted[b.name] }
	for _, b := range f.boxes {
		there, claimed := f.spares(b.Template)
		if b.Use != sandbox.Spare || there <= claimed {
			continue
		}
		if least == nil || excess(b) > excess(least) || excess(b) == excess(least) && b.Created.Before(least.Created) {
			least = b
		}
	}
	return least
}

// discardBehind removes a sandbox that serves nobody without anybody waiting for it.
func (f *Fleet) discardBehind(b *box) {
	if b.Use == sandbox.Kept {
		f.log.Info("a kept sandbox makes way", "session", b.Session, "sandbox", b.ID)
	}
	b.Use = sandbox.Leaving
	b.added = f.cfg.Now()
	id := b.ID
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
		defer cancel()
		if err := f.Discard(ctx, id); err != nil {
			f.log.Warn("a sandbox could not be removed yet", "sandbox", id, "err", err)
		}
	}()
}

// tell tells those who wait of their place and the estimate, when they changed.
func (f *Fleet) tell() {
	now := f.cfg.Now()
	for i, w := range f.waitings() {
		s := f.queue.waiting[i]
		if w.Place == s.told.Place && (now.Sub(s.toldAt) < tellEvery || !news(s.told.Estimate, w.Estimate, now.Sub(s.toldAt))) {
			continue
		}
		s.told, s.toldAt = w, now
		select {
		case <-s.news: // which is out of date
		default:
		}
		s.news <- w
	}
}

// news reports whether an estimate differs from one that was told some time ago.
func news(told, now, ago time.Duration) bool {
	if told == 0 || now == 0 {
		return told != now // one of them is not known
	}
	return (told - ago - now).Abs() >= tellFrom
}

// waitings are those who wait, in the order of their turns.
func (f *Fleet) waitings() []Waiting {
	all := make([]Waiting, 0, len(f.queue.waiting))
	forecast := f.forecast()
	for i, s := range f.queue.waiting {
		w := Waiting{Session: s.req.Session, Owner: s.req.Owner, Place: i + 1, Since: s.since}
		if at := forecast(s); !at.IsZero() {
			w.Estimate = max(time.Second, at.Sub(f.cfg.Now()))
		}
		all = append(all, w)
	}
	return all
}

// forecast plays through what is going to happen if all take as long as they
// did of late. Asked in the order of the turns, it says when each is let in;
// the zero time when that can't be known.
func (f *Fleet) forecast() func(*start) time.Time {
	now := f.cfg.Now()
	soon := func(at time.Time) time.Time {
		if at.Before(now) {
			return now.Add(anyMoment)
		}
		return at
	}
	var slots []time.Time // when each is free
	known := true
	for s := range f.queue.running {
		if !s.warm {
			took := f.typicalStart(s)
			known = known && took > 0
			slots = append(slots, soon(s.began.Add(took)))
		}
	}
	for len(slots) < f.cfg.Starts {
		slots = append(slots, now)
	}
	ends, free := f.ends(now), f.cfg.Memory-f.account().sessions
	return func(s *start) time.Time {
		slices.SortFunc(slots, time.Time.Compare)
		at := slots[0]
		if !s.req.Reset && f.cfg.Memory > 0 {
			for free < s.cost && len(ends) > 0 {
				free += ends[0].frees
				if ends[0].at.After(at) {
					at = ends[0].at
				}
				ends = ends[1:]
			}
			known = known && free >= s.cost
			free -= s.cost
		}
		took := f.typicalStart(s)
		if !known || took == 0 && at.After(now) {
			return time.Time{}
		}
		slots[0] = at.Add(took)
		return at
	}
}

// typicalStart is how long a start usually takes; 0: not known.
func (f *Fleet) typicalStart(s *start) time.Duration {
	how := Cold
	if s.template == "" {
		how = FromScratch
	}
	took := f.past.typical(s.kind, how, s.req.Spec.Template)
	if took == 0 {
		took = f.past.typical(s.kind, FromScratch, s.req.Spec.Template)
	}
	return took
}

// end is when a session is expected to free its memory.
type end struct {
	at    time.Time
	frees int64
}

// ends are the expected ends of the sessions, the first first; none when
// nothing is known of how long sessions last. One that outlasts the others by
// some time is expected to go on for as long again: to promise its end at any
// moment, for an hour, is worse than no estimate.
func (f *Fleet) ends(now time.Time) []end {
	var ends []end
	for _, b := range f.boxes {
		if b.Use != sandbox.Serving {
			continue
		}
		if lasts := f.past.typical(b.Kind, Used, b.name); lasts > 0 {
			at := f.since[b.Session].Add(lasts)
			if late := now.Sub(at); late > 0 {
				at = now.Add(max(anyMoment, late))
			}
			ends = append(ends, end{at, f.takes(b)})
		}
	}
	slices.SortFunc(ends, func(a, b end) int { return a.at.Compare(b.at) })
	return ends
}
