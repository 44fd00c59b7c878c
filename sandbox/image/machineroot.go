package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"drydock/sandbox/machine/boot"
)

// MachineRoot is what machine labs need where there is no container engine:
// gVisor's runsc and the machine's root file system, unpacked, in a directory.
type MachineRoot struct {
	Dir      string    `json:"dir"`
	Recipe   string    `json:"recipe"`
	Contract string    `json:"contract"`
	GVisor   string    `json:"gvisor"` // its version
	Made     time.Time `json:"made"`
}

// What is in the directory of the machine roots. A root has the first part of
// its recipe's hash for a name.
const (
	currentRoot = "current" // a symbolic link to the newest
	rootFile    = "machine.json"
	usersDir    = "users" // a file for each sandbox that is made of this root
	// ownersFile holds the files that do not belong to root, where one who is
	// not root has unpacked the others and could not give them away.
	ownersFile = "owners.tar"
	// onDisk keeps /tmp from being empty: over an empty one gVisor mounts a
	// file system in memory, which would count as the machine's.
	onDisk = "tmp/.on-disk"
	// MachineInit is the program that is a machine's first process.
	MachineInit = "/usr/local/lib/drydock/init"
)

// MachineDir returns the directory of the machine roots: one below the user's cache directory.
func MachineDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the machines' files: %w", err)
	}
	return filepath.Join(dir, "drydock", "machines"), nil
}

// ReadMachineRoot returns the newest machine root in a directory. An error that
// is ErrMissing says what to run.
func ReadMachineRoot(machines string) (MachineRoot, error) {
	var r MachineRoot
	dir, err := filepath.EvalSymlinks(filepath.Join(machines, currentRoot))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("what machines without a container engine are made of is not there: run \"drydock image build --no-engine\": %w", ErrMissing)
	}
	if err != nil {
		return r, fmt.Errorf("looking for the machines' files: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("looking for the machines' files: %w", err)
	}
	r.Dir = dir
	if r.Contract != Contract {
		return r, fmt.Errorf("what machines without a container engine are made of was not built for this version of Drydock: "+
			"run \"drydock image build --no-engine\": %w", ErrMissing)
	}
	return r, nil
}

// CurrentMachineRoot returns the directory of the newest machine root, with
// "runsc" and "rootfs" in it.
func CurrentMachineRoot(machines string) (string, error) {
	r, err := ReadMachineRoot(machines)
	return r.Dir, err
}

// UseMachineRoot says that the sandbox with this name, whose files are in dir,
// is made of a machine root, which then is not removed when there are newer
// ones. Where the root is another user's nothing is said: that user's builds
// keep the last two.
func UseMachineRoot(root, name, dir string) error {
	err := os.WriteFile(filepath.Join(root, usersDir, name), []byte(dir), 0o644)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}

// LeaveMachineRoot takes that back.
func LeaveMachineRoot(root, name string) {
	_ = os.Remove(filepath.Join(root, usersDir, name)) // one that stays does no harm once the sandbox's directory has gone
}

// BuildMachineRoot makes the machine root of a checkout's recipe in a directory,
// unless it is there. It needs no container engine.
func BuildMachineRoot(ctx context.Context, machines string, opts Options) (MachineRoot, error) {
	src, err := openSource(opts.Source)
	if err != nil {
		return MachineRoot{}, err
	}
	if machines, err = filepath.Abs(machines); err != nil {
		return MachineRoot{}, err
	}
	if err := opts.complete(); err != nil {
		return MachineRoot{}, err
	}
	const buildStages = 3
	b := &builder{
		stages: &stages{cache: opts.Cache, report: opts.Report, log: opts.Log, total: buildStages},
		src:    src, bin: map[string]string{}, roots: map[string]string{},
	}
	hash, err := src.machineRootHash(ctx)
	if err != nil {
		return MachineRoot{}, err
	}
	for _, t := range []task{b.compile(src.recipe.Runsc), b.rootfs(Machine), func(ctx context.Context) error {
		return b.unpackMachine(ctx, machines, hash, opts.Force)
	}} {
		if err := t(ctx); err != nil {
			if ctx.Err() != nil {
				return MachineRoot{}, context.Cause(ctx)
			}
			return MachineRoot{}, err
		}
	}
	return ReadMachineRoot(machines)
}

// machineRootHash is the hash of everything that goes into a machine root.
func (s *source) machineRootHash(ctx context.Context) (string, error) {
	r, c := s.recipe.Rootfs[Machine], s.recipe.Runsc
	h := newKey(runtime.GOARCH, s.recipe.Contract, s.recipe.Debian, r.Variant, strings.Join(r.Packages, " "), strings.Join(unwantedPaths, " "), c.LDFlags, c.Tags)
	for _, name := range []string{"machineroot.go", "tree.go"} {
		if err := h.file(filepath.Join(s.dir, "sandbox", "image", name), name); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "init"} {
		if err := h.file(s.path(c.Dir, name), name); err != nil {
			return "", err
		}
	}
	err := errors.Join(h.tree(s.path("machine")), h.programs(ctx, s.dir, shellMain, machineMain, probeMain))
	return h.sum(), err
}

