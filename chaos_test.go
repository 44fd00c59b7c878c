package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/moby/moby/client"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/sandbox/dock"
)

const (
	machineLab = "full-disk"
	clusterLab = "init-containers"

	// chaosIdle is after how long a session is frozen: so soon that rounds need not wait for it.
	chaosIdle = 4 * time.Second
	// shortRounds are those of make test: one of them with a cluster.
	shortRounds = 6
	// How long it may take until all is in order again, on a busy machine: a
	// cluster is made from scratch twice at the most.
	settleMachine = 2 * time.Minute
	settleCluster = 12 * time.Minute
)

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestChaos strikes at random points of what learners do, and looks whether all
// is in order again after it: nothing leaked, nothing lost, no session in a
// state that it can't leave. CHAOS_SEED repeats the rounds of an earlier run,
// CHAOS_ROUNDS says how many, CHAOS_FROM with which to begin and CHAOS_CLUSTERS
// that every so many rounds one is with a cluster (0: none).
func TestChaos(t *testing.T) {
	needsEngine(t)
	if os.Geteuid() != 0 {
		t.Fatal("the chaos needs root, to start an engine of its own that it can kill: sudo make chaos")
	}
	seed := uint64(setting(t, "CHAOS_SEED", int(time.Now().UnixNano()%1e6)))
	rounds, from, every := setting(t, "CHAOS_ROUNDS", shortRounds), setting(t, "CHAOS_FROM", 1), setting(t, "CHAOS_CLUSTERS", 5)
	t.Logf("%d rounds; this run again: CHAOS_SEED=%d CHAOS_ROUNDS=%d", rounds, seed, rounds)
	w := newWorld(t)
	learner := w.server.newLearner("lena")
	var table []outcome
	for n := from; n < from+rounds; n++ {
		r := &round{world: w, learner: learner, rng: rand.New(rand.NewPCG(seed, uint64(n))), lab: machineLab, within: settleMachine}
		if every > 0 && n%every == 0 {
			r.lab, r.within = clusterLab, settleCluster
		}
		w.quiet.keepAwake()
		o := r.run()
		t.Logf("round %3d seed %d: %s", n, seed, o)
		table = append(table, o)
	}
	t.Logf("what was struck, and how long it took until all was in order:\n%s", tabulate(table))
	if w.engine.left > 0 {
		t.Logf("the engine itself forgot %d processes of containers", w.engine.left)
	}
	w.quiet.untouched()
	w.tearDown(learner)
}

func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s: it must be a number", name, text)
	}
	return n
}

// outcome is what came of a round.
type outcome struct {
	lab, operation, strike string
	at                     time.Duration // of the strike, after the operation's begin
	found                  string
	took                   time.Duration // from the strike until all was in order
}

func (o outcome) String() string {
	return fmt.Sprintf("%-15s %-8s %-28s after %4.1f s: %s; %.1f s", o.lab, o.operation, o.strike, o.at.Seconds(), o.found, o.took.Seconds())
}

func tabulate(all []outcome) string {
	byStrike := map[string][]time.Duration{}
	var names []string
	for _, o := range all {
		name := o.lab + "\t" + o.strike
		if byStrike[name] == nil {
			names = append(names, name)
		}
		byStrike[name] = append(byStrike[name], o.took)
	}
	slices.Sort(names)
	var text strings.Builder
	out := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "lab\tstrike\trounds\tmedian s\tlongest s")
	for _, name := range names {
		took := byStrike[name]
		slices.Sort(took)
		fmt.Fprintf(out, "%s\t%d\t%.1f\t%.1f\n", name, len(took), took[len(took)/2].Seconds(), took[len(took)-1].Seconds())
	}
	_ = out.Flush() // to memory
	return text.String()
}

// round is one operation of a learner's and one strike.
type round struct {
	*world
	learner *chaosLearner
	rng     *rand.Rand
	lab     string
	within  time.Duration
	session string
}

// upTo is a random time.
func (r *round) upTo(d time.Duration) time.Duration { return time.Duration(r.rng.Int64N(int64(d))) }

