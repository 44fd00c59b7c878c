package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drydock/sandbox"
)

const mib = 1 << 20

func TestSendsEachToTheProviderOfItsKind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		clusters, machines := newDock(sandbox.Cluster), newDock(sandbox.Machine)
		f := newFleet(t, Config{Providers: []sandbox.Provider{clusters, machines}})
		if _, err := f.Create(t.Context(), sandbox.Spec{Session: "aaaa", Kind: sandbox.Cluster}, nil); err != nil {
			t.Fatal(err)
		}
		prepared := ""
		info, err := f.Create(t.Context(), sandbox.Spec{Session: "bbbb", Kind: sandbox.Machine}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"bbbb", info.ID} {
			result, err := f.Exec(t.Context(), id, sandbox.Command{})
			if err != nil || string(result.Stdout) != "machine" {
				t.Errorf("a command in %s ran on %q, %v", id, result.Stdout, err)
			}
		}
		// A fleet that has not seen it made, as after a restart, finds it too.
		again := newFleet(t, Config{Providers: []sandbox.Provider{clusters, machines}})
		if result, err := again.Exec(t.Context(), "bbbb", sandbox.Command{}); err != nil || string(result.Stdout) != "machine" {
			t.Errorf("after a restart a command ran on %q, %v", result.Stdout, err)
		}
		if _, err := again.Exec(t.Context(), "nono", sandbox.Command{}); !errors.Is(err, sandbox.ErrNotFound) {
			t.Errorf("of an unknown session: %v", err)
		}
		// What is being prepared is in no list yet.
		made := machines.asPrepares(&prepared)
		f2 := newFleet(t, Config{Providers: []sandbox.Provider{clusters, made}})
		_, err = f2.Create(t.Context(), sandbox.Spec{Session: "cccc", Kind: sandbox.Machine, Prepare: func(ctx context.Context, id string, _ sandbox.Progress) error {
			result, err := f2.Exec(ctx, id, sandbox.Command{})
			prepared = string(result.Stdout)
			return err
		}}, nil)
		if err != nil || prepared != "machine" {
			t.Errorf("its preparation ran on %q, %v", prepared, err)
		}
		if _, err := f.Create(t.Context(), sandbox.Spec{Session: "dddd", Kind: "balloon"}, nil); !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "balloon") {
			t.Errorf("of an unknown kind: %v", err)
		}
	})
}

// preparing calls Prepare with an id that no list has.
type preparing struct{ *dock }

func (d *dock) asPrepares(*string) sandbox.Provider { return preparing{d} }

func (p preparing) Create(ctx context.Context, spec sandbox.Spec, progress sandbox.Progress) (sandbox.Info, error) {
	if err := spec.Prepare(ctx, "unlisted", progress); err != nil {
		return sandbox.Info{}, err
	}
	return p.dock.Create(ctx, spec, progress)
}

func TestOneKindDownLeavesTheOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		clusters, machines := newDock(sandbox.Cluster), newDock(sandbox.Machine)
		f := newFleet(t, Config{Providers: []sandbox.Provider{clusters, machines}})
		if _, err := f.Create(t.Context(), sandbox.Spec{Session: "aaaa", Kind: sandbox.Machine}, nil); err != nil {
			t.Fatal(err)
		}
		clusters.down = fmt.Errorf("list: %w", sandbox.ErrEngine)
		infos, err := f.List(t.Context())
		var partial *PartialError
		if !errors.As(err, &partial) || partial.Kinds[sandbox.Cluster] == nil || partial.Kinds[sandbox.Machine] != nil || !errors.Is(err, sandbox.ErrEngine) {
			t.Errorf("the error is %v", err)
		}
		if len(infos) != 1 || infos[0].Session != "aaaa" {
			t.Errorf("listed %v", infos)
		}
		if s := f.Status(t.Context()); s.Engine == nil || len(s.Sandboxes) != 1 {
			t.Errorf("status: engine %v, sandboxes %v", s.Engine, s.Sandboxes)
		}
	})
}

