// Package prove runs the code of articles as their readers would, in real
// sandboxes, and finds what does not do as the text says.
//
// An article is gone through from top to bottom: what is said to be a file's
// content is put there; commands are typed line by line into a terminal of the
// sandbox, whose state they share; what they print and how they end is compared
// with the text; what looks like an object of Kubernetes is shown to a real API
// server. The words of package content say where and how. Nothing is left out
// in silence: code of which nobody says why it is not run is a problem.
package prove

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"drydock/content"
	"drydock/sandbox"
)

const (
	// lineLimit is how long one line's commands may take.
	lineLimit = 2 * time.Minute
	// untilLimit is how long a block is run again, and untilPause the pause between.
	untilLimit = time.Minute
	untilPause = time.Second
	// home is the learner's, in all sandboxes that have one; elsewhere a command begins in the right place.
	home = "/home/learner"
	// removeTimeout bounds the removal of a sandbox.
	removeTimeout = time.Minute
)

// Result is what became of one block.
type Result struct {
	File    string        `json:"file"`              // the article's, below the folder of tracks
	Line    int           `json:"line"`              // of the block, or of its output when that lies
	Problem string        `json:"problem,omitempty"` // empty: it does as the text says
	Printed string        `json:"printed,omitempty"` // what its commands printed, where there is a problem
	Took    time.Duration `json:"took"`              // in nanoseconds
}

// Options of [Article].
type Options struct {
	// Provider makes the sandboxes, of both kinds if need be.
	Provider sandbox.Provider
	// Done, unless nil, is told of each block.
	Done func(Result)
	// Stage, unless nil, is told how far a sandbox is.
	Stage sandbox.Progress
}

// Article runs the blocks of an article and returns what became of those that
// are run, or should be. The error is about anything else, such as an engine
// that does not answer. Whatever it made is removed.
func Article(ctx context.Context, a *content.Article, o Options) (results []Result, err error) {
	r := &reader{article: a, options: o, places: map[string]*place{}}
	defer func() { err = errors.Join(err, r.close(ctx)) }()
	for _, b := range a.Blocks {
		began := time.Now()
		result, tried, err := r.block(ctx, b)
		if err != nil {
			return results, fmt.Errorf("%s:%d: %w", r.file(), b.Line, err)
		}
		if !tried {
			continue
		}
		result.Took = time.Since(began)
		results = append(results, result)
		if o.Done != nil {
			o.Done(result)
		}
	}
	return results, nil
}

// reader goes through an article.
type reader struct {
	article *content.Article
	options Options
	places  map[string]*place
	files   []content.Block // that were shown so far
}

// place is a sandbox with its shells.
type place struct {
	session string
	shells  map[string]*shell
	files   int // how many of the files are there
}

func (r *reader) file() string { return path.Join(r.article.Dir, "index.md") }

func (r *reader) result(line int, problem, printed string) Result {
	return Result{File: r.file(), Line: line, Problem: problem, Printed: printed}
}

// block runs one block; tried is false where there is nothing to run.
func (r *reader) block(ctx context.Context, b content.Block) (result Result, tried bool, err error) {
	refuse := func(problem string) (Result, bool, error) { return r.result(b.Line, problem, ""), true, nil }
	switch {
	case b.Where == content.Nowhere && b.Why == "":
		return refuse("say why it is not run, as in ```" + b.Lang + " none: it takes a second machine")
	case b.Where == content.Nowhere, b.Lang == "text" && b.File == "":
		return Result{}, false, nil
	case b.File != "":
		r.files = append(r.files, b)
		return Result{}, false, nil
	case b.IsOutput():
		return refuse("no command above it prints this: put it right behind its command, or say ```output none: and why nothing prints it")
	case b.IsCommands() && b.Where == "":
		return refuse("say where it is run, cluster or machine, or none: and why it is not")
	case b.IsCommands():
		result, err = r.commands(ctx, b)
		return result, true, err
	case b.Lang == "yaml" && b.Where == content.Cluster:
		result, err = r.manifest(ctx, b)
		return result, true, err
	}
	return refuse("this " + b.Lang + " is not run: give it a file=NAME that commands run, or say none: and why")
}

// commands types a block, again and again if it is to be repeated.
func (r *reader) commands(ctx context.Context, b content.Block) (Result, error) {
	at, err := r.at(ctx, b.Where)
	if err != nil {
		return Result{}, err
	}
	run := r.typed
	if b.Root {
		run = r.asRoot
	}
	for deadline := time.Now().Add(untilLimit); ; {
		result, err := run(ctx, at, b)
		if err != nil || result.Problem == "" || !b.Until || time.Now().After(deadline) {
			return result, err
		}
		select {
		case <-time.After(untilPause):
		case <-ctx.Done():
			return result, context.Cause(ctx)
		}
	}
}