func (r *round) cluster() bool { return r.lab == clusterLab }

// operation is something that a learner or an operator does.
type operation struct {
	name string
	// before has the session as the operation wants it.
	before func(*round)
	do     func(*round) error
	// machine and cluster are how long it takes: the strike comes within that time.
	machine, cluster time.Duration
	ends             bool // the session
}

// operations are what a learner and the server do with a sandbox.
func operations() []operation {
	return []operation{
		{name: "start", before: (*round).none, do: (*round).start, machine: 2500 * time.Millisecond, cluster: 12 * time.Second},
		{name: "reset", before: (*round).awake, do: func(r *round) error { return r.press("reset") }, machine: 2500 * time.Millisecond, cluster: 8 * time.Second},
		{name: "answer", before: (*round).awake, do: (*round).answer, machine: 300 * time.Millisecond, cluster: 300 * time.Millisecond},
		{name: "freeze", before: (*round).awake, do: func(*round) error { return nil }, machine: 7 * time.Second, cluster: 7 * time.Second},
		{name: "thaw", before: (*round).asleep, do: func(r *round) error { return r.press("wake") }, machine: 600 * time.Millisecond, cluster: 800 * time.Millisecond},
		{name: "end", before: (*round).some, do: (*round).end, machine: time.Second, cluster: 4 * time.Second, ends: true},
		{name: "destroy", before: (*round).some, do: (*round).destroy, machine: time.Second, cluster: 4 * time.Second, ends: true},
	}
}

// run does one round and returns what came of it.
func (r *round) run() outcome {
	r.t.Helper()
	all := operations()
	op := all[r.rng.IntN(len(all))]
	strikes := slices.DeleteFunc(strikes(), func(s strike) bool { return r.cluster() && s.machine || !r.cluster() && s.cluster })
	hit := strikes[r.rng.IntN(len(strikes))]
	span := op.machine
	if r.cluster() {
		span = op.cluster
	}
	o := outcome{lab: r.lab, operation: op.name, strike: hit.name, at: r.upTo(span)}
	r.t.Logf("next: %s, %s, %s after %.1f s", r.lab, op.name, hit.name, o.at.Seconds())
	op.before(r)
	before := r.record()
	done := make(chan error, 1)
	go func() { done <- op.do(r) }()
	time.Sleep(o.at) // the point of the strike is random; nothing is waited for
	began := time.Now()
	what := hit.do(r)
	said := <-done
	if !r.server.running() {
		r.server.start()
	}
	r.settle(r.within)
	if hit.damages { // the way out is a reset
		r.again("reset")
		r.settle(r.within)
	}
	o.took = time.Since(began)
	o.found = r.describe(before, what, said)
	if now := r.record(); before != nil && now.Phase.Over() && !op.ends && !hit.loses {
		r.t.Fatalf("%s\nthe session ended (%s %s), and need not have", o, now.EndedWhy, now.Reason)
	}
	if strings.Contains(o.found, "failed") {
		r.t.Logf("the server's log:\n%s", r.server.log.tail(6))
	}
	r.leave()
	return o
}

// record is the round's session as it stands; nil before there is one.
func (r *round) record() *record {
	r.t.Helper()
	all, err := r.server.records(r.set)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.session == "" { // the latest
		for _, one := range all {
			if one.Attempt.Lab == r.lab && !one.Phase.Over() {
				return &one
			}
		}
		return nil
	}
	i := slices.IndexFunc(all, func(one record) bool { return one.ID == r.session })
	if i < 0 {
		r.t.Fatalf("session %s is not in the store", r.session)
	}
	return &all[i]
}

func (r *round) describe(before *record, what string, said error) string {
	words := []string{}
	if what != "" {
		words = append(words, what)
	}
	if said != nil {
		words = append(words, "refused ("+said.Error()+")")
	}
	now := r.record()
	switch {
	case now == nil:
		words = append(words, "no session")
	case now.Phase == labs.PhaseEnded:
		words = append(words, "ended by "+now.EndedWhy)
	case now.Phase == labs.PhaseFailed:
		words = append(words, "failed: "+now.Reason)
	case now.Asleep:
		words = append(words, "asleep")
	default:
		words = append(words, "running")
	}
	if now != nil && before != nil && now.Resets > before.Resets {
		words = append(words, "reset")
	}
	return strings.Join(words, ", ")
}

