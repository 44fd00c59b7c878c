// Package sandbox starts, lists, resets, freezes and destroys the disposable
// places that labs run in, and runs things inside them.
//
// It owns the [Provider] interface and its conformance suite (sandboxtest).
// Callers see sandboxes by the id of the session they serve and never see the
// container engine. State is found on the engine by label, never trusted from
// memory, so that a crash of the server loses nothing.
//
// The package imports none of the other top-level packages.
package sandbox

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"
)

// Kind says what a sandbox is.
type Kind string

const (
	// Cluster is a real kind cluster with a terminal container beside it.
	Cluster Kind = "cluster"
	// Machine is a single Linux machine.
	Machine Kind = "machine"
)

// Access says what the learner's own credentials may do in a cluster.
type Access string

const (
	// AccessNamespace allows work in the namespaces the lab names, and reading what is around them.
	AccessNamespace Access = "namespace"
	// AccessCluster allows everything the Kubernetes API offers except leaving the node.
	AccessCluster Access = "cluster"
	// AccessNode allows everything, the node included; for trusted cohorts only.
	AccessNode Access = "node"
)

// Kinds of error that callers tell apart with errors.Is.
var (
	// ErrNotFound: no sandbox of this instance serves that session.
	ErrNotFound = errors.New("sandbox not found")
	// ErrEngine: the container engine does not answer.
	ErrEngine = errors.New("the container engine does not answer")
	// ErrNoImage: an image that the sandbox needs is not on the engine.
	ErrNoImage = errors.New("the image is missing")
	// ErrTooMuch: the command printed more than [Command.MaxPrinted], and was ended.
	ErrTooMuch = errors.New("the command printed too much, and was ended")
	// ErrShellGone: the terminal's shell ended or was lost with its container.
	ErrShellGone = errors.New("the shell has ended")
	// ErrTerminalTaken: another connection has attached to the terminal; the newest one has it.
	ErrTerminalTaken = errors.New("the terminal was opened from elsewhere")
)

// Spec is what a lab asks of a sandbox.
type Spec struct {
	// Session is the id of the session served: 4 to 20 of [a-z0-9], unique on
	// the instance. A spare and a template serve none: it is ignored.
	Session string
	Kind    Kind
	// Nodes is the number of cluster nodes; 0 means 1.
	Nodes  int
	Access Access
	// Namespaces are those the learner works in; the first is the default of the learner's kubectl.
	Namespaces []string
	Limits     Limits
	// Template names the state that Prepare makes: two specs with the same name
	// ask for the same. The provider may then prepare once and hand out copies;
	// it adds to the name what else goes into them, such as its image, and calls
	// that the template's id. Empty: prepare every sandbox anew.
	Template string
	// Prepare brings a fresh sandbox into the lab's state: it applies the setup.
	// id is what [Provider.Exec] and [Provider.KubeConfig] know the sandbox by
	// while it runs; it is a session's only when there is no template.
	Prepare func(ctx context.Context, id string, progress Progress) error
	// Ready waits until the sandbox is in the state that is handed over. It
	// runs after Prepare, and again in every copy.
	Ready func(ctx context.Context, id string, progress Progress) error
}

// Limits bound what one sandbox can take from the machine. A zero field means
// the provider's default.
type Limits struct {
	Memory int64   // bytes, for all containers of the sandbox together
	CPUs   float64 // cores
	PIDs   int64   // processes and threads
	Disk   int64   // bytes of what is written in the sandbox
}

// A Stage is one measured step of a longer operation, named for people.
type Stage struct {
	Name string        // such as "Start the node"
	Done bool          // false when it begins, true when it has ended
	Took time.Duration // set when Done
}

// Progress is told of stages as they begin and end. It must not block.
type Progress func(Stage)

// State is what a sandbox is doing.
type State string

const (
	Creating State = "creating"
	Running  State = "running"
	Frozen   State = "frozen"
	// Stopped: its containers exist but do not run, as after a restart of the machine; see [Provider.Recover].
	Stopped State = "stopped"
)

// Use says what a sandbox is there for.
type Use string

const (
	// Preparing: it is becoming a spare, a template or a session's sandbox.
	Preparing Use = "preparing"
	// Spare: it is ready, frozen, and serves nobody yet.
	Spare Use = "spare"
	// Serving: it is a session's.
	Serving Use = "serving"
	// Kept: it is what a session that has ended left; see [Provider.Keep].
	Kept Use = "kept"
	// Leaving: it is on its way out.
	Leaving Use = "leaving"
)

