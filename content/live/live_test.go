package live

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"drydock/content"
)

// patience is how long a change may take on a machine that is busy with other tests.
const patience = 30 * time.Second

const (
	track = "title: Kubernetes\nsummary: Clusters.\norder: 1\n"
	front = "---\ntitle: A pod\nsummary: What it is.\npublished: 2026-11-22\n---\n"
)

// lockedLog is what an operator reads.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// author is somebody who writes articles while they are served.
type author struct {
	t      *testing.T
	dir    string
	folder *Folder
	log    *lockedLog
}

// newAuthor has a folder with one article, not yet watched.
func newAuthor(t *testing.T) *author {
	t.Helper()
	a := &author{t: t, dir: filepath.Join(t.TempDir(), "tracks"), log: &lockedLog{}}
	a.write("kube/track.yaml", track)
	a.write("kube/pod/index.md", front+"First.\n")
	return a
}

func (a *author) open(dir string) {
	a.t.Helper()
	folder, err := Open(Config{Dir: dir, Log: slog.New(slog.NewTextHandler(a.log, nil))})
	if err != nil {
		a.t.Fatal(err)
	}
	a.folder = folder
}

// watched opens the folder and watches it until the test ends.
func (a *author) watched() {
	a.t.Helper()
	a.open(a.dir)
	a.watch()
}

func (a *author) watch() {
	var watching sync.WaitGroup
	ctx := a.t.Context()
	watching.Go(func() { a.folder.Watch(ctx) })
	a.t.Cleanup(watching.Wait) // the test's context has ended then
}

func (a *author) write(name, text string) {
	a.t.Helper()
	file := filepath.Join(a.dir, filepath.FromSlash(name))
	written := filepath.Join(filepath.Dir(file), ".written") // who looks in between must not see half of it
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(written, []byte(text), 0o644), os.Rename(written, file)); err != nil {
		a.t.Fatal(err)
	}
}

// until waits until the folder is as it should be.
func (a *author) until(what string, ok func(*content.Library, Trouble) bool) {
	a.t.Helper()
	late := time.After(patience)
	for {
		changed := a.folder.Changed()
		if ok(a.folder.Library(), a.folder.Trouble()) {
			return
		}
		select {
		case <-changed:
		case <-late:
			a.t.Fatalf("not within %s: %s; there is %+v; the log says:\n%s", patience, what, a.folder.Trouble(), a.log)
		}
	}
}

// shows waits until the article has the text and nothing is wrong.
func (a *author) shows(slug, text string) {
	a.t.Helper()
	a.until(slug+" with "+text, func(l *content.Library, now Trouble) bool {
		return !now.Any() && strings.Contains(textOf(a.t, l, slug), text)
	})
}

func textOf(t *testing.T, l *content.Library, slug string) string {
	t.Helper()
	article, ok := l.Article(slug)
	if !ok {
		return ""
	}
	html, err := article.HTML()
	if err != nil {
		t.Error(err)
	}
	return html
}

func TestAnEditIsServed(t *testing.T) {
	a := newAuthor(t)
	a.watched()
	a.shows("pod", "First.")
	a.write("kube/pod/index.md", front+"Second.\n")
	a.shows("pod", "Second.")
	a.write("kube/service/index.md", front+"A new one.\n") // in a folder that was not there to be watched
	a.shows("service", "A new one.")
	a.write("kube/service/index.md", front+"An old one.\n")
	a.shows("service", "An old one.")
	if err := os.RemoveAll(filepath.Join(a.dir, "kube", "service")); err != nil {
		t.Fatal(err)
	}
	a.until("it is gone", func(l *content.Library, _ Trouble) bool {
		_, ok := l.Article("service")
		return !ok
	})
}