// What is known costs the engine nothing, and is no older than the last look.
func TestKnownAsksNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1})
		if s := f.Known(); s.Engine == nil {
			t.Error("an engine that was never asked is said to answer")
		}
		run(t, f)
		info := begin(t.Context(), f, "a", spec("aaaa", "")).must(t)
		d.mu.Lock()
		d.memory[info.ID] = 300 * mib
		d.mu.Unlock()
		time.Sleep(measureEvery * lookEvery)
		s := f.Known()
		if s.Engine != nil || len(s.Sandboxes) != 1 || s.Sandboxes[0].Usage.Memory != 300*mib {
			t.Errorf("known: engine %v, sandboxes %+v", s.Engine, s.Sandboxes)
		}
		d.mu.Lock()
		d.down = fmt.Errorf("list: %w", sandbox.ErrEngine)
		d.mu.Unlock()
		if s := f.Known(); s.Engine != nil {
			t.Errorf("it asked: %v", s.Engine)
		}
		time.Sleep(2 * lookEvery)
		if s := f.Known(); !errors.Is(s.Engine, sandbox.ErrEngine) || len(s.Sandboxes) != 1 {
			t.Errorf("known of a dead engine: %v, sandboxes %+v", s.Engine, s.Sandboxes)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		d.mu.Lock()
		d.down = nil
		d.mu.Unlock()
		time.Sleep(lookEvery)
		d.mu.Lock()
		d.down = context.Canceled
		d.mu.Unlock()
		if _, err := f.List(gone); err == nil {
			t.Fatal("the list did not fail")
		}
		if s := f.Known(); s.Engine != nil {
			t.Errorf("who goes away makes the engine silent: %v", s.Engine)
		}
	})
}

func TestPruneGoesOnWithoutAKindThatIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		clusters, machines := newDock(sandbox.Cluster), newDock(sandbox.Machine)
		f := newFleet(t, Config{Providers: []sandbox.Provider{clusters, machines}})
		for _, kind := range []sandbox.Kind{sandbox.Cluster, sandbox.Machine} {
			if _, err := f.Spare(t.Context(), sandbox.Spec{Kind: kind, Template: string(kind)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		clusters.down = fmt.Errorf("list: %w", sandbox.ErrEngine)
		report, err := f.Prune(t.Context())
		if silent, some := Partly(err); !some || silent.Kinds[sandbox.Cluster] == nil {
			t.Errorf("the error is %v", err)
		}
		if len(report.Spares) != 1 || len(report.Templates) != 1 || machines.uses(sandbox.Spare) != 0 || clusters.uses(sandbox.Spare) != 1 {
			t.Errorf("pruned %+v; %d clusters are left", report, clusters.uses(sandbox.Spare))
		}
		machines.down = clusters.down
		if _, err := f.Prune(t.Context()); err == nil {
			t.Error("it prunes where nothing answers")
		} else if _, some := Partly(err); some {
			t.Errorf("where nothing answers: %v", err)
		}
	})
}

// Where there is no engine, machines have their pool all the same.
func TestOneKindDownLeavesThePoolOfTheOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		clusters, machines := newDock(sandbox.Cluster), newDock(sandbox.Machine)
		cluster, machine := spec("", "cluster"), sandbox.Spec{Kind: sandbox.Machine, Template: "machine"}
		f := newFleet(t, Config{Providers: []sandbox.Provider{clusters, machines}, Spares: 4, Specs: func() []sandbox.Spec {
			return []sandbox.Spec{spec("", "cluster"), {Kind: sandbox.Machine, Template: "machine"}}
		}})
		run(t, f)
		cluster.Session, machine.Session = "aaaa", "bbbb"
		begin(t.Context(), f, "a", cluster).must(t)
		begin(t.Context(), f, "b", machine).must(t)
		time.Sleep(time.Minute)
		clusters.mu.Lock()
		clusters.down = fmt.Errorf("list: %w", sandbox.ErrEngine)
		clusters.mu.Unlock()
		time.Sleep(time.Minute)
		machine.Session = "cccc"
		begin(t.Context(), f, "c", machine).must(t)
		time.Sleep(time.Minute)
		if want := []string{"template machine", "cold bbbb", "spare machine", "warm cccc", "spare machine"}; !slices.Equal(machines.did(), want) {
			t.Errorf("made %v, want %v", machines.did(), want)
		}
		if n := clusters.uses(sandbox.Spare); n != 1 {
			t.Errorf("%d spares are left of the kind that is silent", n)
		}
	})
}

