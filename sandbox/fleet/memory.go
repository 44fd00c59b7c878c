package fleet

import (
	"time"

	"drydock/sandbox"
)

// What a sandbox is expected to take before one of its kind was measured, in
// bytes: a cluster with its lab some 450 MiB, a shell with its tools far less.
const (
	clusterMemory = 600 << 20
	machineMemory = 128 << 20
)

// headroom is added to what was measured, in hundredths: the next learner may do more.
const headroom = 10

// box is a sandbox as it was last seen.
type box struct {
	sandbox.Info
	name  string    // of the template
	added time.Time // to what is known; a list from before it does not count
	usage sandbox.Usage
	peak  int64 // the most memory that was measured
	spare bool  // it was one, before it served
	asked bool  // it was measured, or could not be, since it was frozen
}

// takes is what the box has to be counted with, in bytes.
func (f *Fleet) takes(b *box) int64 {
	if b.Use == sandbox.Serving {
		return max(f.estimate(b.Kind, b.name), b.usage.Memory) // it may still grow to what others took
	}
	if b.usage.Memory > 0 {
		return b.usage.Memory
	}
	return f.estimate(b.Kind, b.name)
}

// cost is what a sandbox of a spec is expected to take, in bytes.
func (f *Fleet) cost(spec sandbox.Spec) int64 {
	kind := spec.Kind
	if kind == "" {
		kind = f.Kind()
	}
	cost := f.estimate(kind, spec.Template)
	if spec.Limits.Memory > 0 {
		cost = min(cost, spec.Limits.Memory)
	}
	return cost
}

func (f *Fleet) estimate(kind sandbox.Kind, name string) int64 {
	if peak := f.past.memory(kind, name); peak > 0 {
		return peak + peak*headroom/100
	}
	if kind == sandbox.Machine {
		return machineMemory
	}
	return clusterMemory
}

// account is how the memory is given out.
type account struct {
	sessions int64 // those that run or start
	others   int64 // spares, what is kept, what is being made for the pool or a reset, and what is leaving
}

func (f *Fleet) account() account {
	var a account
	serving := map[string]bool{}
	for _, b := range f.boxes {
		if b.Use == sandbox.Serving {
			serving[b.Session] = true
			a.sessions += f.takes(b)
		} else if b.Use != sandbox.Preparing { // which its start or its making stands for
			a.others += f.takes(b)
		}
	}
	for s := range f.queue.running {
		switch {
		case !serving[s.req.Session]:
			a.sessions += s.cost
		case !s.warm:
			a.others += s.cost // for a moment there are two
		}
	}
	if f.making != nil {
		a.others += f.cost(f.making.spec)
	}
	return a
}

// seen takes in a list of the provider's sandboxes, which was asked for at began.
func (f *Fleet) seen(kind sandbox.Kind, infos []sandbox.Info, began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	listed := map[string]bool{}
	for _, info := range infos {
		listed[info.ID] = true
		b := f.boxes[info.ID]
		if b == nil {
			b = &box{added: began, name: f.nameOf(info)}
			f.boxes[info.ID] = b
		} else if b.added.After(began) {
			continue // what is known of it is newer
		}
		if b.Use == sandbox.Serving && info.Use != sandbox.Serving {
			f.served(b)
		}
		b.Info = info
		b.spare = b.spare || info.Use == sandbox.Spare
		b.asked = b.asked && info.State == sandbox.Frozen
		f.serves(b, info.Created)
	}
	for id, b := range f.boxes {
		if b.Kind == kind && !listed[id] && !b.added.After(began) {
			f.drop(id)
		}
	}
	f.pump()
}

// serves notes from when a box serves its session.
func (f *Fleet) serves(b *box, from time.Time) {
	if b.Use != sandbox.Serving {
		return
	}
	if _, known := f.since[b.Session]; !known {
		f.since[b.Session] = from
	}
	if b.name == "" {
		b.name = f.names[b.Session]
	}
}

// nameOf is the name of the template that a sandbox is a copy of.
func (f *Fleet) nameOf(info sandbox.Info) string {
	if t, ok := f.templates[info.Template]; ok && info.Template != "" {
		return t.Name
	}
	for name, id := range f.ids {
		if id.id == info.Template && info.Template != "" {
			return name
		}
	}
	return f.names[info.Session]
}

// add takes in a sandbox that was just made.
func (f *Fleet) add(info sandbox.Info, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addLocked(info, name)
}

func (f *Fleet) addLocked(info sandbox.Info, name string) {
	b := &box{Info: info, name: name, added: f.cfg.Now(), spare: info.Use == sandbox.Spare}
	if old := f.boxes[info.ID]; old != nil {
		b.usage, b.peak = old.usage, old.peak
	}
	f.boxes[info.ID] = b
	f.serves(b, b.added)
}

// arrived takes in a session's new sandbox and says how it came about.
func (f *Fleet) arrived(info sandbox.Info, spec sandbox.Spec, template string) (how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how = FromScratch
	if b := f.boxes[info.ID]; b != nil && b.spare {
		how = Warm
	} else if template != "" && info.Template != "" {
		how = Cold
	}
	for _, b := range f.boxes { // what a reset replaced
		if b.Session == spec.Session && b.ID != info.ID {
			b.Use, b.Session, b.added = sandbox.Leaving, "", f.cfg.Now()
		}
	}
	f.names[spec.Session] = spec.Template
	f.addLocked(info, spec.Template)
	return how
}

// left forgets sandboxes that were removed.
func (f *Fleet) left(gone func(*box) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, b := range f.boxes {
		if gone(b) {
			f.drop(id)
		}
	}
	f.pump()
	f.wake()
}

// drop forgets a sandbox that has gone.
func (f *Fleet) drop(id string) {
	b := f.boxes[id]
	delete(f.boxes, id)
	if b.Use == sandbox.Serving {
		f.served(b)
	}
}

// served remembers what the sandbox of a session took, and for how long.
func (f *Fleet) served(b *box) {
	for s := range f.queue.running {
		if s.req.Session == b.Session {
			return // it gets another one
		}
	}
	now := f.cfg.Now()
	f.remember(Measurement{At: now, Kind: b.Kind, How: Used, Template: b.name, Took: now.Sub(f.since[b.Session]), Memory: b.peak})
	delete(f.since, b.Session)
	delete(f.names, b.Session)
}

// changing are the sandboxes whose use may have changed since it was measured:
// what is frozen takes what it took. What is being prepared is left out:
// it is nobody's yet.
func (f *Fleet) changing(infos []sandbox.Info) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, info := range infos {
		b := f.boxes[info.ID]
		if b == nil || info.Use == sandbox.Preparing || b.asked && info.State == sandbox.Frozen {
			continue
		}
		b.asked = true
		ids = append(ids, info.ID)
	}
	return ids
}

// used takes in what was measured.
func (f *Fleet) used(usage map[string]sandbox.Usage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, u := range usage {
		if b := f.boxes[id]; b != nil {
			b.usage = u
			b.peak = max(b.peak, u.Memory)
		}
	}
}
