package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// auditing is an audit log in a folder of the test's.
type auditing struct {
	t   *testing.T
	dir string
}

func (a auditing) write(name, text string) {
	a.t.Helper()
	f, err := os.OpenFile(filepath.Join(a.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		a.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		a.t.Fatal(err)
	}
}

// rotate does what the API server does when the file is full.
func (a auditing) rotate(stamp string) {
	a.t.Helper()
	if err := os.Rename(filepath.Join(a.dir, auditFile), filepath.Join(a.dir, "audit-"+stamp+".log")); err != nil {
		a.t.Fatal(err)
	}
}

func (a auditing) read(since string) (auditHead, string) {
	a.t.Helper()
	var out bytes.Buffer
	if err := readAudit(a.dir, since, &out); err != nil {
		a.t.Fatalf("read since %q: %v", since, err)
	}
	first, rest, _ := strings.Cut(out.String(), "\n")
	var head auditHead
	if err := json.Unmarshal([]byte(first), &head); err != nil {
		a.t.Fatalf("the first line is %q: %v", first, err)
	}
	return head, rest
}

func TestAuditLogIsReadOnceAndWhole(t *testing.T) {
	a := auditing{t, t.TempDir()}
	if head, lines := a.read(""); lines != "" || head.More || head.Lost {
		t.Errorf("an empty log: %+v %q", head, lines)
	}
	a.write(auditFile, "one\ntwo\nthr")
	head, lines := a.read("")
	if lines != "one\ntwo\n" || head.More || head.Lost {
		t.Errorf("whole lines only: %+v %q", head, lines)
	}
	a.write(auditFile, "ee\n")
	if head, lines = a.read(head.Cursor); lines != "three\n" {
		t.Errorf("goes on with %q", lines)
	}
	a.write(auditFile, "four\n")
	a.rotate("2026-01-01T00-00-00.000")
	a.write(auditFile, "five\n")
	a.rotate("2026-01-01T00-00-01.000")
	a.write(auditFile, "six\n")
	if head, lines = a.read(head.Cursor); lines != "four\nfive\nsix\n" || head.Lost {
		t.Errorf("across files: %+v %q", head, lines)
	}
	if again, lines := a.read(head.Cursor); lines != "" || again.Cursor != head.Cursor {
		t.Errorf("nothing new: %+v %q", again, lines)
	}
	end, lines := a.read(auditEnd)
	if lines != "" || end.Cursor != head.Cursor {
		t.Errorf("the end is %q with %q, want %q", end.Cursor, lines, head.Cursor)
	}
}

func TestAuditLogSaysWhatWasLost(t *testing.T) {
	a := auditing{t, t.TempDir()}
	a.write(auditFile, "one\n")
	head, _ := a.read("")
	a.rotate("2026-01-01T00-00-00.000")
	a.write(auditFile, "three\n")
	if err := os.Remove(filepath.Join(a.dir, "audit-2026-01-01T00-00-00.000.log")); err != nil {
		t.Fatal(err)
	}
	if head, lines := a.read(head.Cursor); lines != "three\n" || !head.Lost {
		t.Errorf("a file that was thrown away: %+v %q", head, lines)
	}
	for _, place := range []string{"x", "1", "1:x", "1:-1", "-1:1", "1:2:3", "../x"} {
		if err := readAudit(a.dir, place, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "is no place") {
			t.Errorf("place %q: %v", place, err)
		}
	}
}

func TestAuditLogComesInParts(t *testing.T) {
	a := auditing{t, t.TempDir()}
	var want strings.Builder
	for i := range 3 * auditPart / 1000 {
		fmt.Fprintf(&want, "%06d %s\n", i, strings.Repeat("x", 992))
	}
	a.write(auditFile, want.String())
	var got strings.Builder
	head, parts := auditHead{More: true}, 0
	for head.More {
		var lines string
		if head, lines = a.read(head.Cursor); len(lines) > auditPart {
			t.Fatalf("a part of %d bytes", len(lines))
		}
		got.WriteString(lines)
		if parts++; parts > 10 {
			t.Fatal("it does not come to an end")
		}
	}
	if got.String() != want.String() {
		t.Errorf("%d bytes came, want %d", got.Len(), want.Len())
	}
	// What is no line at all does not hold up what follows.
	a.write(auditFile, strings.Repeat("y", 2*auditPart)+"\nlast\n")
	for parts = 0; parts < 5 && !strings.HasSuffix(got.String(), "last\n"); parts++ {
		var lines string
		head, lines = a.read(head.Cursor)
		got.WriteString(lines)
	}
	if !strings.HasSuffix(got.String(), "last\n") {
		t.Error("a line without an end holds up the rest")
	}
}
