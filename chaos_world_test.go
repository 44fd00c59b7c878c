package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox"
	"drydock/sandbox/dock"
	"drydock/store"
	"drydock/web"
)

// chaosServer is one Drydock on the chaos's engine.
type chaosServer struct {
	t      *testing.T
	engine *chaosEngine
	data   string
	addr   string
	env    []string
	args   []string
	client *http.Client
	log    *lockedBuffer
	cmd    *exec.Cmd
	exited chan struct{}
	// instance is what its things on the engine are labelled with.
	instance string
}

func newChaosServer(e *chaosEngine, data, addr, env string, args ...string) *chaosServer {
	s := &chaosServer{
		t: e.t, engine: e, data: data, addr: addr, env: []string{env, e.mark()}, args: args, log: &lockedBuffer{},
		client: &http.Client{
			Transport: e.transport(), Timeout: requestTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	e.t.Cleanup(func() {
		s.kill()
		if e.t.Failed() {
			e.t.Logf("the log of the server on %s:\n%s", addr, s.log.tail(80))
		}
	})
	return s
}

// mark is in the environment of every server and of all that it starts.
func (e *chaosEngine) mark() string { return "DRYDOCK_CHAOS=" + e.netns }

// requestTime is more than any page takes, also on a busy machine.
const requestTime = 20 * time.Second

// launch starts the server and does not wait for anything.
func (s *chaosServer) launch() {
	s.t.Helper()
	argv := append([]string{"--net=/run/netns/" + s.engine.netns, program(s.t), "serve", "--addr", s.addr, "--data", s.data}, s.args...)
	cmd := exec.Command("nsenter", argv...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start the server: %v", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // whoever wants to know whether it runs looks at exited
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
}

// start starts the server and waits until it answers. One that ends instead is started again for a while.
func (s *chaosServer) start() {
	s.t.Helper()
	s.launch()
	for deadline := time.Now().Add(serverUp); !s.healthy(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the server on %s does not answer:\n%s", s.addr, s.log.tail(30))
		}
		if !s.running() {
			s.t.Fatalf("the server on %s has ended:\n%s", s.addr, s.log.tail(30))
		}
	}
	if s.instance == "" {
		id, err := readInstance(filepath.Join(s.data, instanceFile))
		if err != nil {
			s.t.Fatal(err)
		}
		s.instance = id
	}
}

func (s *chaosServer) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

func (s *chaosServer) healthy() bool {
	response, err := s.client.Get("http://" + s.addr + "/healthz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s *chaosServer) kill() { s.end(syscall.SIGKILL) }

// end ends the server with a signal and waits until it has gone.
func (s *chaosServer) end(signal syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal) // it may have ended by itself
	select {
	case <-s.exited:
	case <-time.After(serverDown):
		s.t.Errorf("the server on %s has not stopped within %s of %v", s.addr, serverDown, signal)
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
}

// drydock runs another command on the server's data directory.
func (s *chaosServer) drydock(args ...string) (string, error) {
	argv := append([]string{"--net=/run/netns/" + s.engine.netns, program(s.t)}, args...)
	cmd := exec.Command("nsenter", append(argv, "--data", s.data)...)
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// with opens the store beside the server, as a backup does.
func (s *chaosServer) with(do func(db *store.Store) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	db, err := store.Open(ctx, filepath.Join(s.data, "drydock.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	return do(db)
}

// chaosLearner is somebody who starts labs.
type chaosLearner struct {
	server *chaosServer
	id     int64
	cookie string
}

// newLearner makes an account and signs it in.
func (s *chaosServer) newLearner(login string) *chaosLearner {
	s.t.Helper()
	l := &chaosLearner{server: s}
	err := s.with(func(db *store.Store) error {
		user, err := db.AddUser(context.Background(), store.NewUser{Name: login, Login: login, Password: "a-long-enough-password"})
		if err != nil {
			return err
		}
		l.id = user.ID
		l.cookie, err = db.SignIn(context.Background(), user.ID, 24*time.Hour)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// post sends a form and returns where it leads to. The server has taken it if there is no error.
func (l *chaosLearner) post(path string, form url.Values) (location string, err error) {
	request, err := http.NewRequest(http.MethodPost, "http://"+l.server.addr+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return l.do(request)
}

func (l *chaosLearner) do(request *http.Request) (location string, err error) {
	request.Header.Set("Accept", "text/html")
	request.AddCookie(&http.Cookie{Name: web.SignInCookie, Value: l.cookie})
	response, err := l.server.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "", err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return "", fmt.Errorf("%s %s: %s", request.Method, request.URL.Path, response.Status)
	}
	return response.Header.Get("Location"), nil
}

// startLab presses the button and returns the session's id.
func (l *chaosLearner) startLab(slug string) (id string, err error) {
	to, err := l.post("/labs/"+slug+"/start", nil)
	return strings.TrimPrefix(to, "/sessions/"), err
}

// record is an attempt as the store has it.
type record struct {
	labs.Attempt
	labs.Progress
	events []labs.Event
	score  store.AttemptScore
}

// records reads all attempts back from the store, the oldest first.
func (s *chaosServer) records(set *labs.Catalogue) (all []record, err error) {
	ctx := context.Background()
	err = s.with(func(db *store.Store) error {
		attempts, err := db.Attempts(ctx, store.AttemptFilter{})
		if err != nil {
			return err
		}
		for _, a := range attempts {
			lab, _ := set.Get(a.Lab)
			r := record{Attempt: a}
			if r.events, err = db.Events(ctx, a.ID, 0); err != nil {
				return err
			}
			if r.score, err = db.Score(ctx, a.ID); err != nil {
				return err
			}
			r.Progress = labs.Fold(lab, r.events)
			all = append(all, r)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b record) int { return a.Created.Compare(b.Created) })
	return all, err
}

// answers counts how often an answer is in the log.
func (r record) answers(text string) (n int) {
	for _, e := range r.events {
		var given struct{ Answer string }
		if e.Type == labs.EventAnswer && json.Unmarshal(e.Data, &given) == nil && given.Answer == text {
			n++
		}
	}
	return n
}

// promise is something that the server has said that it has.
type promise struct {
	session string
	answer  string // given
	ended   bool
}

// world is two servers on one engine, and what the one that is struck owes its learners.
type world struct {
	t      *testing.T
	engine *chaosEngine
	proxy  *engineProxy // between the struck server and the engine
	server *chaosServer
	set    *labs.Catalogue
	owed   []promise
	quiet  *quiet
}

func newWorld(t *testing.T) *world {
	t.Helper()
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, engine: newChaosEngine(t), set: set}
	data := filepath.Join(w.engine.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	w.engine.run("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", dataDisk), "tmpfs", data)
	t.Cleanup(func() { w.engine.run("umount", data) })
	var env string
	w.proxy, env = newProxyOf(t, w.engine.socket)
	w.server = newChaosServer(w.engine, filepath.Join(data, "one"), "127.0.0.1:8080", env, "--idle", chaosIdle.String(), "--spares", "1")
	w.quiet = newQuiet(w.engine)
	w.server.start()
	return w
}

// wrong is everything that is not as it should be, now.
func (w *world) wrong() []string {
	if !w.server.healthy() {
		return []string{"the server does not answer"}
	}
	records, err := w.server.records(w.set)
	if err != nil {
		return []string{"the store: " + err.Error()}
	}
	boxes, wrong := w.boxes()
	wrong = append(wrong, w.breaches(records)...)
	for _, r := range records {
		wrong = append(wrong, r.wrong(boxes)...)
	}
	for _, b := range boxes {
		i := slices.IndexFunc(records, func(r record) bool { return r.ID == b.session && !r.Phase.Over() })
		if b.use == sandbox.Serving && i < 0 {
			wrong = append(wrong, fmt.Sprintf("%s serves %s, which does not run", b.id, b.session))
		}
	}
	return append(wrong, w.litter()...)
}

// wrong is what is wrong with one session: it must be over, with its result, or it can be used.
func (r record) wrong(boxes []*box) []string {
	var wrong []string
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("session %s: %s", r.ID, fmt.Sprintf(format, args...)))
	}
	mine := slices.DeleteFunc(slices.Clone(boxes), func(b *box) bool { return b.use != sandbox.Serving || b.session != r.ID })
	switch {
	case r.Phase.Over():
		if r.Attempt.Ended.IsZero() || !r.score.Scored || r.score.Points != r.Score {
			say("is over, and its result is not stored: ended %v, score %+v, want %d", r.Attempt.Ended, r.score, r.Score)
		}
		if r.Phase == labs.PhaseFailed && r.Reason == "" || r.Phase == labs.PhaseEnded && r.EndedWhy == "" {
			say("is over for no reason")
		}
	case r.Phase != labs.PhaseRunning:
		say("is %s (%s)", r.Phase, r.Reason)
	case len(mine) != 1:
		say("has %d sandboxes", len(mine))
	case r.Asleep && mine[0].state != sandbox.Frozen, !r.Asleep && mine[0].state != sandbox.Running:
		say("asleep %v, its sandbox is %s", r.Asleep, mine[0].state)
	}
	return wrong
}

// breaches are promises that the store does not keep.
func (w *world) breaches(records []record) (wrong []string) {
	for _, p := range w.owed {
		i := slices.IndexFunc(records, func(r record) bool { return r.ID == p.session })
		switch {
		case i < 0:
			wrong = append(wrong, "LOST: session "+p.session)
		case p.answer != "" && records[i].answers(p.answer) != 1:
			wrong = append(wrong, fmt.Sprintf("LOST: session %s has the answer %q %d times", p.session, p.answer, records[i].answers(p.answer)))
		case p.ended && !records[i].Phase.Over():
			wrong = append(wrong, "LOST: the end of session "+p.session)
		}
	}
	return wrong
}

// box is a sandbox as it stands on the engine.
type box struct {
	id      string
	kind    sandbox.Kind
	use     sandbox.Use
	session string
	state   sandbox.State
	parts   []container.Summary
}

// boxes reads the struck server's sandboxes from the engine, in the names and
// labels of its containers. What does not belong there is wrong.
func (w *world) boxes() (boxes []*box, wrong []string) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	list, err := w.engine.api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, []string{err.Error()}
	}
	byID := map[string]*box{}
	for _, c := range list.Items {
		id := c.Labels[dock.LabelSandbox]
		switch {
		case c.Labels[dock.LabelInstance] == w.quiet.server.instance:
			continue
		case c.Labels[dock.LabelInstance] != w.server.instance || id == "":
			wrong = append(wrong, fmt.Sprintf("the container %s", c.Names))
			continue
		}
		b := byID[id]
		if b == nil {
			b = &box{id: id, kind: sandbox.Kind(c.Labels[dock.LabelKind])}
			byID[id], boxes = b, append(boxes, b)
		}
		b.parts = append(b.parts, c)
		if role := c.Labels[dock.LabelRole]; role == "terminal" || role == "machine" {
			use, to := dock.Names{Instance: w.server.instance, Role: role}.Use(c)
			b.use, b.session = use, to.Session
		}
	}
	for _, b := range boxes {
		b.state = stateOf(b.parts)
		parts := map[sandbox.Kind]int{sandbox.Machine: 1, sandbox.Cluster: 2}[b.kind]
		if len(b.parts) != parts || b.use != sandbox.Serving && b.use != sandbox.Spare || b.use == sandbox.Spare && b.state != sandbox.Frozen {
			wrong = append(wrong, fmt.Sprintf("sandbox %s: %s, %s, of %d containers", b.id, b.use, b.state, len(b.parts)))
		}
	}
	return boxes, append(wrong, w.strangers(ctx, byID)...)
}

func stateOf(parts []container.Summary) sandbox.State {
	states := map[container.ContainerState]int{}
	for _, c := range parts {
		states[c.State]++
	}
	switch {
	case states[container.StateRunning] == len(parts):
		return sandbox.Running
	case states[container.StatePaused] == len(parts):
		return sandbox.Frozen
	default:
		return sandbox.Stopped
	}
}

// strangers are networks, volumes and images that belong to no sandbox. Those
// of the quiet server are left out as long as it has a session.
func (w *world) strangers(ctx context.Context, boxes map[string]*box) (wrong []string) {
	quiet := w.quiet.server.instance
	if boxes == nil {
		quiet = ""
	}
	networks, err := w.engine.api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	for _, n := range networks.Items {
		if n.Driver == "bridge" && (quiet == "" || n.Labels[dock.LabelInstance] != quiet) && boxes[n.Labels[dock.LabelSandbox]] == nil {
			wrong = append(wrong, "the network "+n.Name)
		}
	}
	volumes, err := w.engine.api.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	for _, v := range volumes.Items {
		if (quiet == "" || v.Labels[dock.LabelInstance] != quiet) && boxes[v.Labels[dock.LabelSandbox]] == nil {
			wrong = append(wrong, fmt.Sprintf("the volume %s of %q", v.Name, v.Labels[dock.LabelSandbox]))
		}
	}
	images, err := w.engine.api.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	for _, i := range images.Items {
		if len(i.RepoTags) == 0 {
			wrong = append(wrong, "the nameless image "+i.ID)
		}
	}
	return wrong
}

// litter is what is left outside of the engine: loop devices, mounts, processes, directories.
func (w *world) litter() (wrong []string) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	list, err := w.engine.api.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	disks := 0
	for _, c := range list.Items {
		if role := c.Labels[dock.LabelRole]; role == "machine" || role == "node" {
			disks++
		}
	}
	count := func(what string, want int, got int, err error) {
		if err != nil || got != want {
			wrong = append(wrong, fmt.Sprintf("%d %s, want %d (%v)", got, what, want, err))
		}
	}
	loops, err := w.engine.loops()
	count("loop devices", disks, loops, err)
	mounts, err := w.engine.mounts()
	count("mounts", len(list.Items), mounts, err)
	shims, err := w.engine.shims()
	if w.engine.killed {
		shims = w.engine.reap(shims, list.Items)
	}
	count("containers' processes", len(list.Items), len(shims), err)
	want := 0
	for _, s := range []*chaosServer{w.server, w.quiet.server} {
		if s.running() {
			want++
		}
	}
	servers, err := processes(func(p process) bool { return strings.Contains("\x00"+p.env, "\x00"+w.engine.mark()+"\x00") })
	count("processes of the servers", want, len(servers), err)
	if len(servers) > want {
		wrong = append(wrong, fmt.Sprint(servers))
	}
	for _, s := range []*chaosServer{w.server, w.quiet.server} {
		left, err := os.ReadDir(filepath.Join(s.data, "clusters"))
		count("directories of clusters in the making", 0, len(left), err)
	}
	return wrong
}

// process is one of this machine's.
type process struct {
	pid       string
	argv, env string
}

func (p process) String() string {
	return p.pid + " " + strings.ReplaceAll(strings.TrimRight(p.argv, "\x00"), "\x00", " ")
}

// age is for how long it has run.
func (p process) age() (time.Duration, error) {
	info, err := os.Stat("/proc/" + p.pid)
	if err != nil {
		return 0, err
	}
	return time.Since(info.ModTime()), nil
}

func processes(which func(process) bool) (found []process, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		argv, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // it may have ended meanwhile
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if p := (process{filepath.Base(dir), string(argv), string(env)}); which(p) {
			found = append(found, p)
		}
	}
	return found, nil
}

// settle waits until nothing is wrong any more.
func (w *world) settle(within time.Duration) {
	w.t.Helper()
	var wrong []string
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		wrong = w.wrong()
		if len(wrong) == 0 {
			return
		}
		lost := slices.ContainsFunc(wrong, func(s string) bool { return strings.HasPrefix(s, "LOST") })
		if lost || time.Now().After(deadline) {
			w.t.Fatalf("not in order within %s:\n  %s", within, strings.Join(wrong, "\n  "))
		}
	}
}

// quiet is another server on the same engine, with a session in which nothing happens.
type quiet struct {
	server  *chaosServer
	learner *chaosLearner
	session string
	box     container.Summary
}

const (
	quietAddr = "127.0.0.1:8081"
	quietMark = "not-touched"
)

func newQuiet(e *chaosEngine) *quiet {
	e.t.Helper()
	q := &quiet{server: newChaosServer(e, filepath.Join(e.dir, "quiet"), quietAddr, "DOCKER_HOST=unix://"+e.socket,
		"--idle", "24h", "--spares", "0", "--templates", "none")}
	q.server.start()
	q.learner = q.server.newLearner("quiet")
	id, err := q.learner.startLab(machineLab)
	if err != nil {
		e.t.Fatal(err)
	}
	q.session = id
	for deadline := time.Now().Add(settleMachine); ; time.Sleep(100 * time.Millisecond) {
		if r := q.record(); r.Phase == labs.PhaseRunning {
			break
		}
		if time.Now().After(deadline) {
			e.t.Fatal("the quiet server's session does not start")
		}
	}
	q.box = q.container()
	if said := q.types("export MARK=" + quietMark + "\n"); said != nil {
		e.t.Fatal(said)
	}
	return q
}

func (q *quiet) record() record {
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		q.server.t.Fatal(err)
	}
	all, err := q.server.records(set)
	if err != nil || len(all) != 1 {
		q.server.t.Fatalf("the quiet server has %d attempts, %v", len(all), err)
	}
	return all[0]
}

func (q *quiet) container() container.Summary {
	list, err := q.server.engine.api.ContainerList(context.Background(), client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", dock.LabelInstance+"="+q.server.instance),
	})
	if err != nil || len(list.Items) != 1 {
		q.server.t.Fatalf("the quiet server has %d containers, %v", len(list.Items), err)
	}
	return list.Items[0]
}

// types types a line into the session's shell.
func (q *quiet) types(line string) error {
	_, err := q.shell(line, "")
	return err
}

// shell types a line and reads what the shell says until it has said want.
func (q *quiet) shell(line, want string) (said string, err error) {
	provider, err := q.provider()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	term, err := provider.Terminal(ctx, q.session, sandbox.TerminalSpec{Tab: "1", Size: sandbox.Size{Cols: 80, Rows: 24}})
	if err != nil {
		return "", err
	}
	defer term.Close()
	defer context.AfterFunc(ctx, func() { term.Close() })()
	if _, err := term.Write([]byte(line)); err != nil {
		return "", err
	}
	buf := make([]byte, 4096)
	for want == "" || !strings.Contains(said, want) {
		n, err := term.Read(buf)
		if said += string(buf[:n]); err != nil {
			return said, err
		}
		if want == "" && strings.Contains(said, "MARK=") {
			return said, nil // it is typed, and echoed
		}
	}
	return said, nil
}

// keepAwake does what a learner does: a session that nobody looks at is frozen.
func (q *quiet) keepAwake() {
	q.server.t.Helper()
	if _, err := q.learner.post("/sessions/"+q.session+"/wake", nil); err != nil {
		q.server.t.Fatal(err)
	}
}

func (q *quiet) provider() (sandbox.Provider, error) {
	q.server.t.Setenv("DOCKER_HOST", "unix://"+q.server.engine.socket)
	return openProvider(q.server.data, "", discardLog())
}

// untouched checks that nothing has happened to it: after the last strike its
// server may first have to see that the engine answers again.
func (q *quiet) untouched() {
	t := q.server.t
	t.Helper()
	r := q.record()
	for deadline := time.Now().Add(settleMachine); r.Phase == labs.PhaseTrouble && time.Now().Before(deadline); r = q.record() {
		time.Sleep(100 * time.Millisecond)
	}
	if now := q.container(); now.ID != q.box.ID || now.State != container.StateRunning || !slices.Equal(now.Names, q.box.Names) {
		t.Errorf("the quiet server's machine was %s %s and is %s %s, %s", q.box.ID, q.box.Names, now.ID, now.Names, now.State)
	}
	if r.Phase != labs.PhaseRunning || r.Resets != 0 {
		t.Errorf("the quiet server's session is %s after %d resets", r.Phase, r.Resets)
	}
	if said, err := q.shell("echo is-$MARK\n", "is-"+quietMark); err != nil {
		t.Errorf("the quiet server's shell has forgotten: %v after %q", err, said)
	}
}
