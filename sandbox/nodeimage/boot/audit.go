package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// auditDir is where the API server writes its audit log; see package kind.
	auditDir = "/kind/audit"
	// auditFile is the file that it writes now; those before it are
	// audit-TIME.log, whose names sort as their times do.
	auditFile = "audit.log"
	auditOld  = "audit-*.log"
	// auditPart bounds what one call prints of the log: a call for each part
	// costs less than a part that does not fit.
	auditPart = 1 << 20
	// auditEnd asks for the end of the log as it is now.
	auditEnd = "end"
)

// auditHead is the first line of what is printed.
type auditHead struct {
	// Cursor is where the next call goes on.
	Cursor string `json:"cursor"`
	// More says that there is more to read by now.
	More bool `json:"more,omitempty"`
	// Lost says that what followed the caller's cursor was thrown away before it was read.
	Lost bool `json:"lost,omitempty"`
}

// auditPlace is a place in the log: a file, by its number on the disk, which
// stays when it is renamed, and an offset in it.
type auditPlace struct {
	inode  uint64
	offset int64
}

func (p auditPlace) String() string { return fmt.Sprintf("%d:%d", p.inode, p.offset) }

func parsePlace(text string) (p auditPlace, err error) {
	inode, offset, ok := strings.Cut(text, ":")
	if ok {
		p.inode, err = strconv.ParseUint(inode, 10, 64)
	}
	if ok && err == nil {
		p.offset, err = strconv.ParseInt(offset, 10, 64)
	}
	if !ok || err != nil || p.offset < 0 {
		return p, fmt.Errorf("%q is no place in the audit log: it is as an earlier call printed it, %q, or nothing for the beginning", text, auditEnd)
	}
	return p, nil
}

// auditLog is one file of the log.
type auditLog struct {
	path  string
	inode uint64
	size  int64
}

// auditLogs lists the files, the oldest first. None is no error: nobody has
// asked for anything yet.
func auditLogs(dir string) ([]auditLog, error) {
	paths, err := filepath.Glob(filepath.Join(dir, auditOld)) // sorted
	if err != nil {
		return nil, err
	}
	var logs []auditLog
	for _, path := range append(paths, filepath.Join(dir, auditFile)) {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file", path)
		}
		logs = append(logs, auditLog{path, stat.Ino, info.Size()})
	}
	return logs, nil
}

// readAudit prints what was written to the log since a place, whole lines
// only, and before them where to go on.
func readAudit(dir, since string, w io.Writer) error {
	logs, err := auditLogs(dir)
	if err != nil {
		return err
	}
	var from auditPlace
	if since == auditEnd {
		if len(logs) > 0 {
			last := logs[len(logs)-1]
			from = auditPlace{last.inode, last.size}
		}
		return printAudit(w, auditHead{Cursor: from.String()}, nil)
	}
	if since != "" {
		if from, err = parsePlace(since); err != nil {
			return err
		}
	}
	logs, lost := logsFrom(logs, from)
	head := auditHead{Lost: lost}
	var lines []byte
	for _, log := range logs {
		if log.inode != from.inode {
			from = auditPlace{inode: log.inode}
		}
		room := auditPart - int64(len(lines))
		part, err := readLines(log.path, from.offset, room)
		if err != nil {
			return err
		}
		lines = append(lines, part...)
		if head.More = log.size-from.offset > room; head.More && len(lines) == 0 {
			from.offset += room // one line that fills a part is none of the API server's
			break
		}
		from.offset += int64(len(part))
		if head.More {
			break
		}
	}
	head.Cursor = from.String()
	return printAudit(w, head, lines)
}

// logsFrom leaves out what lies before a place. lost is true when the place is
// no longer there.
func logsFrom(logs []auditLog, from auditPlace) (rest []auditLog, lost bool) {
	for i, log := range logs {
		if log.inode == from.inode && log.size >= from.offset {
			return logs[i:], false
		}
	}
	return logs, from.inode != 0
}

// readLines reads whole lines from an offset, limit bytes at most. The last one
// may be in the writing.
func readLines(path string, offset, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, err := io.ReadAll(io.NewSectionReader(f, offset, max(0, limit)))
	if err != nil {
		return nil, err
	}
	return lines[:bytes.LastIndexByte(lines, '\n')+1], nil
}

func printAudit(w io.Writer, head auditHead, lines []byte) error {
	line, err := json.Marshal(head)
	if err != nil {
		return err
	}
	_, err = w.Write(append(append(line, '\n'), lines...))
	return err
}
