package grade

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"drydock/sandbox"
)

//go:embed file.sh
var fileScript string

// maxFile is kept of a file's beginning.
const maxFile = 64 << 10

func (f *File) sees() subject          { return fileSeen }
func (f *File) needs() means           { return throughExec }
func (f *File) period() time.Duration  { return orDefault(f.Every, defaultExecEvery) }
func (f *File) name() string           { return f.Path }
func (f *File) source(p *place) source { return &files{place: p, file: *f} }

func (f *File) fill(replace func(string) string) { f.Path = replace(f.Path) }

func (f *File) problems(add report) {
	places := []string{onNode, onTerminal}
	switch {
	case !slices.Contains(places, f.On):
		add("file: on is %q%s", f.On, didYouMeanOr(f.On, places))
	case !path.IsAbs(exampleOf(f.Path)) || strings.ContainsRune(f.Path, 0):
		add("file: the path %q must begin with a slash", f.Path)
	}
	add.every("file", f.Every)
}

// files is the source of a file check.
type files struct {
	*place
	file File
}

func (f *files) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	for ctx.Err() == nil {
		seen, err := f.look(ctx)
		if ctx.Err() != nil {
			return
		}
		report(seen, err)
		pause(ctx, f.file.period(), again)
	}
}

// sha256Line is a hash; of a file that is too big to be hashed there is none.
var sha256Line = regexp.MustCompile(`^[0-9a-f]{64}$`)

// exitUnreadable is the script's code for a file that may not be looked at.
const exitUnreadable = 77

func (f *files) look(ctx context.Context) (data, error) {
	release, err := f.slot(ctx)
	if err != nil {
		return data{}, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, execTimeout+execGrace)
	defer cancel()
	where := sandbox.InTerminal
	if f.file.On == onNode {
		where = sandbox.OnNode
	}
	res, err := f.run(ctx, sandbox.Command{
		Where: where, Argv: []string{"timeout", "-k", "1", strconv.Itoa(int(execTimeout.Seconds())), "sh", "-s", "--", f.file.Path, strconv.Itoa(maxFile)},
		Stdin: strings.NewReader(fileScript), MaxOutput: 2 * maxFile,
	})
	switch {
	case err != nil:
		return data{}, err
	case res.ExitCode == exitUnreadable:
		return data{File: &fileState{Error: excerpt(strings.TrimSpace(string(res.Stderr)))}}, nil
	case res.ExitCode != 0:
		return data{}, &blindness{cannotRun, fmt.Errorf("look at %s: exit code %d: %s", f.file.Path, res.ExitCode, excerpt(string(res.Stderr)))}
	}
	state, err := parseFile(res.Stdout)
	if err != nil {
		return data{}, &blindness{cannotRun, fmt.Errorf("look at %s: %w", f.file.Path, err)}
	}
	return data{File: state}, nil
}

// fileState is what a file is at one moment.
type fileState struct {
	Exists   bool   `json:"exists"`
	Kind     string `json:"kind,omitempty"` // file, directory, link or other
	Size     int64  `json:"size"`
	Mode     string `json:"mode,omitempty"` // four octal digits
	Owner    string `json:"owner,omitempty"`
	Group    string `json:"group,omitempty"`
	Modified string `json:"modified,omitempty"` // RFC 3339
	Text     string `json:"text,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
	Target   string `json:"target,omitempty"` // of a link
	Error    string `json:"error,omitempty"`  // why it could not be read
}

// kindsOfFile are stat's words for them, in the C locale.
var kindsOfFile = map[string]string{"regular file": "file", "regular empty file": "file", "directory": "directory", "symbolic link": "link"}

// parseFile reads what file.sh prints. Of the machine's root and of who reads
// it as the learner, the names of owners and the content are the learner's words.
func parseFile(out []byte) (*fileState, error) {
	head, rest, _ := bytes.Cut(out, []byte("\n"))
	if string(head) == "none" {
		return &fileState{}, nil
	}
	about := strings.Split(string(head), "|")
	if len(about) != 6 {
		return nil, fmt.Errorf("the answer begins with %.80q", head)
	}
	size, err := strconv.ParseInt(about[1], 10, 64)
	mode, modeErr := strconv.ParseUint(about[2], 8, 16)
	changed, changedErr := strconv.ParseInt(about[5], 10, 64)
	if err != nil || modeErr != nil || changedErr != nil {
		return nil, fmt.Errorf("the answer begins with %.80q", head)
	}
	state := &fileState{
		Exists: true, Kind: "other", Size: size, Mode: fmt.Sprintf("%04o", mode), Owner: about[3], Group: about[4],
		Modified: time.Unix(changed, 0).UTC().Format(time.RFC3339),
	}
	if kind, ok := kindsOfFile[about[0]]; ok {
		state.Kind = kind
	}
	second, content, _ := bytes.Cut(rest, []byte("\n"))
	switch state.Kind {
	case "file":
		if len(second) > 0 && !sha256Line.Match(second) {
			return nil, fmt.Errorf("in the place of a hash stands %.80q", second)
		}
		state.SHA256, state.Text = string(second), string(content)
	case "link":
		state.Target = string(second)
	}
	return state, nil
}

func (f *fileState) value() map[string]any {
	return map[string]any{
		"exists": f.Exists, "kind": f.Kind, "size": f.Size, "mode": f.Mode, "owner": f.Owner, "group": f.Group,
		"modified": f.Modified, "text": f.Text, "sha256": f.SHA256, "target": f.Target, "error": f.Error,
	}
}
