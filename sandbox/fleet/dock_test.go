package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drydock/sandbox"
)

// dock is a [sandbox.Provider] in memory, with templates and spares. What it
// does takes the time of the bubble that a test runs in, so that who goes when
// can be told to the second. What a fleet leaves to its providers it lacks.
type dock struct {
	sandbox.Provider
	kind sandbox.Kind

	mu        sync.Mutex
	unkept    bool   // it makes all anew from its image, and keeps no templates
	version   string // goes into the templates' ids, as an image does
	boxes     map[string]*sandbox.Info
	templates map[string]*sandbox.Template
	memory    map[string]int64 // by sandbox, what Usage says
	made      int
	down      error
	failing   error // what making fails with
	swept     int
	busy, top int // how many are made now, and were at once at most
	log       []string
}

const (
	templateTakes = 60 * time.Second
	coldTakes     = 6 * time.Second
	warmTakes     = 500 * time.Millisecond
)

func newDock(kind sandbox.Kind) *dock {
	return &dock{kind: kind, version: "v1", boxes: map[string]*sandbox.Info{}, templates: map[string]*sandbox.Template{}, memory: map[string]int64{}}
}

func (d *dock) Kind() sandbox.Kind { return d.kind }

func (d *dock) TemplateID(_ context.Context, spec sandbox.Spec) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil || spec.Template == "" {
		return "", d.down
	}
	return spec.Template + "@" + d.version, nil
}

// work takes the time of making something.
func (d *dock) work(ctx context.Context, what string, takes time.Duration, progress sandbox.Progress) error {
	d.mu.Lock()
	d.busy++
	d.top = max(d.top, d.busy)
	d.log = append(d.log, what)
	err := d.failing
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.busy--
		d.mu.Unlock()
	}()
	progress(sandbox.Stage{Name: "Work"})
	select {
	case <-time.After(takes):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *dock) MakeTemplate(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Template, error) {
	id, err := d.TemplateID(ctx, spec)
	if err != nil || d.unkept {
		return sandbox.Template{ID: id, Name: spec.Template}, err
	}
	if err := d.work(ctx, "template "+spec.Template, templateTakes, progress); err != nil {
		return sandbox.Template{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.templates[id] = &sandbox.Template{ID: id, Name: spec.Template, Kind: d.kind, Size: 1 << 20, Created: time.Now()}
	return *d.templates[id], nil
}

func (d *dock) Templates(context.Context) ([]sandbox.Template, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []sandbox.Template
	for _, t := range d.templates {
		u := *t
		for _, b := range d.boxes {
			if b.Template == t.ID {
				u.Used++
			}
		}
		all = append(all, u)
	}
	return all, d.down
}

func (d *dock) RemoveTemplate(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.templates, id)
	return d.down
}

// add puts a sandbox there.
func (d *dock) add(info sandbox.Info) sandbox.Info {
	d.made++
	info.ID, info.Kind, info.Created = fmt.Sprintf("%s%d", d.kind, d.made), d.kind, time.Now()
	d.boxes[info.ID] = &info
	return info
}

func (d *dock) Spare(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	if err := d.work(ctx, "spare "+spec.Template, coldTakes, progress); err != nil {
		return sandbox.Info{}, err
	}
	id, _ := d.TemplateID(ctx, spec)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.add(sandbox.Info{Use: sandbox.Spare, State: sandbox.Frozen, Template: id}), nil
}

func (d *dock) spare(template string) *sandbox.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.boxes {
		if b.Use == sandbox.Spare && b.Template == template {
			b.Use = sandbox.Preparing
			return b
		}
	}
	return nil
}