// typed types the lines into a terminal.
func (r *reader) typed(ctx context.Context, at *place, b content.Block) (Result, error) {
	tab := b.Tab
	if tab == "" {
		tab = "1"
	}
	sh := at.shells[tab]
	if sh == nil {
		var err error
		if sh, err = newShell(ctx, r.options.Provider, at.session, tab); err != nil {
			return Result{}, err
		}
		at.shells[tab] = sh
	}
	var all strings.Builder
	last, line, more := 0, b.Line, false
	for text := range strings.Lines(b.Code) {
		line++
		output, code, wants, err := sh.run(ctx, strings.TrimRight(text, "\r\n"), lineLimit)
		all.WriteString(output)
		if errors.Is(err, errEndless) {
			return r.result(line, fmt.Sprintf("%v within %v", err, lineLimit), all.String()), nil
		}
		if err != nil {
			return Result{}, err
		}
		if more = wants; more {
			continue
		}
		if last = code; code != 0 && !b.Fails {
			return r.result(line, fmt.Sprintf("it ends with exit code %d; where that is meant, say fails", code), all.String()), nil
		}
	}
	if more {
		if err := sh.interrupt(ctx); !errors.Is(err, errEndless) {
			return Result{}, err
		}
		return r.result(line, "the shell wants more of this command", all.String()), nil
	}
	return r.judged(b, all.String(), last), nil
}

// judged compares what a block printed, and how it ended, with what the text says.
func (r *reader) judged(b content.Block, output string, code int) Result {
	if b.Fails && code == 0 {
		return r.result(b.Line, "it ends with exit code 0, and is said to fail", output)
	}
	if !b.Fails && code != 0 {
		return r.result(b.Line, fmt.Sprintf("it ends with exit code %d; where that is meant, say fails", code), output)
	}
	if b.Output == nil {
		return r.result(b.Line, "", "")
	}
	if ok, difference := same(b.Output, output); !ok {
		return r.result(b.Output.Line, difference, output)
	}
	return r.result(b.Line, "", "")
}

// asRoot runs a block as root of the node or machine.
func (r *reader) asRoot(ctx context.Context, at *place, b content.Block) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, lineLimit)
	defer cancel()
	res, err := r.options.Provider.Exec(ctx, at.session, sandbox.Command{
		Where: sandbox.OnNode, Argv: []string{"bash", "-c", "cd " + home + " 2>/dev/null; exec 2>&1\n" + b.Code},
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return r.result(b.Line, fmt.Sprintf("it does not end within %v", lineLimit), string(res.Stdout)), nil
	}
	if err != nil {
		return Result{}, err
	}
	return r.judged(b, string(res.Stdout), res.ExitCode), nil
}

// manifest has the API server check what looks like an object of Kubernetes.
func (r *reader) manifest(ctx context.Context, b content.Block) (Result, error) {
	at, err := r.at(ctx, b.Where)
	if err != nil {
		return Result{}, err
	}
	res, err := r.options.Provider.Exec(ctx, at.session, sandbox.Command{
		Where: sandbox.OnNode, Argv: []string{"kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", "-"}, Stdin: strings.NewReader(b.Code),
	})
	if err != nil {
		return Result{}, err
	}
	if res.ExitCode != 0 {
		return r.result(b.Line, "the API server refuses it: "+strings.TrimSpace(string(res.Stderr)), ""), nil
	}
	return r.result(b.Line, "", ""), nil
}

// at is the sandbox of a kind, with all files that were shown so far.
func (r *reader) at(ctx context.Context, where string) (*place, error) {
	at := r.places[where]
	if at == nil {
		at = &place{session: "article" + strings.ToLower(rand.Text()[:8]), shells: map[string]*shell{}}
		spec := sandbox.Spec{Session: at.session, Kind: sandbox.Machine}
		if where == content.Cluster {
			spec.Kind, spec.Access, spec.Template = sandbox.Cluster, sandbox.AccessCluster, "articles"
		}
		progress := r.options.Stage
		if progress == nil {
			progress = func(sandbox.Stage) {}
		}
		if _, err := r.options.Provider.Create(ctx, spec, progress); err != nil {
			return nil, fmt.Errorf("make a %s: %w", where, err)
		}
		r.places[where] = at
	}
	for ; at.files < len(r.files); at.files++ {
		f := r.files[at.files]
		if err := r.put(ctx, at, f); err != nil {
			return nil, fmt.Errorf("put %s there: %w", f.File, err)
		}
	}
	return at, nil
}

// put writes a file into the learner's home.
func (r *reader) put(ctx context.Context, at *place, f content.Block) error {
	const write = `cd ` + home + ` 2>/dev/null; mkdir -p -- "$(dirname -- "$0")" && cat >"$0"`
	res, err := r.options.Provider.Exec(ctx, at.session, sandbox.Command{
		Where: sandbox.InTerminal, Argv: []string{"sh", "-c", write, f.File}, Stdin: strings.NewReader(f.Code),
	})
	if err == nil && res.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(string(res.Stderr)))
	}
	return err
}

// close removes the sandboxes, also when ctx has ended.
func (r *reader) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	var problems []error
	for _, at := range r.places {
		for _, sh := range at.shells {
			sh.close()
		}
		if err := r.options.Provider.Destroy(ctx, at.session); err != nil {
			problems = append(problems, fmt.Errorf("remove a sandbox: %w", err))
		}
	}
	return errors.Join(problems...)
}

// Problems are the results that have one.
func Problems(results []Result) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Problem == "" })
}
