package dock

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"

	"drydock/sandbox"
)

// Labels of whatever the engine has of a sandbox. They never change.
const (
	LabelInstance = "drydock.instance"
	LabelKind     = "drydock.kind"
	LabelRole     = "drydock.role"
	LabelSandbox  = "drydock.sandbox"  // [sandbox.Info.ID]
	LabelTemplate = "drydock.template" // the id of the template that it is a copy of
)

var (
	instanceName = regexp.MustCompile(`^[a-z0-9]{1,16}$`) // a cluster node's host name has room for no more
	sessionName  = regexp.MustCompile(`^[a-z0-9]{4,20}$`)
)

// CheckInstance says what is wrong with the name of an instance.
func CheckInstance(name string) error {
	if !instanceName.MatchString(name) {
		return fmt.Errorf("instance name %q: it must be 1 to 16 of a to z and 0 to 9", name)
	}
	return nil
}

// CheckID says what is wrong with the id of a session or a sandbox.
func CheckID(id string) error {
	if !sessionName.MatchString(id) {
		return fmt.Errorf("id %q: it must be 4 to 20 of a to z and 0 to 9", id)
	}
	return nil
}

// idLength in base-32 characters makes 60 random bits.
const idLength = 12

// NewID returns the id of a new sandbox.
func NewID() string { return strings.ToLower(rand.Text()[:idLength]) }

// Names are those of the containers, one a sandbox, that say in their names
// what the sandbox is there for. The engine renames a container in one step, so
// that a crash leaves either the one or the other.
type Names struct {
	Instance string
	Role     string // such as terminal
}

// The ends of a name.
const (
	EndPreparing = "preparing"
	EndSpare     = "spare"
	EndLeaving   = "leaving"
	endServing   = "for-"  // a session and a number follow
	endKept      = "kept-" // the same
)

// Assignment says whom a sandbox serves. Of several that are named for a
// session, the one with the highest number serves it.
type Assignment struct {
	Session string
	Number  int
}

// End is the end of the name.
func (a Assignment) End() string { return fmt.Sprintf("%s%s-%d", endServing, a.Session, a.Number) }

// KeptEnd is the end of the name once the session has ended.
func (a Assignment) KeptEnd() string { return endKept + strings.TrimPrefix(a.End(), endServing) }

// Base is what the name of every part of a sandbox begins with.
func (n Names) Base(id string) string { return "drydock-" + n.Instance + "-" + id }

// Of is the name of a sandbox's container with the end given.
func (n Names) Of(id, end string) string { return n.Base(id) + "-" + n.Role + "-" + end }

// Use reads a container's name. One that somebody changed by hand makes the
// sandbox one that leaves: nobody finds it any more.
func (n Names) Use(c container.Summary) (sandbox.Use, Assignment) {
	for _, name := range c.Names {
		if end, ok := strings.CutPrefix(name, "/"+n.Of(c.Labels[LabelSandbox], "")); ok {
			return use(end)
		}
	}
	return sandbox.Leaving, Assignment{}
}

func use(end string) (sandbox.Use, Assignment) {
	switch end {
	case EndPreparing:
		return sandbox.Preparing, Assignment{}
	case EndSpare:
		return sandbox.Spare, Assignment{}
	}
	of := sandbox.Serving
	rest, ok := strings.CutPrefix(end, endServing)
	if !ok {
		of = sandbox.Kept
		rest, ok = strings.CutPrefix(end, endKept)
	}
	session, number, cut := strings.Cut(rest, "-")
	n, err := strconv.Atoi(number)
	if !ok || !cut || err != nil {
		return sandbox.Leaving, Assignment{}
	}
	return of, Assignment{session, n}
}

// SessionFilter is the engine's name filter for the containers that serve a
// session, or are kept of it.
func (n Names) SessionFilter(session string) string {
	return fmt.Sprintf("^/%s[a-z0-9]+-%s-(%s|%s)%s-[0-9]+$",
		regexp.QuoteMeta(n.Base("")), n.Role, endServing, endKept, regexp.QuoteMeta(session))
}