// none ends the session, if there is one.
func (r *round) none() {
	r.session = ""
	if now := r.record(); now != nil {
		r.session = now.ID
		r.again("end")
		r.settle(r.within)
		r.session = ""
	}
}

// some has a session that runs.
func (r *round) some() {
	r.t.Helper()
	if now := r.record(); now != nil {
		r.session = now.ID
		return
	}
	if err := r.start(); err != nil {
		r.t.Fatalf("a lab can't be started any more: %v", err)
	}
	r.settle(r.within)
	if now := r.record(); now.Phase != labs.PhaseRunning {
		r.t.Fatalf("a lab can't be started any more: %s %s", now.Phase, now.Reason)
	}
}

// awake has a session in which somebody works.
func (r *round) awake() {
	r.some()
	r.again("wake")
	r.until("awake", func(now *record) bool { return !now.Asleep })
}

// asleep has a session that sleeps.
func (r *round) asleep() {
	r.some()
	r.until("asleep", func(now *record) bool { return now.Asleep })
}

func (r *round) until(what string, ok func(*record) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(r.within); !ok(r.record()); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("the session is not %s within %s", what, r.within)
		}
	}
}

func (r *round) start() error {
	id, err := r.learner.startLab(r.lab)
	if err != nil {
		return err
	}
	r.session = id
	r.owed = append(r.owed, promise{session: id})
	return nil
}

func (r *round) press(button string) error {
	_, err := r.learner.post("/sessions/"+r.session+"/"+button, nil)
	return err
}

// again presses a button until the server takes it.
func (r *round) again(button string) {
	r.t.Helper()
	var err error
	for deadline := time.Now().Add(r.within); ; time.Sleep(200 * time.Millisecond) {
		if err = r.press(button); err == nil || r.record().Phase.Over() {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %v", button, err)
		}
	}
}

// answer gives an answer that is found again.
func (r *round) answer() error {
	lab, _ := r.set.Get(r.lab)
	i := slices.IndexFunc(lab.Tasks, func(t labs.Task) bool { return t.Ask != nil })
	text := fmt.Sprintf("answer %d", r.rng.Uint64())
	_, err := r.learner.post("/sessions/"+r.session+"/answer", url.Values{"task": {lab.Tasks[i].ID}, "answer": {text}})
	if err == nil {
		r.owed = append(r.owed, promise{session: r.session, answer: text})
	}
	return err
}

func (r *round) end() error {
	err := r.press("end")
	if err == nil {
		r.owed = append(r.owed, promise{session: r.session, ended: true})
	}
	return err
}

// destroy removes the sandbox behind the server's back, as an operator may.
func (r *round) destroy() error {
	out, err := r.server.drydock("sandbox", "remove", r.session)
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(out))
	}
	return nil
}

// leave shows, in some rounds, that the session's state can be left.
func (r *round) leave() {
	now := r.record()
	if now == nil || now.Phase.Over() {
		return
	}
	r.session = now.ID
	switch r.rng.IntN(4) {
	case 0:
		r.again("reset")
		r.settle(r.within)
		if after := r.record(); after.Phase != labs.PhaseRunning || after.Resets <= now.Resets {
			r.t.Fatalf("after a reset the session is %s (%s), reset %d times after %d", after.Phase, after.Reason, after.Resets, now.Resets)
		}
	case 1:
		r.again("end")
		r.settle(r.within)
	}
}

// strike is something that goes wrong. It ends with what it struck being given back.
type strike struct {
	name             string
	do               func(*round) (what string)
	machine, cluster bool // with that kind only
	loses            bool // sandboxes, by its nature
	damages          bool // what is in the sandbox, so that a reset is needed
}

