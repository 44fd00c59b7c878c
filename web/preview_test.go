package web

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"drydock/content/live"
	"drydock/labs"
	"drydock/labs/catalogue"
)

// An author sees an edit without touching the browser, at the place that was
// looked at, and a bad edit as what is wrong above the last good version.
func TestPreviewInABrowser(t *testing.T) {
	dir, front := t.TempDir(), "---\ntitle: Pipes\nsummary: About them.\npublished: 2026-11-01\n---\n"
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file+".tmp", []byte(text), 0o644), os.Rename(file+".tmp", file)); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("A paragraph.\n\n", 60)
	write("linux/track.yaml", "title: Linux\nsummary: Kernels.\norder: 1\n")
	write("linux/pipes/index.md", front+"First.\n\n## Above\n\n"+long+"## Here {#here}\n\n"+long)
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: &strings.Builder{}}, nil))
	folder, err := live.Open(live.Config{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	var watching sync.WaitGroup
	ctx := t.Context()
	watching.Go(func() { folder.Watch(ctx) })
	t.Cleanup(watching.Wait)
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		t.Fatal(err)
	}
	handler, err := NewPreview(Preview{Config: Config{Labs: set, Log: log}, Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.CloseClientConnections) // event streams
	t.Cleanup(server.Close)
	site := &labSite{testSite: &testSite{t: t, url: server.URL}}
	w := openWindow(t, site, site.browser())
	w.open("/articles/pipes")
	w.click(`.toc a[href="#here"]`)
	const where = `Math.abs(document.getElementById("here").getBoundingClientRect().top) < innerHeight / 2 && scrollY > innerHeight`
	w.sees(where)
	write("linux/pipes/index.md", front+"Second.\n\n## Above\n\n"+long+long+"## Here {#here}\n\n"+long)
	w.sees(`document.body.innerText.includes("Second.")`)
	w.sees(where)
	write("linux/pipes/index.md", front+"<b>Bad.\n")
	w.sees(`document.querySelector(".trouble")?.innerText.includes("linux/pipes/index.md:6") && document.body.innerText.includes("Second.")`)
	w.accessible("a preview with a problem")
	write("linux/pipes/index.md", front+"Third.\n")
	w.sees(`!document.querySelector(".trouble") && document.body.innerText.includes("Third.")`)
	w.sound()
}

// A preview has what can be read, and nothing that needs an account or a sandbox.
func TestPreviewServesReadingOnly(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	folder, err := live.Open(live.Config{Dir: dir, Log: log})
	if err == nil {
		t.Fatal("an empty folder is no library")
	}
	set, err := labs.LoadCatalogue(catalogue.FS())
	if err != nil {
		t.Fatal(err)
	}
	handler, err := NewPreview(Preview{Config: Config{Labs: set, Log: log}, Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{
		"/": 200, "/articles": 200, "/labs": 200, "/labs/" + labSlug: 200, "/articles/no-such": 404, "/tracks/no-such": 404,
		"/sign-in": 404, "/teach": 404, "/account": 404, "/admin/sandboxes": 404, "/healthz": 404, "/setup/x": 404,
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != status {
			t.Errorf("%s: status %d, want %d", path, answer.Code, status)
		}
		checkHTML(t, path, answer.Body.String())
		if !strings.Contains(answer.Body.String(), "there is no track here") {
			t.Errorf("%s does not say what is wrong", path)
		}
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/labs/"+labSlug+"/start", nil))
	if answer.Code < 400 {
		t.Errorf("a lab is started: status %d", answer.Code)
	}
}
