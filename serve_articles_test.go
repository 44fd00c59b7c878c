package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drydock/content/live"
)

// writeArticles makes a folder of one track from the texts of its articles.
func writeArticles(t *testing.T, dir string, texts map[string]string) {
	t.Helper()
	files := map[string]string{"kube/track.yaml": "title: Kubernetes\nsummary: Clusters.\norder: 1\n"}
	for slug, text := range texts {
		files["kube/"+slug+"/index.md"] = "---\ntitle: " + slug + "\nsummary: What it is.\npublished: 2026-11-22\n---\n" + text
	}
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// A server shows what changes below --content, and the last good version when
// that is bad.
func TestServedArticlesFollowTheirFolder(t *testing.T) {
	dir, log := t.TempDir(), &lockedBuffer{}
	writeArticles(t, dir, map[string]string{"pod": "First.\n"})
	p, err := openPlatform(t.Context(), serveOptions{data: filepath.Join(t.TempDir(), "data"), contentDir: dir}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(watchInBackground(t.Context(), p.articles))
	folder := p.articles.(*live.Folder)
	read := func() string {
		t.Helper()
		answer := httptest.NewRecorder()
		p.handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/articles/pod", nil))
		if answer.Code != http.StatusOK {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
		return answer.Body.String()
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		late := time.After(30 * time.Second)
		for changed := folder.Changed(); !ok(); changed = folder.Changed() {
			select {
			case <-changed:
			case <-late:
				t.Fatalf("not in time: %s; %+v", what, folder.Trouble())
			}
		}
	}
	if !strings.Contains(read(), "First.") {
		t.Error("the article is not shown")
	}
	writeArticles(t, dir, map[string]string{"pod": "Second.\n"})
	until("the edit is shown", func() bool { return strings.Contains(read(), "Second.") })
	writeArticles(t, dir, map[string]string{"pod": "<b>\n"})
	until("the problem is told", func() bool { return len(folder.Trouble().Problems) == 1 })
	if !strings.Contains(read(), "Second.") {
		t.Error("the last good version is not shown")
	}
	writeArticles(t, dir, map[string]string{"pod": "[A lab](/labs/init-container)\n"})
	until("a dead link to a lab is told and holds nothing up", func() bool {
		return strings.Contains(read(), "A lab") && len(folder.Trouble().Problems) == 1 && folder.Trouble().Served
	})
	if told := log.tail(50); !strings.Contains(told, `there is no lab \"init-container\": did you mean \"init-containers\"?`) {
		t.Errorf("the log says:\n%s", told)
	}
}

// There is no good version yet at start: the server says what is wrong and ends.
func TestServerDoesNotStartWithBadArticles(t *testing.T) {
	dir := t.TempDir()
	writeArticles(t, dir, map[string]string{"pod": strings.Repeat("<b>\n\n", startProblems+5)})
	for _, test := range []struct{ dir, says string }{
		{dir, "kube/pod/index.md:6: HTML is not allowed"},
		{dir, "and 5 more"},
		{dir, "drydock content lint " + dir},
		{filepath.Join(dir, "nowhere"), "no such file"},
		{t.TempDir(), "there is no track here"},
	} {
		_, err := openArticles(test.dir, nil, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: the error is %v; want %q in it", test.dir, err, test.says)
		}
	}
}
