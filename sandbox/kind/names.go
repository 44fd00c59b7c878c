package kind

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"drydock/sandbox"
)

// names are those of the parts of one sandbox.
type names struct {
	cluster string // of the kind cluster and of the network
	node    string
	// terminal is the beginning of the terminal's name. Its end says what the
	// sandbox is there for. The engine renames a container in one step, so that
	// a crash leaves either the one or the other.
	terminal string
}

func (p *Provider) names(id string) names {
	cluster := "drydock-" + p.cfg.Instance + "-" + id
	return names{
		cluster:  cluster,
		node:     cluster + "-control-plane", // as kind names it
		terminal: cluster + "-terminal-",
	}
}

// Ends of a terminal's name.
const (
	endPreparing = "preparing"
	endSpare     = "spare"
	endLeaving   = "leaving"
	endServing   = "for-" // a session and a number follow
)

// assignment says whom a sandbox serves. A session's latest has the highest number.
type assignment struct {
	session string
	number  int
}

func (a assignment) end() string { return fmt.Sprintf("%s%s-%d", endServing, a.session, a.number) }

// terminalUse reads the end of a terminal's name.
func terminalUse(end string) (sandbox.Use, assignment) {
	switch end {
	case endPreparing:
		return sandbox.Preparing, assignment{}
	case endSpare:
		return sandbox.Spare, assignment{}
	case endLeaving:
		return sandbox.Leaving, assignment{}
	}
	session, number, ok := strings.Cut(strings.TrimPrefix(end, endServing), "-")
	n, err := strconv.Atoi(number)
	if !strings.HasPrefix(end, endServing) || !ok || err != nil {
		return sandbox.Leaving, assignment{} // somebody renamed it by hand: nobody finds it any more
	}
	return sandbox.Serving, assignment{session, n}
}

// servingFilter is the engine's name filter for the terminals of a session.
func (p *Provider) servingFilter(session string) string {
	return fmt.Sprintf("^/drydock-%s-[a-z0-9]+-terminal-%s%s-[0-9]+$",
		regexp.QuoteMeta(p.cfg.Instance), endServing, regexp.QuoteMeta(session))
}

// idLength in base-32 characters makes 60 random bits.
const idLength = 12

// newID returns the id of a new sandbox.
func newID() string { return strings.ToLower(rand.Text()[:idLength]) }