// A bad edit keeps the last good version; what is wrong is told with file and
// line, and logged once.
func TestABadEditKeepsTheLastGoodVersion(t *testing.T) {
	a := newAuthor(t)
	a.watched()
	good := a.folder.Library()
	bad := front + "Bad.\n\n<b>\n"
	a.write("kube/pod/index.md", bad)
	a.until("the problem is told", func(_ *content.Library, now Trouble) bool { return now.Any() })
	if now := a.folder.Trouble(); len(now.Problems) != 1 || now.Problems[0].File != "kube/pod/index.md" || now.Problems[0].Line != 8 || now.Served {
		t.Errorf("the trouble is %+v", now)
	}
	if a.folder.Library() != good || textOf(t, a.folder.Library(), "pod") != "<p>First.</p>\n" {
		t.Error("the last good version is not served")
	}
	a.write("kube/pod/index.md", bad+"\nMore text, and the same problem.\n")
	a.write("kube/late/index.md", front+"<i>\n")
	a.until("both problems are told", func(_ *content.Library, now Trouble) bool { return len(now.Problems) == 2 })
	a.write("kube/pod/index.md", front+"Good.\n")
	a.write("kube/late/index.md", front+"Good.\n")
	a.shows("pod", "Good.")
	log := a.log.String()
	if strings.Count(log, "have problems") != strings.Count(log, `kube/pod/index.md:8: HTML`) || strings.Count(log, "have problems") > 3 || strings.Count(log, "in order again") != 1 {
		t.Errorf("the log says:\n%s", log)
	}
}

func TestMoreProblemsThanFitAreCounted(t *testing.T) {
	a := newAuthor(t)
	a.open(a.dir)
	for i := range maxProblems + 5 {
		a.write(fmt.Sprintf("kube/bad-%d/index.md", i), front+"<b>\n")
	}
	a.watch()
	a.until("all are counted", func(_ *content.Library, now Trouble) bool { return len(now.Problems) == maxProblems && now.More == 5 })
}

// A folder that goes away is like a bad edit, and so is one that is emptied.
func TestAFolderThatGoesAwayKeepsTheLastGoodVersion(t *testing.T) {
	a := newAuthor(t)
	a.watched()
	aside := a.dir + "-aside"
	if err := os.Rename(a.dir, aside); err != nil {
		t.Fatal(err)
	}
	a.until("the folder is missed", func(_ *content.Library, now Trouble) bool { return strings.Contains(now.Other, "no such file") })
	if err := os.Mkdir(a.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a.until("it is empty", func(_ *content.Library, now Trouble) bool {
		return strings.Contains(now.Other, "there is no track here")
	})
	if textOf(t, a.folder.Library(), "pod") != "<p>First.</p>\n" {
		t.Error("the last good version is not served")
	}
	if err := errors.Join(os.Remove(a.dir), os.Rename(aside, a.dir)); err != nil {
		t.Fatal(err)
	}
	a.until("it is there again", func(_ *content.Library, now Trouble) bool { return !now.Any() })
	a.write("kube/pod/index.md", front+"Second.\n")
	a.shows("pod", "Second.")
}

// What deploys a checkout often makes a new one and turns a link over to it.
func TestALinkThatIsTurnedOverIsFollowed(t *testing.T) {
	a := newAuthor(t)
	root := filepath.Dir(a.dir)
	one, two, current := a.dir, filepath.Join(root, "two"), filepath.Join(root, "current")
	a.dir = filepath.Join(two, "tracks")
	a.write("kube/track.yaml", track)
	a.write("kube/pod/index.md", front+"Second.\n")
	if err := errors.Join(os.Mkdir(filepath.Join(root, "one"), 0o755), os.Rename(one, filepath.Join(root, "one", "tracks")), os.Symlink("one", current)); err != nil {
		t.Fatal(err)
	}
	a.open(filepath.Join(current, "tracks")) // the link is on the way
	a.watch()
	a.shows("pod", "First.")
	if err := errors.Join(os.Symlink("two", current+".new"), os.Rename(current+".new", current)); err != nil {
		t.Fatal(err)
	}
	a.shows("pod", "Second.")
	a.write("kube/pod/index.md", front+"Third.\n")
	a.shows("pod", "Third.")
}

// A Git checkout changes many files at once, and .git beside them.
func TestAGitCheckoutIsServed(t *testing.T) {
	a := newAuthor(t)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", a.dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	const articles = 60
	commit := func(version string) {
		for i := range articles {
			next := fmt.Sprintf("[next](/articles/%s-%d)", version, (i+1)%articles)
			a.write(fmt.Sprintf("kube/%s-%d/index.md", version, i), front+version+" "+next+"\n")
		}
		git("add", "-A")
		git("commit", "-q", "-m", version)
		git("tag", version)
	}
	git("init", "-q")
	commit("old")
	git("rm", "-rq", "kube/pod", "kube/old-*")
	commit("new")
	a.watched()
	for _, version := range []string{"old", "new", "old"} {
		git("checkout", "-q", version)
		a.until("the version "+version, func(l *content.Library, now Trouble) bool {
			_, ok := l.Article(version + "-0")
			return ok && !now.Any() && len(l.Articles) >= articles && len(l.Articles) <= articles+1
		})
	}
}

// Without the kernel's help the folder is looked at from time to time.
func TestAFolderIsPolled(t *testing.T) {
	for name, watcher := range map[string]func() (*fsnotify.Watcher, error){
		"no instance is left": func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE },
		"it is closed": func() (*fsnotify.Watcher, error) {
			w, err := fsnotify.NewWatcher()
			if err == nil {
				err = w.Close()
			}
			return w, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthor(t)
			a.open(a.dir)
			a.folder.watcher = watcher
			a.watch()
			a.write("kube/pod/index.md", front+"Second.\n")
			a.shows("pod", "Second.")
			a.write("kube/pod/index.md", front+"Third.\n")
			a.shows("pod", "Third.")
			if !strings.Contains(a.log.String(), "looked at from time to time") {
				t.Errorf("the log says:\n%s", a.log)
			}
		})
	}
}

