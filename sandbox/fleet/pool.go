package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"drydock/sandbox"
)

const (
	// lookEvery is how often the fleet compares what there is with what it means to have.
	lookEvery = 5 * time.Second
	// measureEvery is how often the sandboxes' memory is measured, in looks.
	measureEvery = 3
	// sweepEvery is how often leftovers are looked for that no list shows. Those that one shows go at once.
	sweepEvery = 5 * time.Minute
	// sweepSoon is when it is done again after the start: what a server left that was killed is too young
	// at first to be told from what somebody is using. See package firewall.
	sweepSoon = 75 * time.Second
	// pruneEvery is how often templates that nobody asks for any more are removed.
	pruneEvery = time.Hour
	// idTime is how long a template's id is believed: it changes when an image does.
	idTime = 30 * time.Second
	// engineTimeout bounds a question to the engine.
	engineTimeout = 20 * time.Second
	// usageTimeout bounds a measurement, which takes a tenth of a second.
	usageTimeout = 5 * time.Second
	// removeTimeout bounds a removal, which takes a second or two.
	removeTimeout = 2 * time.Minute
	// makeTimeout bounds the making of a template or a spare: an engine that hangs would stop the pool for ever.
	makeTimeout = 15 * time.Minute
	// firstRetry and lastRetry are the pauses after a template or spare could not be made.
	firstRetry = 30 * time.Second
	lastRetry  = 30 * time.Minute
	// restTime is how long the pool makes nothing after it was pruned, or until somebody starts a lab.
	restTime = 15 * time.Minute
)

// What demand is told by.
const (
	// halfLife is the time after which a start counts half.
	halfLife = time.Hour
	// recent is for how long one is kept ready after the last start.
	recent = 24 * time.Hour
	// refill is the time in which the pool can be filled up again when a class begins.
	refill = 10 * time.Minute
	// ahead is how long before an assignment its spares are made, and after how
	// long it counts by its starts alone.
	ahead = 30 * time.Minute
	after = time.Hour
	// atOnce is the share of an assignment's learners who begin together, in hundredths.
	atOnce = 50
)

// templateID is an id, and when it was told.
type templateID struct {
	id string
	at time.Time
}

// job is what the pool makes next: a template, or a spare of it.
type job struct {
	spec  sandbox.Spec
	id    string // of the template
	spare bool
}

// making is a template on its way, for all who wait for it.
type making struct {
	spec  sandbox.Spec
	id    string
	stage string
	began time.Time
	done  chan struct{}
	made  sandbox.Template
	err   error
	off   bool // called off by the one who made it
}

// retry is when something is tried again that failed.
type retry struct {
	at   time.Time
	wait time.Duration
}

// Run makes templates and spares, measures and sweeps, until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	f.recall(ctx)
	var pool sync.WaitGroup
	defer pool.Wait()
	pool.Go(func() { f.fill(ctx) })
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var pruned time.Time
	sweepAt, sweepNext := f.cfg.Now(), sweepSoon
	for turn := 0; ; turn++ {
		left := f.look(ctx, turn%measureEvery == 0)
		now := f.cfg.Now()
		due := !now.Before(sweepAt)
		if due {
			sweepAt, sweepNext = now.Add(sweepNext), sweepEvery
		}
		if left || due {
			f.sweep(ctx)
		}
		if now.Sub(pruned) >= pruneEvery {
			pruned = now
			if _, err := f.pruneTemplates(ctx); err != nil && ctx.Err() == nil {
				f.log.Warn("old templates could not be removed yet", "err", err)
			}
		}
		if f.cfg.History != nil {
			f.write(context.WithoutCancel(ctx))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// fill keeps the pool as it should be, until ctx ends.
func (f *Fleet) fill(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for f.step(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.nudge:
		}
	}
}

// look brings what is known up to date. left says that there are sandboxes
// which nothing needs, unless they are just being made: providers know.
func (f *Fleet) look(ctx context.Context, measure bool) (left bool) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	infos, err := f.List(ctx)
	if ctx.Err() == nil {
		_, templatesErr := f.Templates(ctx)
		err = errors.Join(err, templatesErr)
	}
	if measure && ctx.Err() == nil {
		err = errors.Join(err, f.measure(ctx, infos))
	}
	if err != nil && ctx.Err() == nil {
		f.log.Debug("the fleet could not be looked at in full", "err", err)
	}
	return slices.ContainsFunc(infos, func(i sandbox.Info) bool {
		return i.Use == sandbox.Preparing || i.Use == sandbox.Leaving || i.Use == sandbox.Spare && i.State != sandbox.Frozen
	})
}

