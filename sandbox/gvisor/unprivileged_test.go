package gvisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"drydock/sandbox"
	"drydock/sandbox/image"
	"drydock/sandbox/sandboxtest"
)

const (
	// nobodyRole in the environment makes TestNobody the one who has no rights;
	// its value is the directory that this user owns.
	nobodyRole = "DRYDOCK_GVISOR_TEST_NOBODY"
	// nobodyID is nobody's, and has no ranges of user ids to give away.
	nobodyID = 54321
)

// TestNobody runs the conformance suite as a user without any right, with
// files that this user has unpacked, and without a way to gain rights.
func TestNobody(t *testing.T) {
	if dir := os.Getenv(nobodyRole); dir != "" {
		if _, err := image.ImportMachineRoot(t.Context(), filepath.Join(dir, "machines"), filepath.Join(dir, "machine.tar.gz")); err != nil {
			t.Fatal(err)
		}
		newProvider := func(t *testing.T) sandbox.Provider {
			p, err := New(Config{Instance: testInstance, Machines: filepath.Join(dir, "machines"), StateDir: filepath.Join(dir, "state")})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p := newProvider(t).(*Provider)
		if p.Durable() || p.Bounded() {
			t.Fatal("nobody has rights")
		}
		sandboxtest.Test(t, newProvider, host{p})
		return
	}
	p := newTestProvider(t, stateDir(t), false)
	if os.Geteuid() != 0 {
		t.Fatal("the test needs the rights of root, to give them up")
	}
	dir := stateDir(t)
	if err := os.Chown(dir, nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	asNobody := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "setpriv", append([]string{"--no-new-privs", "--bounding-set=-all", "--", name}, args...)...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir, "TMPDIR=" + dir, nobodyRole + "=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
		return cmd
	}
	if _, err := image.ExportMachineRoot(t.Context(), p.cfg.Machines, filepath.Join(dir, "machine.tar.gz")); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "test")
	if out, err := exec.Command("cp", os.Args[0], self).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{"-test.run=^TestNobody$", "-test.v"}
	out, err := asNobody(self, args...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNobody/Destroy") {
		t.Errorf("as nobody: %v", err)
	}
}