// OfSession reports whether a sandbox with this use answers to a session's id.
func (u Use) OfSession() bool { return u == Serving || u == Kept }

// Info describes one sandbox, read from the engine.
type Info struct {
	// ID is the sandbox's own: a session gets another one with every reset.
	ID       string
	Session  string // empty unless it is Serving or Kept
	Name     string // of the cluster, as kind's own tools list it
	Kind     Kind
	Use      Use
	State    State
	Template string // the id of the template that it is a copy of; empty for none
	Created  time.Time
}

// Template is a prepared state, kept to make copies of.
type Template struct {
	ID      string // the content address of everything that went into it
	Name    string // [Spec.Template]
	Kind    Kind
	Size    int64 // bytes on disk that nothing else needs
	Created time.Time
	Used    int // how many sandboxes are copies of it
}

// Resource is something of which a sandbox has only so much; see [Limits].
type Resource string

const (
	Memory    Resource = "memory"
	Processes Resource = "processes"
	Disk      Resource = "disk"
)

// Usage is what a sandbox takes from the machine at one moment, all its
// containers together.
type Usage struct {
	Memory  int64         // bytes: the working set, which is what cannot be reclaimed
	CPU     time.Duration // since it was started
	PIDs    int64         // processes and threads
	Disk    int64         // bytes written, of DiskMax; both 0 where that is not known
	DiskMax int64
	// Short is what one of its containers has less than a tenth left of, each once.
	Short []Resource
	// OutOfMemory: since it was started the kernel has ended one of its
	// processes for want of memory.
	OutOfMemory bool
}

// Known reports whether anything could be measured.
func (u Usage) Known() bool { return u.Memory != 0 || u.CPU != 0 || u.PIDs != 0 || u.DiskMax != 0 }

// Add puts what another container of the sandbox takes to what is known.
func (u *Usage) Add(more Usage) {
	u.Memory += more.Memory
	u.CPU += more.CPU
	u.PIDs += more.PIDs
	u.Disk += more.Disk
	u.DiskMax += more.DiskMax
	for _, r := range more.Short {
		u.add(r)
	}
	u.OutOfMemory = u.OutOfMemory || more.OutOfMemory
}

// Note puts r into Short if less than a tenth of most is left. A most of 0 is no limit.
func (u *Usage) Note(r Resource, used, most int64) {
	if most > 0 && used > most-most/10 {
		u.add(r)
	}
}

func (u *Usage) add(r Resource) {
	if !slices.Contains(u.Short, r) {
		u.Short = append(u.Short, r)
	}
}

// Where names the place in a sandbox that a command runs in.
type Where string

const (
	// InTerminal is where the learner works: an unprivileged terminal container
	// or, with [AccessNode], the node.
	InTerminal Where = "terminal"
	// OnNode is the cluster's control-plane node (root) or the machine itself.
	OnNode Where = "node"
)

// Command is a program to run in a sandbox. With Stdout it may run for as long
// as the sandbox does, and talk with its caller meanwhile: what is read from
// Stdin reaches it at once, and so does what it prints its caller. Over a freeze
// the conversation stands still; it goes on after the thaw.
type Command struct {
	Where Where
	Argv  []string
	Env   []string // KEY=value, added to the container's own
	// Stdin is read to its end, which is then the end of the command's input;
	// nil: none. It may be a pipe that stays open. Exec does not wait for a Read
	// that is under way when the command ends: the caller closes the pipe then.
	Stdin io.Reader
	// Stdout is written what the command prints, as it comes and however much it
	// is; nil: it is kept in [Result.Stdout]. A Write that fails ends the command,
	// and Exec returns its error. Calls come one at a time, none after Exec has returned.
	Stdout io.Writer
	// MaxOutput bounds what is kept of each of stdout and stderr, in bytes; 0 means 1 MiB.
	MaxOutput int
	// MaxPrinted bounds what is printed, in bytes of stdout and stderr together: with
	// more the command is ended, and Exec returns [ErrTooMuch]. 0: nothing does.
	MaxPrinted int64
}

// Result is what a finished command left.
type Result struct {
	ExitCode  int
	Stdout    []byte // empty with [Command.Stdout]
	Stderr    []byte
	Truncated bool // more was printed than MaxOutput
}

// Size of a terminal in character cells.
type Size struct{ Cols, Rows uint16 }

