package fleet

import (
	"context"
	"slices"
	"time"

	"drydock/sandbox"
)

const (
	// pastDays is how far back measurements are read: last week's class tells of this week's.
	pastDays = 14 * 24 * time.Hour
	// pastKept bounds what is held of them.
	pastKept = 4096
	// latest is how many measurements an estimate is made of: what was before
	// an update of the image says little.
	latest = 20
	// historyTimeout bounds a write; one takes milliseconds.
	historyTimeout = 10 * time.Second
)

// past is what was measured, the oldest first.
type past struct {
	all  []Measurement
	memo map[[2]string]int64 // what memory said since the last was added
}

func (p *past) add(m Measurement) {
	p.all = append(p.all, m)
	p.memo = map[[2]string]int64{}
	if len(p.all) > pastKept {
		p.all = slices.Delete(p.all, 0, len(p.all)-pastKept)
	}
}

// pick returns up to latest measurements that want has, the newest first.
func (p *past) pick(want func(Measurement) bool) []Measurement {
	var picked []Measurement
	for _, m := range slices.Backward(p.all) {
		if want(m) {
			picked = append(picked, m)
		}
		if len(picked) == latest {
			break
		}
	}
	return picked
}

// memory is what sandboxes of a template took at their peaks, or, of one that
// none was measured of, those of its kind: all but the greediest few.
func (p *past) memory(kind sandbox.Kind, name string) int64 {
	if known, ok := p.memo[[2]string{string(kind), name}]; ok || len(p.all) == 0 {
		return known
	}
	used := p.pick(func(m Measurement) bool { return m.How == Used && m.Template == name && m.Kind == kind && m.Memory > 0 })
	if len(used) == 0 {
		used = p.pick(func(m Measurement) bool { return m.How == Used && m.Kind == kind && m.Memory > 0 })
	}
	peaks := make([]int64, 0, len(used))
	for _, m := range used {
		peaks = append(peaks, m.Memory)
	}
	peak := percentile(peaks, 90)
	p.memo[[2]string{string(kind), name}] = peak
	return peak
}

// typical is how long something took of late with a template, else with its kind; 0: not known.
func (p *past) typical(kind sandbox.Kind, how, name string) time.Duration {
	found := p.pick(func(m Measurement) bool { return m.How == how && m.Template == name && m.Kind == kind })
	if len(found) == 0 {
		found = p.pick(func(m Measurement) bool { return m.How == how && m.Kind == kind })
	}
	times := make([]time.Duration, 0, len(found))
	for _, m := range found {
		times = append(times, m.Took)
	}
	return percentile(times, 50)
}

// starts sums up the starts of each kind.
func (p *past) starts() []StartTimes {
	type key struct {
		kind sandbox.Kind
		how  string
	}
	times := map[key][]time.Duration{}
	for _, m := range p.all {
		if m.How != Used {
			times[key{m.Kind, m.How}] = append(times[key{m.Kind, m.How}], m.Took)
		}
	}
	var all []StartTimes
	for k, t := range times {
		all = append(all, StartTimes{Kind: k.kind, How: k.how, Count: len(t), P50: percentile(t, 50), P95: percentile(t, 95), Max: slices.Max(t)})
	}
	order := []string{Warm, Cold, FromScratch, TemplateMade}
	slices.SortFunc(all, func(a, b StartTimes) int {
		if a.Kind != b.Kind {
			return len(a.Kind) - len(b.Kind)
		}
		return slices.Index(order, a.How) - slices.Index(order, b.How)
	})
	return all
}

// percentile is the value that p of a hundred do not exceed; 0 of none.
func percentile[T int64 | time.Duration](values []T, p int) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)*p/100]
}

// measured remembers a measurement.
func (f *Fleet) measured(m Measurement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remember(m)
}

// remember is measured with the lock held. It is written down behind it.
func (f *Fleet) remember(m Measurement) {
	f.past.add(m)
	if f.cfg.History != nil {
		f.unwritten = append(f.unwritten, m)
		f.wake()
	}
}

// write writes down what was measured. What can't be written is not tried again: it is no more than a hint.
func (f *Fleet) write(ctx context.Context) {
	f.mu.Lock()
	unwritten := f.unwritten
	f.unwritten = nil
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	for _, m := range unwritten {
		if err := f.cfg.History.AddMeasurement(ctx, m); err != nil {
			f.log.Warn("measured starts could not be written down", "err", err)
			return
		}
	}
}

// recall reads what earlier runs measured.
func (f *Fleet) recall(ctx context.Context) {
	if f.cfg.History == nil {
		return
	}
	earlier, err := f.cfg.History.Measurements(ctx, f.cfg.Now().Add(-pastDays))
	if err != nil {
		f.log.Warn("the measured starts could not be read; estimates begin anew", "err", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.past.all
	f.past.all = nil
	for _, m := range append(earlier, now...) {
		f.past.add(m)
	}
}