func TestStartsTakeTurnsByOwner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1})
		var all []*began
		for i := range 4 {
			all = append(all, begin(t.Context(), f, "greedy", spec(fmt.Sprintf("greedy%d", i), "")))
			synctest.Wait()
		}
		modest := begin(t.Context(), f, "modest", spec("modest0", ""))
		synctest.Wait()
		late := begin(t.Context(), f, "late", spec("late0", ""))
		for _, b := range append(all, modest, late) {
			b.must(t)
		}
		want := []string{"cold greedy0", "cold modest0", "cold late0", "cold greedy1", "cold greedy2", "cold greedy3"}
		if !slices.Equal(d.did(), want) {
			t.Errorf("went in the order %v, want %v", d.did(), want)
		}
		if d.top != 1 {
			t.Errorf("%d were made at once", d.top)
		}
		if !slices.Equal(all[3].places, []int{3, 4, 5, 4, 3, 2, 1}) {
			t.Errorf("the last was told the places %v", all[3].places)
		}
	})
}

func TestEstimatesComeFromMeasuredStarts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		history := &kept{}
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1, History: history})
		begin(t.Context(), f, "a", spec("aaaa", "")).must(t)
		begin(t.Context(), f, "a", spec("aaab", ""))
		begin(t.Context(), f, "b", spec("bbbb", ""))
		begin(t.Context(), f, "c", spec("cccc", ""))
		synctest.Wait()
		time.Sleep(2 * time.Second)
		queue := f.Status(t.Context()).Queue
		if len(queue) != 2 || queue[0].Estimate != coldTakes-2*time.Second || queue[1].Estimate != 2*coldTakes-2*time.Second {
			t.Errorf("the queue is %+v", queue)
		}
		time.Sleep(time.Minute)
		if err := f.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The next run of the server knows it from the start.
		next := newFleet(t, Config{Providers: []sandbox.Provider{newDock(sandbox.Cluster)}, Starts: 1, History: history})
		run(t, next)
		synctest.Wait()
		begin(t.Context(), next, "a", spec("dddd", ""))
		begin(t.Context(), next, "a", spec("eeee", ""))
		synctest.Wait()
		s := next.Status(t.Context())
		if len(s.Queue) != 1 || s.Queue[0].Estimate != coldTakes {
			t.Errorf("after a restart the queue is %+v", s.Queue)
		}
		if len(s.Starts) != 1 || s.Starts[0].Count != 4 || s.Starts[0].P50 != coldTakes || s.Starts[0].How != FromScratch {
			t.Errorf("after a restart the measured starts are %+v", s.Starts)
		}
		time.Sleep(time.Minute)
	})
}

// kept is a History in memory.
type kept struct {
	mu  sync.Mutex
	all []Measurement
}

func (k *kept) AddMeasurement(_ context.Context, m Measurement) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, m)
	return nil
}

func (k *kept) Measurements(context.Context, time.Time) ([]Measurement, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.all), nil
}

func TestMemoryBoundsSessionsAndResetsGoFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 2, Memory: 2 * clusterMemory})
		run(t, f)
		first := begin(t.Context(), f, "a", spec("aaaa", "")).must(t)
		begin(t.Context(), f, "b", spec("bbbb", "")).must(t)
		third := begin(t.Context(), f, "c", spec("cccc", ""))
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		if !slices.Equal(third.places, []int{1}) { // and nothing more, as nothing more is known
			t.Errorf("the third was told %v", third.places)
		}
		// A reset of what runs does not wait behind it.
		release, err := f.Admit(t.Context(), Request{Session: "aaaa", Owner: "a", Spec: spec("aaaa", ""), Reset: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := f.Reset(t.Context(), spec("aaaa", ""), nil)
		release()
		if err != nil || fresh.ID == first.ID {
			t.Fatalf("reset: %+v, %v", fresh, err)
		}
		synctest.Wait()
		select {
		case <-third.done:
			t.Fatal("the third was let in without room")
		default:
		}
		if err := f.Destroy(t.Context(), "bbbb"); err != nil {
			t.Fatal(err)
		}
		third.must(t)
		if too := begin(t.Context(), newFleet(t, Config{Providers: []sandbox.Provider{d}, Memory: 100 * mib}), "a", spec("dddd", "")); errors.Is(func() error { <-too.done; return too.err }(), ErrTooLarge) == false {
			t.Errorf("what never fits: %v", too.err)
		}
	})
}

// TestWhatIsKeptMakesWay: it takes no more than its share, and what a session
// needs it gives, the oldest first and none that somebody looks into.
func TestWhatIsKeptMakesWay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Memory: 6 * clusterMemory, Starts: 6, Templates: TemplatesNone})
		run(t, f)
		for _, session := range []string{"kept1", "kept2", "kept3", "kept4"} {
			begin(t.Context(), f, "a", spec(session, "")).must(t)
			if err := f.Keep(t.Context(), session); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // of the bubble's time
		}
		gone := func(session string) bool {
			_, err := d.Get(t.Context(), session)
			return errors.Is(err, sandbox.ErrNotFound)
		}
		time.Sleep(2 * lookEvery)
		if !gone("kept1") || d.uses(sandbox.Kept) != 3 {
			t.Errorf("%d are kept in half of a memory for six", d.uses(sandbox.Kept))
		}
		if m := f.Known().Memory; m.Reserved != 0 {
			t.Errorf("for what is kept %d bytes are promised", m.Reserved)
		}
		if err := f.Thaw(t.Context(), "kept2"); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			begin(t.Context(), f, "b", spec(fmt.Sprintf("live%d", i), "")).must(t)
		}
		time.Sleep(lookEvery)
		if gone("kept2") || !gone("kept3") || gone("kept4") {
			t.Errorf("four sessions and two that are kept fit: gone are 2: %v, 3: %v, 4: %v", gone("kept2"), gone("kept3"), gone("kept4"))
		}
		if err := f.Keep(t.Context(), "live0"); err != nil { // a session that ends frees its memory
			t.Fatal(err)
		}
		begin(t.Context(), f, "b", spec("live4", "")).must(t)
		begin(t.Context(), f, "b", spec("live5", "")).must(t)
		time.Sleep(lookEvery)
		if gone("kept2") || !gone("kept4") || d.uses(sandbox.Serving) != 5 {
			t.Errorf("five sessions run beside %d kept ones", d.uses(sandbox.Kept))
		}
	})
}

func TestSessionsThatOutlastTheOthersArePromisedNoEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFleet(t, Config{Providers: []sandbox.Provider{newDock(sandbox.Cluster)}, Memory: clusterMemory})
		run(t, f)
		begin(t.Context(), f, "a", spec("aaaa", "")).must(t)
		time.Sleep(5 * time.Minute)
		if err := f.Destroy(t.Context(), "aaaa"); err != nil {
			t.Fatal(err)
		}
		begin(t.Context(), f, "b", spec("bbbb", "")).must(t)
		since := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		third := begin(ctx, f, "c", spec("cccc", ""))
		for _, c := range [][2]time.Duration{{2 * time.Minute, 3 * time.Minute}, {25 * time.Minute, 20 * time.Minute}} {
			passed, want := c[0], c[1]
			synctest.Wait()
			time.Sleep(time.Until(since.Add(passed)))
			queue := f.Status(t.Context()).Queue
			if len(queue) != 1 || (queue[0].Estimate-want).Abs() > time.Second {
				t.Errorf("after %v there wait %+v, want an estimate of %v", passed, queue, want)
			}
		}
		cancel()
		<-third.done
	})
}

func TestMeasuredMemoryCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 4, Memory: 1000 * mib, Templates: TemplatesNone})
		run(t, f)
		a := begin(t.Context(), f, "a", spec("aaaa", "small")).must(t)
		d.mu.Lock()
		d.memory[a.ID] = 200 * mib
		d.mu.Unlock()
		time.Sleep(time.Minute)
		if err := f.Destroy(t.Context(), "aaaa"); err != nil {
			t.Fatal(err)
		}
		// 220 MiB each, the headroom counted: four fit where the default says one.
		for i := range 4 {
			begin(t.Context(), f, "a", spec(fmt.Sprintf("more%d", i), "small")).must(t)
		}
		fifth := begin(t.Context(), f, "a", spec("more4", "small"))
		time.Sleep(time.Minute)
		if s := f.Status(t.Context()); len(s.Queue) != 1 || s.Memory.Reserved != 4*220*mib {
			t.Errorf("queue %v, memory %+v", s.Queue, s.Memory)
		}
		if err := f.Destroy(t.Context(), "more0"); err != nil {
			t.Fatal(err)
		}
		fifth.must(t)
	})
}

func TestKeepsASpareOfWhatIsUsed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		specs := []sandbox.Spec{spec("", "used"), spec("", "unused")}
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1, Spares: 4, Specs: func() []sandbox.Spec { return specs }})
		run(t, f)
		first := begin(t.Context(), f, "a", spec("aaaa", "used"))
		first.must(t)
		time.Sleep(time.Minute)
		second := begin(t.Context(), f, "b", spec("bbbb", "used"))
		for range 10 {
			time.Sleep(warmTakes / 8)
			if _, err := f.List(t.Context()); err != nil {
				t.Error(err)
			}
		}
		second.must(t)
		time.Sleep(time.Minute)
		want := []string{"template used", "cold aaaa", "spare used", "warm bbbb", "spare used"}
		if !slices.Equal(d.did(), want) {
			t.Errorf("made %v, want %v", d.did(), want)
		}
		s := f.Status(t.Context())
		if len(s.Templates) != 1 || s.Templates[0].Spares != 1 || s.Templates[0].Wanted != 1 || s.Templates[0].Making {
			t.Errorf("templates %+v", s.Templates)
		}
		// However often it is listed while it is taken.
		hows := map[string]int{}
		for _, m := range s.Starts {
			hows[m.How] = m.Count
		}
		if hows[Warm] != 1 || hows[Cold] != 1 || hows[TemplateMade] != 1 {
			t.Errorf("measured %+v", s.Starts)
		}
		// A day later nobody wants it any more.
		time.Sleep(25 * time.Hour)
		if n := d.uses(sandbox.Spare); n != 0 {
			t.Errorf("%d spares are left", n)
		}
	})
}

// A machine is made from its image and has nothing to keep; its spares are worth as much.
func TestSparesOfAKindWithoutTemplates(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Machine)
		d.unkept = true
		lab := sandbox.Spec{Kind: sandbox.Machine, Template: "lab"}
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1, Spares: 4, Specs: func() []sandbox.Spec { return []sandbox.Spec{lab} }})
		run(t, f)
		for _, session := range []string{"aaaa", "bbbb"} {
			lab := lab
			lab.Session = session
			begin(t.Context(), f, "a", lab).must(t)
			time.Sleep(10 * time.Minute)
		}
		if want := []string{"cold aaaa", "spare lab", "warm bbbb", "spare lab"}; !slices.Equal(d.did(), want) {
			t.Errorf("made %v, want %v", d.did(), want)
		}
		s := f.Status(t.Context())
		if len(s.Starts) != 2 || len(s.Templates) != 0 {
			t.Errorf("starts %+v, templates %+v", s.Starts, s.Templates)
		}
		if want := []SpareStatus{{Template: "lab", Ready: 1, Wanted: 1}}; !slices.Equal(s.Spares, want) {
			t.Errorf("spares %+v, want %+v", s.Spares, want)
		}
		for _, b := range s.Sandboxes {
			if b.TemplateName != "lab" {
				t.Errorf("the sandbox %s is for %q", b.ID, b.TemplateName)
			}
		}
	})
}

