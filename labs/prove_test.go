package labs

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"drydock/labs/catalogue"
	"drydock/labs/scaffold"
	"drydock/sandbox"
	"drydock/sandbox/engine"
	"drydock/sandbox/image"
	"drydock/sandbox/kind"
)

// The test binary is also the program that the provider runs to create a cluster.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == kind.ChildName {
		if err := kind.RunChild(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// realProvider makes real clusters of an instance of its own, and fails the test where there is no engine.
func realProvider(t *testing.T, instance string) sandbox.Provider {
	t.Helper()
	client, err := engine.Open()
	if err != nil {
		t.Fatalf("these tests need a container engine: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	provider, err := kind.New(kind.Config{
		Instance: instance, NodeImage: image.NodeRef, TerminalImage: image.TerminalRef,
		StateDir: t.TempDir(), Engine: client, Self: self, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := provider.List(context.Background())
		if err != nil {
			t.Errorf("list what is left: %v", err)
		}
		for _, info := range left {
			t.Errorf("the sandbox %s (%s, made %v) was left behind", info.ID, info.Use, info.Created)
			if err := provider.Discard(context.Background(), info.ID); err != nil {
				t.Error(err)
			}
		}
	})
	return provider
}

// copyOf is a lab of the catalogue with some files changed; nil takes one away.
func copyOf(t *testing.T, slug string, change map[string][]byte) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(catalogue.FS(), slug, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(catalogue.FS(), path)
		files[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range change {
		files[slug+"/"+name] = &fstest.MapFile{Data: data}
		if data == nil {
			delete(files, slug+"/"+name)
		}
	}
	return files
}

// TestProveFindsWhatIsBroken proves a copy of a real lab that is broken in
// every way a proof must find, and sound elsewhere, on real clusters.
func TestProveFindsWhatIsBroken(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel() // it waits most of the time
	const slug = "init-containers"
	own, err := fs.ReadFile(catalogue.FS(), slug+"/lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	always := []byte(`    checks:
      - {id: always, watch: {kind: Deployment, namespace: shop, name: web}, that: object != null}
`)
	solution := func(name string) []byte {
		data, err := fs.ReadFile(catalogue.FS(), slug+"/solutions/"+name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	files := copyOf(t, slug, map[string][]byte{
		"lab.yaml":                              bytes.Replace(own, []byte("    checks:\n"), always, 1),
		"solutions/give-what-is-asked-for.sh":   nil,
		"solutions/new-service-and-settings.sh": nil,
		"solutions/does-nothing.sh":             []byte("kubectl -n shop get pods\n"),
		"solutions/fails.sh":                    []byte("# answer diagnose: No idea.\necho cannot go on >&2\nexit 3\n"),
		"wrong/guess.sh":                        nil,
		"wrong/is-right.sh":                     append([]byte("# caught-by: web-ready\n"), solution("mend-the-cause.sh")...),
		"wrong/is-not-caught.sh":                []byte("# caught-by: same-deployment\nkubectl -n shop get pods\n"),
		"wrong/another-database.sh":             nil,
		"wrong/edit-the-copy.sh":                nil,
		"wrong/remove-the-init-containers.sh":   nil,
		"wrong/scale-it-down.sh":                nil,
		"wrong/scale-to-one.sh":                 nil,
		"wrong/expose-again.sh":                 nil,
		"wrong/title-without-new-pods.sh":       nil,
		"wrong/wait-last.sh":                    nil,
		"wrong/a-page-of-its-own.sh":            nil,
		"wrong/recreate-the-database.sh":        nil,
		"wrong/skip-the-wait.sh":                nil,
		"wrong/delete-the-pods.sh":              nil,
		"solutions/recreates-the-deployment.sh": append(slices.Clone(mustRead(t, slug+"/wrong/recreate-the-deployment.sh")), solution("mend-the-cause.sh")...),
	})
	lab, err := LoadLab(files, slug)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := Prove(t.Context(), lab, ProveOptions{
		Provider: realProvider(t, "labstest"), Variants: []string{"nobody-behind"}, Patience: 20 * time.Second, Parallel: 2,
		Done: func(c Case) {
			t.Logf("%-10s %-28s ok=%-5v %5.1f s %q", c.Kind, c.Name, c.OK, c.Took.Seconds(), c.Problems)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if proof.OK {
		t.Error("the broken lab is proven")
	}
	want := map[string]string{ // by kind and name: part of the problem; empty for what is sound
		"hand-over ":                        "the check always (task serve) holds before anything is done",
		"solution does-nothing":             "task serve: web-ready fails",
		"solution fails":                    "exited with 3: cannot go on\nthe question diagnose refuses the solution's answer \"No idea.\"",
		"solution mend-the-cause":           "",
		"solution recreates-the-deployment": "the guard same-deployment was violated",
		"wrong fix is-not-caught":           "the guard same-deployment was not violated, so it does not catch this; what does: web-ready",
		"wrong fix is-right":                "the check web-ready does not catch this: web-ready passes; nothing does",
		"wrong fix recreate-the-deployment": "",
		"every lab do-nothing":              "not tried: the state at hand-over is wrong already",
		"every lab delete-everything":       "",
		"every lab restart-everything":      "",
		"reset ":                            "the check always (task serve) holds before anything is done",
	}
	for _, c := range proof.Cases {
		part, known := want[string(c.Kind)+" "+c.Name]
		delete(want, string(c.Kind)+" "+c.Name)
		problems := strings.Join(c.Problems, "\n")
		switch {
		case !known:
			t.Errorf("unexpected case %s %s", c.Kind, c.Name)
		case c.OK != (part == "") || !strings.Contains(problems, part):
			t.Errorf("%s %s: ok %v, problems %q, want %q", c.Kind, c.Name, c.OK, problems, part)
		}
	}
	for name := range want {
		t.Errorf("%s was not tried", name)
	}
}

// TestProveNewClusterLab proves what an author begins with, in one of its variants.
func TestProveNewClusterLab(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel()
	lab, err := LoadLab(scaffold.FS(), "cluster")
	if err != nil {
		t.Fatal(err)
	}
	proof, err := Prove(t.Context(), lab, ProveOptions{
		Provider: realProvider(t, "newlabtest"), Variants: []string{"wrong-door"}, Idle: 15 * time.Second,
		Done: func(c Case) {
			t.Logf("%-10s %-28s ok=%-5v %5.1f s %q", c.Kind, c.Name, c.OK, c.Took.Seconds(), c.Problems)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !proof.OK || !strings.HasPrefix(proof.Kubernetes, "v1.") {
		t.Errorf("proven: %v, on Kubernetes %q", proof.OK, proof.Kubernetes)
	}
	for _, n := range proof.Needs {
		if !n.Needed() {
			t.Errorf("no wrong fix needs the %s %s; it catches %q", n.Kind, n.ID, n.Catches)
		}
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	data, err := fs.ReadFile(catalogue.FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestProveRefusesWhatIsNotSound(t *testing.T) {
	files := copyOf(t, "init-containers", map[string][]byte{"README.md": []byte("# Nothing to read\n")})
	lab, err := LoadLab(files, "init-containers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Prove(t.Context(), lab, ProveOptions{}); err == nil || !strings.Contains(err.Error(), "README.md has no heading") {
		t.Errorf("error %v", err)
	}
	lab, err = LoadLab(catalogue.FS(), "init-containers")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Prove(t.Context(), lab, ProveOptions{Variants: []string{"nobody-behnd"}})
	if err == nil || !strings.Contains(err.Error(), `did you mean "nobody-behind"?`) {
		t.Errorf("error %v", err)
	}
}
