package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// auditProgram is on the node of every cluster. It prints what the API server
// has written down of the learner's requests, a JSON object a line.
const auditProgram = "/usr/local/bin/drydock-boot"

// maxAudit bounds one part of an audit log, in bytes: the program prints at
// most a mebibyte, after a line of its own.
const maxAudit = 1<<20 + 4<<10

// AuditCommand reads a part of a cluster's audit log: what followed the place
// that an earlier part ended at, or from the beginning when since is empty.
// [ParseAudit] reads its output.
func AuditCommand(since string) Command {
	argv := []string{auditProgram, "audit"}
	if since != "" {
		argv = append(argv, since)
	}
	return Command{Where: OnNode, Argv: argv, MaxOutput: maxAudit}
}

// AuditPart is a part of an audit log.
type AuditPart struct {
	Next  string // where the next part begins
	More  bool   // there is more by now
	Lost  bool   // what came before it was thrown away before anybody read it, or is too long to read
	Lines []byte // a JSON object a line
}

// ParseAudit reads what [AuditCommand] has left.
func ParseAudit(r Result) (AuditPart, error) {
	if r.ExitCode != 0 {
		return AuditPart{}, fmt.Errorf("read the audit log: exit code %d: %.200s", r.ExitCode, bytes.TrimSpace(r.Stderr))
	}
	head, lines, _ := bytes.Cut(r.Stdout, []byte("\n"))
	var part struct {
		Cursor     string
		More, Lost bool
	}
	if err := json.Unmarshal(head, &part); err != nil || part.Cursor == "" {
		return AuditPart{}, fmt.Errorf("read the audit log: it begins with %.80q", head)
	}
	// A line that is longer than a part is skipped, which leaves the part empty.
	skipped := part.More && len(lines) == 0
	return AuditPart{Next: part.Cursor, More: part.More, Lost: part.Lost || skipped, Lines: lines}, nil
}