func (d *dock) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	id, err := d.TemplateID(ctx, spec)
	if err != nil {
		return sandbox.Info{}, err
	}
	if b := d.spare(id); b != nil {
		if err := d.work(ctx, "warm "+spec.Session, warmTakes, progress); err != nil {
			return sandbox.Info{}, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		b.Use, b.State, b.Session = sandbox.Serving, sandbox.Running, spec.Session
		return *b, nil
	}
	if err := d.work(ctx, "cold "+spec.Session, coldTakes, progress); err != nil {
		return sandbox.Info{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.add(sandbox.Info{Use: sandbox.Serving, State: sandbox.Running, Session: spec.Session, Template: id}), nil
}

func (d *dock) Reset(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	old, _ := d.Get(ctx, spec.Session)
	info, err := d.Create(ctx, spec, progress)
	if err == nil {
		err = d.Discard(ctx, old.ID)
	}
	return info, err
}

func (d *dock) Get(_ context.Context, session string) (sandbox.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.boxes {
		if b.Session == session {
			return *b, nil
		}
	}
	return sandbox.Info{}, sandbox.ErrNotFound
}

func (d *dock) List(context.Context) ([]sandbox.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []sandbox.Info
	for _, b := range d.boxes {
		all = append(all, *b)
	}
	return all, d.down
}

func (d *dock) Destroy(ctx context.Context, session string) error {
	if b, err := d.Get(ctx, session); err == nil {
		return d.Discard(ctx, b.ID)
	}
	return nil
}

func (d *dock) Keep(_ context.Context, session string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.boxes {
		if b.Session == session {
			b.Use, b.State = sandbox.Kept, sandbox.Frozen
			return d.down
		}
	}
	return sandbox.ErrNotFound
}

func (d *dock) Thaw(_ context.Context, session string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.boxes {
		if b.Session == session {
			b.State = sandbox.Running
		}
	}
	return d.down
}

func (d *dock) Discard(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.boxes, id)
	return d.down
}

// Sweep removes what is on its way out.
func (d *dock) Sweep(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.swept++
	maps.DeleteFunc(d.boxes, func(_ string, b *sandbox.Info) bool { return b.Use == sandbox.Leaving })
	return d.down
}

func (d *dock) Close(context.Context) error { return nil }

func (d *dock) Exec(context.Context, string, sandbox.Command) (sandbox.Result, error) {
	return sandbox.Result{Stdout: []byte(d.kind)}, nil
}

func (d *dock) Usage(_ context.Context, ids ...string) (map[string]sandbox.Usage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]sandbox.Usage{}
	for _, id := range ids {
		if m := d.memory[id]; m > 0 {
			all[id] = sandbox.Usage{Memory: m}
		}
	}
	return all, nil
}

// did is what was made, in order.
func (d *dock) did() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

func (d *dock) uses(use sandbox.Use) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, b := range d.boxes {
		if b.Use == use {
			n++
		}
	}
	return n
}

// inBubble runs a test in time that passes only when everybody waits.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

func newFleet(t *testing.T, cfg Config) *Fleet {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run has the fleet work until the test ends.
func run(t *testing.T, f *Fleet) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func spec(session, template string) sandbox.Spec {
	return sandbox.Spec{Session: session, Kind: sandbox.Cluster, Template: template}
}

// began is a start that goes through admission and creation.
type began struct {
	mu     sync.Mutex
	places []int
	info   sandbox.Info
	err    error
	at     time.Time // when it was over
	done   chan struct{}
}

func begin(ctx context.Context, f *Fleet, owner string, s sandbox.Spec) *began {
	b := &began{done: make(chan struct{})}
	go func() {
		defer close(b.done)
		release, err := f.Admit(ctx, Request{Session: s.Session, Owner: owner, Spec: s}, func(w Waiting) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.places = append(b.places, w.Place)
		})
		if err == nil {
			b.info, err = f.Create(ctx, s, nil)
			release()
		}
		b.err, b.at = err, time.Now()
	}()
	return b
}

// must waits for a start and wants it to succeed.
func (b *began) must(t *testing.T) sandbox.Info {
	t.Helper()
	<-b.done
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.info
}