// strikes are all there are. Pausing by hand is left out unless CHAOS_PAUSE is
// set: Docker 20.10 locks itself up over a container that is paused at the
// moment in which it starts a process in it, and does not let go of it again.
func strikes() []strike {
	all := []strike{
		{name: "kill the server", do: (*round).killServer},
		{name: "kill the server", do: (*round).killServer},
		{name: "engine away", do: func(r *round) string { return r.engineAway(false) }},
		{name: "engine away, kill the server", do: func(r *round) string { return r.engineAway(true) }},
		{name: "kill the engine", do: func(r *round) string { return r.killEngine(false) }},
		{name: "kill the engine, kill the server", do: func(r *round) string { return r.killEngine(true) }},
		{name: "kill the machine", machine: true, do: func(r *round) string { return r.strike("machine", "kill") }},
		{name: "pause the machine", machine: true, do: func(r *round) string { return r.strike("machine", "pause") }},
		{name: "remove the machine", machine: true, loses: true, do: func(r *round) string { return r.strike("machine", "rm", "-f") }},
		{name: "kill the node", cluster: true, do: func(r *round) string { return r.strike("node", "kill") }},
		{name: "kill kubelet", cluster: true, do: (*round).killKubelet},
		{name: "pause the node", cluster: true, do: func(r *round) string { return r.strike("node", "pause") }},
		{name: "remove the node", cluster: true, loses: true, do: func(r *round) string { return r.strike("node", "rm", "-f") }},
		{name: "kill the terminal", cluster: true, do: func(r *round) string { return r.strike("terminal", "kill") }},
		{name: "remove the terminal", cluster: true, loses: true, do: func(r *round) string { return r.strike("terminal", "rm", "-f") }},
		{name: "fill the sandbox", damages: true, do: (*round).fillSandbox},
		{name: "fill the data directory", do: func(r *round) string { return r.fillData(false) }},
		{name: "fill the data directory, kill the server", do: func(r *round) string { return r.fillData(true) }},
	}
	if os.Getenv("CHAOS_PAUSE") != "" {
		return all
	}
	return slices.DeleteFunc(all, func(s strike) bool { return strings.HasPrefix(s.name, "pause") })
}

func (r *round) killServer() string {
	r.server.kill()
	time.Sleep(r.upTo(time.Second)) // for as long nobody is there
	return ""
}

func (r *round) engineAway(server bool) string {
	r.proxy.down()
	time.Sleep(r.upTo(3 * time.Second))
	if server {
		r.server.kill()
		r.server.start() // it comes up without an engine
	}
	time.Sleep(r.upTo(3 * time.Second))
	r.proxy.up()
	return ""
}

func (r *round) killEngine(server bool) string {
	hard := r.rng.IntN(2) == 0
	r.engine.kill(hard)
	time.Sleep(r.upTo(2 * time.Second))
	if server {
		r.server.kill()
		r.server.start()
	}
	time.Sleep(r.upTo(2 * time.Second))
	r.engine.start()
	if hard {
		return "containerd too"
	}
	return ""
}