// TerminalSpec asks for one of the sandbox's terminals.
type TerminalSpec struct {
	// Tab names the terminal: 1 to 16 of [a-z0-9]. The shell is started on first use and lives until it exits.
	Tab  string
	Size Size
	// From is the absolute offset, in bytes of this shell's output, to read
	// from; what is no longer kept is left out.
	From int64
}

// Terminal is a connection to a shell that outlives it: Close detaches, the
// shell goes on, and a later [Provider.Terminal] with From set to the number
// of bytes seen so far continues without a gap, also after the server was
// killed. Read returns io.EOF once the shell has ended and its output is read.
type Terminal interface {
	io.ReadWriteCloser
	// Offset is the absolute offset of the first byte that Read returned or will return.
	Offset() int64
	Resize(Size) error
}

// Different is a [Provider] whose sandboxes are not all that their kind promises.
type Different interface {
	// Differences says in whole sentences what a learner finds otherwise.
	Differences() []string
}

// Provider is a kind of sandbox. All methods are safe for concurrent use. An
// unknown session is ErrNotFound, a dead engine ErrEngine (wrapped).
type Provider interface {
	Kind() Kind
	// Create makes a session's sandbox and returns when the learner can be let
	// in. It takes a spare of the same template if there is one; else it makes
	// a copy of the template, which it makes first if need be. When it fails or
	// ctx ends, what it made is removed, except for the template.
	Create(ctx context.Context, spec Spec, progress Progress) (Info, error)
	// Reset gives the session a fresh sandbox in the same way. The old one
	// serves until then and is removed behind it; when Reset fails, it stays.
	Reset(ctx context.Context, spec Spec, progress Progress) (Info, error)
	// Keep ends the service of a session's sandbox: it is frozen as it is, and
	// Kept until Destroy. It goes on to answer to the session's id, so that it can
	// be thawed, looked at and frozen again. Keeping what is kept freezes it.
	Keep(ctx context.Context, session string) error
	// Destroy removes everything the session's sandbox has. Destroying what is not there is no error.
	Destroy(ctx context.Context, session string) error
	// List returns the sandboxes of this instance, found on the engine by label.
	List(ctx context.Context) ([]Info, error)
	Get(ctx context.Context, session string) (Info, error)
	// Freeze stops all processes where they are; Thaw lets them go on.
	Freeze(ctx context.Context, session string) error
	Thaw(ctx context.Context, session string) error
	// Recover starts a Stopped sandbox again and waits until it answers.
	Recover(ctx context.Context, session string) error
	// Exec runs a command and waits for it. A non-zero exit is a Result, not an
	// error. When ctx ends first, Exec returns soon with its cause; the command's
	// input ends, and its processes are killed, unless the sandbox is frozen.
	Exec(ctx context.Context, session string, cmd Command) (Result, error)
	// Terminal attaches to a shell where the learner works.
	Terminal(ctx context.Context, session string, spec TerminalSpec) (Terminal, error)
	// CloseTerminal ends a shell.
	CloseTerminal(ctx context.Context, session, tab string) error
	// KubeConfig returns an administrator's kubeconfig for the cluster that
	// works from where the server runs. It never enters the sandbox.
	KubeConfig(ctx context.Context, session string) ([]byte, error)

	// TemplateID is the id of the template that spec asks for, whether it is
	// there or not; empty where the provider makes none for it.
	TemplateID(ctx context.Context, spec Spec) (string, error)
	// MakeTemplate makes the template that spec asks for, unless it is there.
	MakeTemplate(ctx context.Context, spec Spec, progress Progress) (Template, error)
	// Templates returns the templates of this instance.
	Templates(ctx context.Context) ([]Template, error)
	// RemoveTemplate removes a template; one that is not there is no error. It
	// fails while there are copies of it.
	RemoveTemplate(ctx context.Context, id string) error
	// Spare makes a sandbox that serves nobody yet and freezes it, for a later
	// Create or Reset with the same template.
	Spare(ctx context.Context, spec Spec, progress Progress) (Info, error)
	// Discard removes a sandbox by its own id, whatever its use. One that is
	// not there is no error.
	Discard(ctx context.Context, id string) error
	// Sweep removes what nothing needs: sandboxes that are leaving, and those
	// that nobody is preparing any more because the process that was has died.
	Sweep(ctx context.Context) error
	// Usage measures sandboxes by their own ids; those that have gone are left out.
	Usage(ctx context.Context, ids ...string) (map[string]Usage, error)
	// Close waits until what is being removed behind a Reset has gone, or ctx ends.
	Close(ctx context.Context) error
}