// What is wrong besides, such as links to labs, is told and holds nothing up.
func TestWhatElseIsWrongHoldsNothingUp(t *testing.T) {
	a := newAuthor(t)
	folder, err := Open(Config{Dir: a.dir, Log: slog.New(slog.NewTextHandler(a.log, nil)), Check: func(l *content.Library) error {
		return l.CheckLabs([]string{"full-disk"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	a.folder = folder
	a.watch()
	a.write("kube/pod/index.md", front+"[a lab](/labs/full-disc)\n")
	a.until("the link is told", func(l *content.Library, now Trouble) bool {
		return len(now.Problems) == 1 && now.Served && strings.Contains(textOf(t, l, "pod"), "full-disc")
	})
}

// A folder that is bad at first can be watched until it is mended.
func TestAFolderThatIsBadAtFirst(t *testing.T) {
	a := newAuthor(t)
	a.write("kube/pod/index.md", "no front matter\n")
	folder, err := Open(Config{Dir: a.dir, Log: slog.New(slog.NewTextHandler(a.log, nil))})
	if len(content.Problems(err)) != 1 || folder == nil || !folder.Trouble().Any() || len(folder.Library().Articles) != 0 {
		t.Fatalf("%v, %+v", err, folder)
	}
	a.folder = folder
	a.watch()
	a.write("kube/pod/index.md", front+"Mended.\n")
	a.shows("pod", "Mended.")
}

// Files that are not part of the content make no difference, and any other does.
func TestLook(t *testing.T) {
	a := newAuthor(t)
	before := look(a.dir)
	for _, name := range []string{".git/index", ".git/index.lock", "kube/pod/.index.md.swp", "kube/pod/index.md~", "kube/pod/#index.md#", "kube/pod/.#index.md", "kube/pod/index.md.tmp"} {
		a.write(name, "x")
		if look(a.dir).sum != before.sum {
			t.Errorf("%s makes a difference", name)
		}
	}
	for _, name := range []string{"kube/pod/index.md", "kube/pod/ship.svg", "kube/service/index.md", "mesh/track.yaml"} {
		a.write(name, "x")
		after := look(a.dir)
		if after.sum == before.sum {
			t.Errorf("%s makes no difference", name)
		}
		before = after
	}
	// The same size and time, by a rename.
	file := filepath.Join(a.dir, "kube/pod/index.md")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(file+".new", []byte("y"), 0o644), os.Chtimes(file+".new", info.ModTime(), info.ModTime()), os.Rename(file+".new", file)); err != nil {
		t.Fatal(err)
	}
	if look(a.dir).sum == before.sum {
		t.Error("another file of the same size and time makes no difference")
	}
	// A link that goes round does not go on for ever.
	if err := os.Symlink("..", filepath.Join(a.dir, "kube", "round")); err != nil {
		t.Fatal(err)
	}
	if n := len(look(a.dir).places.folders); n > 50 {
		t.Errorf("%d folders are watched", n)
	}
}