func TestAStartTakesTheSpareThatIsBeingMade(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		specs := []sandbox.Spec{spec("", "used")}
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1, Spares: 4, Specs: func() []sandbox.Spec { return specs }})
		run(t, f)
		begin(t.Context(), f, "a", spec("aaaa", "used")).must(t)
		time.Sleep(coldTakes - time.Second) // of its making
		asked := time.Now()
		second := begin(t.Context(), f, "b", spec("bbbb", "used"))
		second.must(t)
		if took := second.at.Sub(asked); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if want := []string{"template used", "cold aaaa", "spare used", "warm bbbb"}; !slices.Equal(d.did()[:4], want) {
			t.Errorf("made %v, want %v", d.did(), want)
		}
	})
}

func TestTheExpectedIsMadeBeforeAndSessionsComeFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 2, Spares: 10, Memory: 4 * clusterMemory})
		run(t, f)
		f.Expect([]Demand{{Spec: spec("", "class"), Count: 6, At: time.Now().Add(2 * time.Hour)}})
		time.Sleep(time.Hour)
		if got := d.did(); len(got) != 0 {
			t.Errorf("too early: %v", got)
		}
		time.Sleep(50 * time.Minute)
		if n := d.uses(sandbox.Spare); n != 3 {
			t.Errorf("%d spares for six learners of whom half begin at once", n)
		}
		// Other labs' sessions get the memory that the spares have.
		for i := range 3 {
			begin(t.Context(), f, "a", spec(fmt.Sprintf("aaa%d", i), "")).must(t)
		}
		time.Sleep(time.Minute)
		if spares, serving := d.uses(sandbox.Spare), d.uses(sandbox.Serving); spares != 1 || serving != 3 {
			t.Errorf("%d spares and %d sessions in the memory of four", spares, serving)
		}
	})
}

func TestAllTemplatesAtBootOneAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		specs := []sandbox.Spec{spec("", "a"), spec("", "b"), spec("", "c")}
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Spares: 4, Templates: TemplatesAll, Specs: func() []sandbox.Spec { return specs }})
		run(t, f)
		time.Sleep(templateTakes / 2)
		s := f.Status(t.Context())
		if len(s.Templates) != 1 || !s.Templates[0].Making || s.Templates[0].Stage != "Work" || s.Templates[0].Name != "a" {
			t.Errorf("while the first is made: %+v", s.Templates)
		}
		// A start in between holds up those that nobody waits for.
		begun := begin(t.Context(), f, "a", spec("aaaa", "c"))
		begun.must(t)
		time.Sleep(10 * time.Minute)
		if want := []string{"template a", "template c", "cold aaaa", "spare c", "template b"}; !slices.Equal(d.did(), want) {
			t.Errorf("made %v, want %v", d.did(), want)
		}
	})
}

func TestOneTemplateForAllWhoWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 3})
		hasty, leave := context.WithCancel(t.Context())
		one := begin(hasty, f, "a", spec("aaaa", "lab"))
		synctest.Wait()
		two, three := begin(t.Context(), f, "b", spec("bbbb", "lab")), begin(t.Context(), f, "c", spec("cccc", "lab"))
		synctest.Wait()
		time.Sleep(time.Second)
		leave() // the others go on without the one who began it
		<-one.done
		two.must(t)
		three.must(t)
		made := 0
		for _, what := range d.did() {
			if what == "template lab" {
				made++
			}
		}
		if made != 2 || one.err == nil {
			t.Errorf("made %v; the first: %v", d.did(), one.err)
		}
	})
}