// measure finds out what sandboxes take. An engine that is slow to say so must
// not hold up the rest: then what was measured before counts.
func (f *Fleet) measure(ctx context.Context, infos []sandbox.Info) error {
	ids := f.changing(infos)
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	_, err := f.Usage(ctx, ids...)
	return err
}

func (f *Fleet) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if err := f.Sweep(ctx); err != nil && !errors.Is(err, sandbox.ErrEngine) {
		f.fail(ctx, Failure{Doing: "sweep"}, err)
	}
}

// templateID asks a provider for a template's id, or remembers what it said just now.
func (f *Fleet) templateID(ctx context.Context, p sandbox.Provider, spec sandbox.Spec) (string, error) {
	if spec.Template == "" {
		return "", nil
	}
	f.mu.Lock()
	known, ok := f.ids[spec.Template]
	f.mu.Unlock()
	if ok && f.cfg.Now().Sub(known.at) < idTime {
		return known.id, nil
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	id, err := p.TemplateID(ctx, spec)
	if err != nil {
		return "", fmt.Errorf("find the template of %s: %w", spec.Template, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids[spec.Template] = templateID{id, f.cfg.Now()}
	return id, nil
}

// ensureTemplate makes the template of spec unless it is there, or a spare of
// it. id is empty where there is none to be had.
func (f *Fleet) ensureTemplate(ctx context.Context, p sandbox.Provider, spec sandbox.Spec, progress sandbox.Progress) (id string, err error) {
	if id, err = f.templateID(ctx, p, spec); err != nil || id == "" {
		return "", nil // an error the provider meets again, and says better
	}
	f.mu.Lock()
	there := f.there(id)
	spares, _ := f.spares(id)
	f.mu.Unlock()
	if there || spares > 0 {
		return id, nil
	}
	_, err = f.makeTemplate(ctx, p, spec, progress)
	return id, err
}

// there reports whether a template needs no making: it is kept, or its provider
// has nothing to keep for it.
func (f *Fleet) there(id string) bool {
	_, kept := f.templates[id]
	return kept || f.unkept[id]
}

// makeTemplate makes a template, once however many ask for it at the same time.
func (f *Fleet) makeTemplate(ctx context.Context, p sandbox.Provider, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Template, error) {
	id, err := f.templateID(ctx, p, spec)
	if err != nil {
		return sandbox.Template{}, err
	}
	f.mu.Lock()
	m := f.shared[spec.Template]
	first := m == nil
	if first {
		m = &making{spec: spec, id: id, began: f.cfg.Now(), done: make(chan struct{})}
		f.shared[spec.Template] = m
	}
	f.mu.Unlock()
	if first {
		f.reallyMake(ctx, p, m, progress)
		return m.made, m.err
	}
	const stage = "Wait for the lab's template"
	began := f.cfg.Now()
	if progress == nil {
		progress = func(sandbox.Stage) {}
	}
	progress(sandbox.Stage{Name: stage})
	select {
	case <-m.done:
	case <-ctx.Done():
		return sandbox.Template{}, context.Cause(ctx)
	}
	if m.off { // then it is up to us
		return f.makeTemplate(ctx, p, spec, progress)
	}
	progress(sandbox.Stage{Name: stage, Done: true, Took: f.cfg.Now().Sub(began)})
	return m.made, m.err
}

// reallyMake makes a template if it is not there, which the provider is asked
// for: who came here may know only what was there a moment ago.
func (f *Fleet) reallyMake(ctx context.Context, p sandbox.Provider, m *making, progress sandbox.Progress) {
	t := track(progress)
	spec, forget := f.follow(p, m.spec)
	defer forget()
	kept := false
	there, err := f.known(ctx, p, m.id)
	if err == nil {
		m.made, err = p.MakeTemplate(ctx, spec, func(s sandbox.Stage) {
			f.atStage(m, s)
			t.progress(s)
		})
	}
	if err == nil {
		kept, err = f.known(ctx, p, m.id)
	}
	m.err, m.off = err, err != nil && ctx.Err() != nil
	if err != nil {
		f.fail(ctx, Failure{Template: spec.Template, Doing: MakingTemplate, Stage: t.stage()}, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.shared, spec.Template)
	close(m.done)
	if err != nil {
		return
	}
	if !kept {
		f.unkept[m.id] = true
		return
	}
	f.templates[m.id] = m.made
	if !there {
		now := f.cfg.Now()
		f.remember(Measurement{At: now, Kind: p.Kind(), How: TemplateMade, Template: spec.Template, Took: now.Sub(m.began)})
	}
}

func (f *Fleet) known(ctx context.Context, p sandbox.Provider, id string) (bool, error) {
	all, err := p.Templates(ctx)
	return slices.ContainsFunc(all, func(t sandbox.Template) bool { return t.ID == id }), err
}

func (f *Fleet) atStage(m *making, s sandbox.Stage) {
	if s.Done {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m.stage = s.Name
}

// step does one thing towards what the fleet means to have, and reports
// whether there may be more to do. Learners' starts come first: while one waits
// or runs, it does nothing.
func (f *Fleet) step(ctx context.Context) bool {
	if ctx.Err() != nil || f.busy() {
		return false
	}
	specs, err := f.plan(ctx)
	if err != nil {
		return false // the engine: later
	}
	f.mu.Lock()
	if len(f.queue.waiting)+len(f.queue.running) > 0 { // one came meanwhile, and may have been promised a spare
		f.mu.Unlock()
		return false
	}
	extra := cmp.Or(f.extra(), f.tooMuchKept())
	if extra != nil {
		f.discardBehind(extra)
	}
	f.mu.Unlock()
	if extra != nil {
		return true
	}
	j := f.next(specs)
	if j == nil {
		return false
	}
	f.carryOut(ctx, j)
	return true
}

func (f *Fleet) busy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queue.waiting)+len(f.queue.running) > 0
}

// plan finds out what there should be: the specs in demand, the most wanted
// first, with the wanted number of spares in f.wanted.
func (f *Fleet) plan(ctx context.Context) ([]sandbox.Spec, error) {
	specs := slices.DeleteFunc(f.specs(), func(s sandbox.Spec) bool { return !f.answers(s.Kind) })
	for _, spec := range specs {
		p, err := f.provider(spec.Kind)
		if err != nil {
			continue
		}
		if _, err := f.templateID(ctx, p, spec); errors.Is(err, sandbox.ErrEngine) {
			return nil, err
		} // another one, such as a missing image, is that of one kind or lab
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.boxes {
		if b.name == "" { // one that an earlier run of the server left
			b.name = f.nameOf(b.Info)
		}
	}
	score := f.scores(specs)
	slices.SortStableFunc(specs, func(a, b sandbox.Spec) int {
		switch x, y := score[a.Template], score[b.Template]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(a.Template, b.Template)
	})
	f.wanted = f.share(specs, score)
	if f.cfg.Templates == TemplatesAll {
		return specs, nil
	}
	return slices.DeleteFunc(specs, func(s sandbox.Spec) bool { return score[s.Template] == 0 }), nil
}

// answers reports whether there is a provider of the kind that answered last.
func (f *Fleet) answers(kind sandbox.Kind) bool {
	p, err := f.provider(kind)
	if err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.silent[p.Kind()] == nil
}

// specs are all that may be asked for, each once.
func (f *Fleet) specs() []sandbox.Spec {
	all := f.cfg.Specs()
	f.mu.Lock()
	for _, d := range f.demands {
		all = append(all, d.Spec)
	}
	f.mu.Unlock()
	seen := map[string]bool{"": true}
	return slices.DeleteFunc(slices.Clone(all), func(s sandbox.Spec) bool {
		known := seen[s.Template]
		seen[s.Template] = true
		return known
	})
}

// scores are how many starts of each template are expected within the time
// that a refill takes; 0 where nobody asked for it of late.
func (f *Fleet) scores(specs []sandbox.Spec) map[string]float64 {
	now, score := f.cfg.Now(), map[string]float64{}
	asked := map[string]float64{}
	for _, m := range f.past.all {
		if age := now.Sub(m.At); age < recent && (m.How == Warm || m.How == Cold || m.How == FromScratch) {
			asked[m.Template] += math.Exp2(-age.Hours() / halfLife.Hours())
		}
	}
	mean := halfLife.Hours() / math.Ln2 // over which the weights sum up
	for _, s := range specs {
		if f.ids[s.Template].id == "" {
			continue
		}
		if weight := asked[s.Template]; weight > 0 {
			score[s.Template] = weight / mean * refill.Hours()
		}
	}
	for _, d := range f.demands {
		if now.After(d.At.Add(-ahead)) && now.Before(d.At.Add(after)) && f.ids[d.Spec.Template].id != "" {
			score[d.Spec.Template] += float64(d.Count) * atOnce / 100
		}
	}
	return score
}

// share gives out the spares within their number and the memory: one after the
// other to the template that is likeliest to lack it, and first one to each
// that was used of late.
func (f *Fleet) share(specs []sandbox.Spec, score map[string]float64) map[string]int {
	wanted := map[string]int{}
	if f.cfg.Templates == TemplatesNone || f.draining {
		return wanted
	}
	room := int64(math.MaxInt64)
	if f.cfg.Memory > 0 {
		room = f.cfg.Memory - f.account().sessions
	}
	for range f.cfg.Spares {
		var best *sandbox.Spec
		var most float64
		for i, s := range specs {
			n := wanted[s.Template]
			value := score[s.Template] / float64(n+1)
			if n == 0 && value > 0 {
				value += 1e6 // each has one before any has two
			} else if float64(n) >= score[s.Template] {
				continue // enough for what is expected
			}
			if value > most && f.cost(s) <= room {
				best, most = &specs[i], value
			}
		}
		if best == nil {
			break
		}
		wanted[best.Template]++
		room -= f.cost(*best)
	}
	return wanted
}

// extra is a spare that is not wanted: its template is not asked for any more, or there are too many.
func (f *Fleet) extra() *box {
	count := map[string]int{}
	for _, b := range f.boxes {
		if b.Use != sandbox.Spare || f.silent[b.Kind] != nil {
			continue
		}
		if id, known := f.ids[b.name]; b.name != "" && known && id.id == b.Template {
			count[b.name]++
			if count[b.name] <= f.wanted[b.name] {
				continue
			}
		}
		return b
	}
	return nil
}

// keptShare is how much of the memory kept sandboxes may take, in hundredths:
// spares, and the next class, need some that is free.
const keptShare = 50

// tooMuchKept is the oldest kept sandbox when all of them take more than their share.
func (f *Fleet) tooMuchKept() *box {
	if f.cfg.Memory <= 0 {
		return nil
	}
	var sum int64
	for _, b := range f.boxes {
		if b.Use == sandbox.Kept && f.silent[b.Kind] == nil {
			sum += f.takes(b)
		}
	}
	if sum <= f.cfg.Memory*keptShare/100 {
		return nil
	}
	return f.oldestKept()
}

// oldestKept is the kept sandbox to be done without first; none that somebody looks into.
func (f *Fleet) oldestKept() *box {
	var oldest *box
	for _, b := range f.boxes {
		if b.Use == sandbox.Kept && b.State != sandbox.Running && f.silent[b.Kind] == nil &&
			(oldest == nil || b.Created.Before(oldest.Created)) {
			oldest = b
		}
	}
	return oldest
}

// next is what to make now: the first template that is missing, and before
// templates that nobody waits for the spares of those in demand.
func (f *Fleet) next(specs []sandbox.Spec) *job {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Now()
	if f.cfg.Templates == TemplatesNone || f.draining || now.Before(f.resting) {
		return nil
	}
	for _, spares := range []bool{true, false} {
		for _, s := range specs {
			id := f.ids[s.Template].id
			if id == "" || now.Before(f.failed[s.Template].at) || f.shared[s.Template] != nil || f.kinds[s.Kind] == nil {
				continue
			}
			there := f.there(id)
			have, _ := f.spares(id)
			wanted := f.wanted[s.Template]
			switch {
			case spares && wanted == 0:
			case !there:
				return &job{spec: s, id: id}
			case spares && have < wanted && f.fits(s):
				return &job{spec: s, id: id, spare: true}
			}
		}
	}
	return nil
}

// fits reports whether there is room for one more spare.
func (f *Fleet) fits(s sandbox.Spec) bool {
	a := f.account()
	return f.cfg.Memory <= 0 || a.sessions+a.others+f.cost(s) <= f.cfg.Memory
}

// carryOut makes a template or a spare.
func (f *Fleet) carryOut(ctx context.Context, j *job) {
	p := f.kinds[j.spec.Kind]
	f.mu.Lock()
	f.making = j
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, makeTimeout)
	defer cancel()
	var err error
	if j.spare {
		_, err = f.Spare(ctx, j.spec, nil)
	} else {
		_, err = f.makeTemplate(ctx, p, j.spec, nil)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.making = nil
	if err == nil {
		delete(f.failed, j.spec.Template)
	} else if ctx.Err() == nil || !errors.Is(ctx.Err(), context.Canceled) {
		wait := min(max(firstRetry, 2*f.failed[j.spec.Template].wait), lastRetry)
		f.failed[j.spec.Template] = retry{f.cfg.Now().Add(wait), wait}
	}
	f.pump()
}

// Prune removes what nobody needs: all spares, the templates that nothing
// uses and no lab asks for, and leftovers. The pool fills up again after the
// next start, or after a while. Of kinds that do not answer it removes nothing;
// the error then has a [PartialError].
func (f *Fleet) Prune(ctx context.Context) (PruneReport, error) {
	var report PruneReport
	f.mu.Lock()
	f.resting = f.cfg.Now().Add(restTime)
	f.mu.Unlock()
	infos, err := f.List(ctx)
	problems := []error{err}
	for _, info := range infos {
		if info.Use != sandbox.Spare {
			continue
		}
		if err := f.Discard(ctx, info.ID); err != nil {
			problems = append(problems, fmt.Errorf("remove the spare %s: %w", info.ID, err))
			continue
		}
		report.Spares = append(report.Spares, info)
	}
	templates, err := f.pruneTemplates(ctx)
	problems = append(problems, err, f.all(func(p sandbox.Provider) error {
		if !f.answers(p.Kind()) {
			return nil // which the list has said
		}
		return p.Sweep(ctx)
	}))
	report.Templates = templates
	for _, t := range templates {
		report.Freed += t.Size
	}
	return report, errors.Join(problems...)
}

// pruneTemplates removes templates that nothing uses and no lab asks for.
// Where it can't be known what the labs ask for, it removes none.
func (f *Fleet) pruneTemplates(ctx context.Context) (removed []sandbox.Template, err error) {
	needed, unknown := map[string]bool{}, map[sandbox.Kind]bool{}
	for _, spec := range f.specs() {
		p, err := f.provider(spec.Kind)
		if err != nil {
			continue
		}
		id, err := f.templateID(ctx, p, spec)
		if err != nil {
			unknown[p.Kind()] = true
		}
		needed[id] = true
	}
	all, err := f.Templates(ctx)
	if err != nil {
		err = fmt.Errorf("list the templates: %w", err)
	}
	problems := []error{err}
	for _, t := range all {
		if needed[t.ID] || unknown[t.Kind] || t.Used > 0 || f.isBeingMade(t.ID) {
			continue
		}
		if err := f.RemoveTemplate(ctx, t.ID); err != nil {
			problems = append(problems, fmt.Errorf("remove the template %s: %w", t.ID, err))
			continue
		}
		f.log.Info("removed a template that no lab asks for", "template", t.Name, "id", t.ID)
		removed = append(removed, t)
	}
	return removed, errors.Join(problems...)
}

func (f *Fleet) isBeingMade(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.shared {
		if m.id == id {
			return true
		}
	}
	return f.making != nil && f.making.id == id
}

// DestroySandbox removes a sandbox by its own id, whatever it is used for. A
// session that it served is then found lost.
func (f *Fleet) DestroySandbox(ctx context.Context, id string) error {
	infos, err := f.List(ctx)
	if slices.ContainsFunc(infos, func(i sandbox.Info) bool { return i.ID == id }) {
		return f.Discard(ctx, id)
	}
	if err != nil { // it may be of a kind that is silent
		return err
	}
	return fmt.Errorf("sandbox %s: %w", id, sandbox.ErrNotFound)
}