// unpackMachine makes the directory and the link to it.
func (b *builder) unpackMachine(ctx context.Context, machines, hash string, force bool) error {
	return b.step("Unpack the machine", func() (bool, error) {
		if r, err := ReadMachineRoot(machines); err == nil && r.Recipe == hash && !force {
			return true, nil
		}
		if err := os.MkdirAll(machines, 0o755); err != nil {
			return false, err
		}
		work, err := os.MkdirTemp(machines, ".unfinished-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(work)
		if err := b.fillMachineRoot(ctx, work, hash); err != nil {
			return false, err
		}
		return false, installMachineRoot(machines, work, hash)
	})
}

// installMachineRoot makes a finished directory the newest machine root.
func installMachineRoot(machines, work, hash string) error {
	// A forced build of the same recipe must not take away what sandboxes are made of.
	dir, err := freeName(filepath.Join(machines, hash[:hashLength]))
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(work, 0o755), os.Rename(work, dir)); err != nil {
		return err
	}
	previous, err := filepath.EvalSymlinks(filepath.Join(machines, currentRoot))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	link := work + "-link"
	if err := os.Symlink(filepath.Base(dir), link); err != nil {
		return err
	}
	if err := os.Rename(link, filepath.Join(machines, currentRoot)); err != nil {
		return err
	}
	return forgetMachineRoots(machines, dir, previous)
}

// freeName returns a path that nothing has, the wanted one if possible.
func freeName(path string) (string, error) {
	for n := 1; ; n++ {
		name := path
		if n > 1 {
			name = fmt.Sprintf("%s-%d", path, n)
		}
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

func (b *builder) fillMachineRoot(ctx context.Context, dir, hash string) error {
	programs, err := b.machinePrograms(ctx)
	if err != nil {
		return err
	}
	v, err := b.version(ctx, b.src.recipe.Runsc)
	if err != nil {
		return err
	}
	if err := copyProgram(b.bin["runsc"], filepath.Join(dir, "runsc")); err != nil {
		return err
	}
	for _, name := range []string{usersDir, "rootfs"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	read, write := io.Pipe()
	go func() {
		t := newTree(write)
		write.CloseWithError(errors.Join(b.machineRootFiles(t, programs), t.close()))
	}()
	err = unpackRootfs(ctx, dir, tar.NewReader(read))
	read.CloseWithError(err)
	if err != nil {
		return err
	}
	text, err := json.Marshal(MachineRoot{Recipe: hash, Contract: Contract, GVisor: v, Made: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, rootFile), text, 0o644)
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// machineRootFiles are the machine image's without what only a container needs.
func (b *builder) machineRootFiles(t *tree, programs map[string]string) error {
	if err := t.files(b.src.path("machine", "files"), func(string) fs.FileMode { return 0o644 }); err != nil {
		return err
	}
	if err := t.programs(programs); err != nil {
		return err
	}
	if err := t.file(strings.TrimPrefix(MachineInit, "/"), b.src.path(b.src.recipe.Runsc.Dir, "init"), 0o755); err != nil {
		return err
	}
	if err := t.dir(strings.TrimPrefix(boot.LearnerHome, "/"), 0o750, boot.LearnerID); err != nil {
		return err
	}
	t.dropSetID = true
	err := t.base(b.roots[Machine], func(name string) bool {
		return !strings.HasPrefix(name, "etc/skel/") && !strings.HasPrefix(name, "dev/") && name != "etc/machine-id" && name != "etc/mtab"
	})
	if err != nil {
		return err
	}
	return t.text(onDisk, "", 0o444)
}

// forgetMachineRoots removes the roots that nothing is made of, but the newest two.
func forgetMachineRoots(machines string, keep ...string) error {
	found, err := filepath.Glob(filepath.Join(machines, strings.Repeat("[0-9a-f]", hashLength)+"*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		used, err := hasUsers(dir)
		if err != nil {
			return err
		}
		if used || dir == keep[0] || dir == keep[1] {
			continue
		}
		// First the name: nobody starts to use half of it.
		gone := filepath.Join(machines, ".unfinished-"+filepath.Base(dir))
		if err := errors.Join(os.Rename(dir, gone), removeTree(gone)); err != nil {
			return fmt.Errorf("removing the machines' older files: %w", err)
		}
	}
	return nil
}

// removeTree removes a directory whose directories may be closed to their owner.
func removeTree(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}

// hasUsers says whether a sandbox that is made of a root is still there.
func hasUsers(root string) (bool, error) {
	users, err := os.ReadDir(filepath.Join(root, usersDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, u := range users {
		dir, err := os.ReadFile(filepath.Join(root, usersDir, u.Name()))
		if err != nil {
			continue // it has gone
		}
		if _, err := os.Stat(string(dir)); err == nil {
			return true, nil
		}
	}
	return false, nil
}