func TestOldTemplatesArePruned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		specs := []sandbox.Spec{spec("", "lab")}
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Spares: 2, Specs: func() []sandbox.Spec { return specs }})
		run(t, f)
		begin(t.Context(), f, "a", spec("aaaa", "lab")).must(t)
		time.Sleep(time.Minute)
		d.mu.Lock()
		d.version = "v2" // the image is another
		d.mu.Unlock()
		time.Sleep(2 * time.Hour)
		names := func() []string {
			var ids []string
			for _, s := range f.Status(t.Context()).Templates {
				ids = append(ids, fmt.Sprintf("%s used %d", s.ID, s.Used))
			}
			return ids
		}
		if want := []string{"lab@v1 used 1", "lab@v2 used 1"}; !slices.Equal(names(), want) {
			t.Errorf("while a session uses the old one: %v", names())
		}
		if err := f.Destroy(t.Context(), "aaaa"); err != nil {
			t.Fatal(err)
		}
		report, err := f.Prune(t.Context())
		if err != nil || len(report.Templates) != 1 || report.Templates[0].ID != "lab@v1" || report.Freed != mib || len(report.Spares) != 1 {
			t.Errorf("pruned %+v, %v", report, err)
		}
		if want := []string{"lab@v2 used 0"}; !slices.Equal(names(), want) {
			t.Errorf("after it: %v", names())
		}
		if time.Sleep(time.Minute); d.uses(sandbox.Spare) != 0 {
			t.Error("it filled up at once what was pruned")
		}
	})
}

func TestSparesOfAnEarlierRunAreTakenUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d, history := newDock(sandbox.Cluster), &kept{}
		cfg := Config{Providers: []sandbox.Provider{d}, Spares: 2, History: history, Specs: func() []sandbox.Spec { return []sandbox.Spec{spec("", "lab")} }}
		ctx, kill := context.WithCancel(t.Context())
		f := newFleet(t, cfg)
		go f.Run(ctx)
		begin(t.Context(), f, "a", spec("aaaa", "lab")).must(t)
		time.Sleep(time.Minute)
		kill()
		next := newFleet(t, cfg)
		run(t, next)
		time.Sleep(time.Minute)
		begin(t.Context(), next, "b", spec("bbbb", "lab")).must(t)
		if want := []string{"template lab", "cold aaaa", "spare lab", "warm bbbb"}; !slices.Equal(d.did()[:4], want) {
			t.Errorf("made %v, want %v", d.did(), want)
		}
		time.Sleep(time.Minute)
	})
}

// What a list shows to be left over goes at once; what none shows is looked for now and then.
func TestSweepsWhatAListShows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}})
		run(t, f)
		swept := func() int {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.swept
		}
		next := time.Now()
		for i, until := range []time.Duration{sweepSoon, sweepEvery, sweepEvery} { // after the one at boot
			next = next.Add(until)
			time.Sleep(time.Until(next) - 2*lookEvery)
			if n := swept(); n != i+1 {
				t.Errorf("%v before its time it swept %d times, want %d", 2*lookEvery, n, i+1)
			}
			time.Sleep(4 * lookEvery)
			if n := swept(); n != i+2 {
				t.Errorf("%v after its time it swept %d times, want %d", 2*lookEvery, n, i+2)
			}
		}
		d.mu.Lock()
		d.add(sandbox.Info{Use: sandbox.Leaving, State: sandbox.Running})
		d.mu.Unlock()
		time.Sleep(2 * lookEvery)
		if n := d.uses(sandbox.Leaving); n != 0 || swept() != 5 {
			t.Errorf("%d are left over after %d sweeps", n, swept())
		}
	})
}