// strike does something to one of the containers there are at this moment,
// whatever it is for. One that is being prepared is not left paused for good.
func (r *round) strike(role string, argv ...string) (what string) {
	list, err := r.engine.api.ContainerList(context.Background(), client.ContainerListOptions{
		Filters: make(client.Filters).Add("label", dock.LabelInstance+"="+r.server.instance, dock.LabelRole+"="+role),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(list.Items) == 0 {
		return "none there"
	}
	c := list.Items[r.rng.IntN(len(list.Items))]
	if err := r.docker(append(argv, c.ID)...); err != nil {
		return "it was on its way out" // or paused already
	}
	if argv[0] == "pause" {
		time.Sleep(r.upTo(5 * time.Second))
		if use, _ := (dock.Names{Instance: r.server.instance, Role: role}).Use(c); use != sandbox.Serving {
			_ = r.docker("unpause", c.ID) // it may have been thawed or removed meanwhile
		}
	}
	return "a " + string(c.State) + " one"
}

func (r *round) docker(argv ...string) error {
	cmd := exec.Command("docker", argv...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+r.engine.socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker %s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

func (r *round) killKubelet() string {
	list, err := r.engine.api.ContainerList(context.Background(), client.ContainerListOptions{
		Filters: make(client.Filters).Add("label", dock.LabelInstance+"="+r.server.instance, dock.LabelRole+"=node").Add("status", "running"),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	killed := 0
	for _, c := range list.Items {
		if r.docker("exec", c.ID, "sh", "-c", "kill -9 $(pidof kubelet)") == nil {
			killed++
		}
	}
	return fmt.Sprintf("%d killed", killed)
}

// fillScript takes all the room there is, without writing it.
const fillScript = `for size in 512M 256M 128M 64M 16M 4M 1M 256K 64K 4K; do
  while fallocate -l $size "$1/fill-$size-$((n = n + 1))" 2>/dev/null; do :; done
done; sync; df "$1"`

// fillSandbox fills the disk of the session's sandbox, if it has one at this moment.
func (r *round) fillSandbox() string {
	if r.session == "" {
		return "none there"
	}
	place := "/home/learner"
	if r.cluster() {
		place = "/var"
	}
	out, err := r.inSandbox("sh", "-c", fillScript, "sh", place)
	if err != nil {
		return "none there"
	}
	fields := strings.Fields(out)
	return "full at " + fields[max(0, len(fields)-2)]
}

// inSandbox runs a command as the sandbox's root, past the server.
func (r *round) inSandbox(argv ...string) (string, error) {
	r.t.Setenv("DOCKER_HOST", "unix://"+r.engine.socket)
	provider, err := openProvider(r.server.data, "", discardLog())
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	res, err := provider.Exec(ctx, r.session, sandbox.Command{Where: sandbox.OnNode, Argv: argv})
	if err == nil && res.ExitCode != 0 {
		err = errors.New(string(res.Stderr))
	}
	return string(res.Stdout), err
}

// fillData leaves the server no byte to write.
func (r *round) fillData(server bool) string {
	path := filepath.Join(filepath.Dir(r.server.data), "fill")
	f, err := os.Create(path)
	if err != nil {
		r.t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		r.t.Fatalf("fill the data directory: %v", err)
	}
	time.Sleep(r.upTo(3 * time.Second))
	what := ""
	if server {
		r.server.kill()
		r.server.launch()
		time.Sleep(r.upTo(3 * time.Second))
		what = "it starts on a full disk"
		if !r.server.running() {
			what = "it does not start on a full disk"
		}
	} else {
		time.Sleep(r.upTo(3 * time.Second))
	}
	if err := os.Remove(path); err != nil {
		r.t.Fatal(err)
	}
	if server && r.server.running() {
		for deadline := time.Now().Add(serverUp); !r.server.healthy() && r.server.running() && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
	}
	return what
}

// tearDown ends everything, and looks whether anything remains.
func (w *world) tearDown(l *chaosLearner) {
	w.t.Helper()
	records, err := w.server.records(w.set)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, one := range records {
		if !one.Phase.Over() {
			r := &round{world: w, learner: l, session: one.ID, within: settleMachine}
			r.again("end")
		}
	}
	w.settle(settleCluster)
	if _, err := w.quiet.learner.post("/sessions/"+w.quiet.session+"/end", nil); err != nil {
		w.t.Error(err)
	}
	for _, s := range []*chaosServer{w.server, w.quiet.server} {
		s.end(syscall.SIGTERM)
		if out, err := s.drydock("sandbox", "remove", "--all"); err != nil {
			w.t.Errorf("remove the sandboxes: %v\n%s", err, out)
		}
	}
	list, err := w.engine.api.ContainerList(context.Background(), client.ContainerListOptions{All: true})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list.Items {
		w.t.Errorf("the container %s remains", c.Names)
	}
	images, err := w.engine.api.ImageList(context.Background(), client.ImageListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, i := range images.Items {
		if slices.ContainsFunc(i.RepoTags, func(tag string) bool { return strings.HasPrefix(tag, "drydock/template:") }) {
			w.t.Errorf("the template %s remains", i.RepoTags)
		}
	}
	wrong := append(w.strangers(context.Background(), nil), w.litter()...)
	for _, one := range wrong {
		w.t.Errorf("at the end: %s", one)
	}
}