func TestDrainRefusesAndEmptiesThePool(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		specs := []sandbox.Spec{spec("", "lab")}
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1, Spares: 2, Specs: func() []sandbox.Spec { return specs }})
		run(t, f)
		begin(t.Context(), f, "a", spec("aaaa", "lab")).must(t)
		time.Sleep(time.Minute)
		running := begin(t.Context(), f, "b", spec("bbbb", ""))
		synctest.Wait()
		waiting := begin(t.Context(), f, "c", spec("cccc", ""))
		synctest.Wait()
		if err := f.Drain(true); err != nil {
			t.Fatal(err)
		}
		if <-waiting.done; !errors.Is(waiting.err, ErrDraining) {
			t.Errorf("who waited: %v", waiting.err)
		}
		running.must(t) // it was let in before
		if err := f.Accepts(spec("dddd", "lab")); !errors.Is(err, ErrDraining) {
			t.Errorf("a new one: %v", err)
		}
		if release, err := f.Admit(t.Context(), Request{Session: "aaaa", Owner: "a", Spec: spec("aaaa", "lab"), Reset: true}, nil); err != nil {
			t.Errorf("a reset: %v", err)
		} else {
			release()
		}
		if time.Sleep(time.Minute); d.uses(sandbox.Spare) != 0 {
			t.Error("spares are kept for nobody")
		}
		if err := f.Drain(false); err != nil {
			t.Fatal(err)
		}
		begin(t.Context(), f, "d", spec("dddd", "lab")).must(t)
	})
}

// Who drains for maintenance finds nobody let in by the restart.
func TestDrainOutlastsARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var kept bool
		full := errors.New("the disk is full")
		var trouble error
		start := func() *Fleet {
			return newFleet(t, Config{Providers: []sandbox.Provider{newDock(sandbox.Cluster)}, Draining: kept, KeepDraining: func(on bool) error {
				if trouble == nil {
					kept = on
				}
				return trouble
			}})
		}
		if err := start().Drain(true); err != nil {
			t.Fatal(err)
		}
		f := start()
		if err := f.Accepts(spec("aaaa", "")); !errors.Is(err, ErrDraining) || !f.Known().Draining {
			t.Errorf("after a restart a start is answered %v", err)
		}
		if err := f.Drain(false); err != nil {
			t.Fatal(err)
		}
		f = start()
		if err := f.Accepts(spec("aaaa", "")); err != nil {
			t.Errorf("after the end of it a start is answered %v", err)
		}
		trouble = full
		if err := f.Drain(true); !errors.Is(err, full) || !errors.Is(f.Accepts(spec("aaaa", "")), ErrDraining) {
			t.Errorf("what can't be kept is answered %v, and starts %v", err, f.Accepts(spec("aaaa", "")))
		}
	})
}

func TestFailuresAreKeptWithTheirLogs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDock(sandbox.Cluster)
		f := newFleet(t, Config{Providers: []sandbox.Provider{d}, Starts: 1, Spares: 1, Specs: func() []sandbox.Spec { return []sandbox.Spec{spec("", "lab")} }})
		run(t, f)
		begin(t.Context(), f, "a", spec("aaaa", "lab")).must(t)
		d.mu.Lock()
		d.failing = errors.New("kind: exit status 1\nkubeadm: no space left on device")
		d.mu.Unlock()
		failed := begin(t.Context(), f, "b", spec("bbbb", ""))
		if <-failed.done; failed.err == nil {
			t.Fatal("it did not fail")
		}
		f.Expect([]Demand{{Spec: spec("", "class"), Count: 4, At: time.Now()}})
		time.Sleep(2 * time.Hour)
		failures := f.Status(t.Context()).Failures
		last := failures[len(failures)-1]
		if len(failures) < 3 || len(failures) > 20 {
			t.Errorf("%d failures: the pool should try again, later and later", len(failures))
		}
		if i := slices.IndexFunc(failures, func(x Failure) bool { return x.Session == "bbbb" }); i < 0 ||
			failures[i].Error != "kind: exit status 1" || failures[i].Log != "kubeadm: no space left on device" || failures[i].Stage != "Work" || failures[i].Doing != "create" {
			t.Errorf("the oldest failure is %+v of %d", last, len(failures))
		}
		// A start that was called off is none.
		ctx, leave := context.WithCancel(t.Context())
		off := begin(ctx, f, "c", spec("cccc", ""))
		synctest.Wait()
		leave()
		<-off.done
		if got := f.Status(t.Context()).Failures; slices.ContainsFunc(got, func(x Failure) bool { return x.Session == "cccc" }) {
			t.Error("what was called off is kept as a failure")
		}
	})
}
