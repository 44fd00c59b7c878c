package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"drydock/labs"
)

const (
	resetRounds = 5
	// resetLimit bounds one reset in the page; with a spare it takes a second or two.
	resetLimit = time.Minute
	// resetStale is what a command of the learner's has printed: once it has gone
	// from the screen and a prompt is there, that is the new sandbox's.
	resetStale = "worked-42"
)

// readScreen is the text of the page's terminal.
const readScreen = `[...document.querySelectorAll(".shell:not([hidden]) .xterm-rows > div")].map(d => d.textContent.replaceAll("\u00a0", " ")).join("\n")`

// pressReset presses Reset, and notes when the new prompt is there, both by the
// machine's clock in milliseconds. It looks at every frame that is drawn.
const pressReset = `(() => {
	const fresh = () => { const text = ` + readScreen + `; return !text.includes("` + resetStale + `") && /[$#] *$/m.test(text); };
	window.promptAt = 0;
	const look = () => { if (fresh()) { window.promptAt = Date.now(); } else { requestAnimationFrame(look); } };
	window.pressedAt = Date.now();
	document.querySelector("#reset-dialog button[type=submit]").click();
	requestAnimationFrame(look);
	return true;
})()`

// benchResetPage measures a reset as the learner sees it: from the press of the
// button to the new prompt. Before the old sandbox is given up the server looks
// back at it, at its audit log and its objects; the yardstick is the provider's
// reset of the same lab to the first output of a shell, without any of that.
func benchResetPage(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	labsDir, err := os.MkdirTemp("", "drydock-bench-labs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(labsDir)
	if err := writeFiles(filepath.Join(labsDir, "flip"), tickLab); err != nil {
		return nil, err
	}
	b, err := openBench(ctx, labsDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	url, stop, err := listenLocal(b.handler)
	if err != nil {
		return nil, err
	}
	defer stop()
	fmt.Fprintln(progress, "  starting two clusters")
	session, err := b.start(ctx, "flip")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.End(ctx, "learner")) }()
	y, err := openYard() // the server would take a sandbox without a session for a leftover
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	spec := session.Lab().SandboxSpec(y.Provider, benchSession, session.Variant())
	if _, err := y.Create(ctx, spec, nil); err != nil {
		return nil, err
	}
	page, closePage, err := b.openPage(ctx, url, "/sessions/"+session.ID())
	if err != nil {
		return nil, err
	}
	defer closePage()
	var f figures
	for round := range resetRounds {
		if err := b.resetRound(ctx, page, session, &f); err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
		if _, err := y.Spare(ctx, spec, nil); err != nil {
			return nil, err
		}
		plain, err := y.toPrompt(ctx, y.Reset, spec)
		if err != nil {
			return nil, err
		}
		f.add("plain", plain)
		fmt.Fprintf(progress, "  round %d of %d: %s\n", round+1, resetRounds, f.last())
	}
	m := f.measure("reset.page", "s", "a spare is there; with the look back at the audit log and the objects, and the new baseline")
	return []measurement{m.against("the provider's reset to a shell", f.median("plain"))}, nil
}

// resetRound works a little in the page's terminal, and resets.
func (b *bench) resetRound(ctx, page context.Context, session *labs.Session, f *figures) error {
	spare := session.Lab().SandboxSpec(b.fleet, session.ID(), session.Variant())
	if _, err := b.fleet.Spare(ctx, spare, nil); err != nil {
		return err
	}
	if err := b.workInPage(page); err != nil {
		return err
	}
	if err := chromedp.Do(page, chromedp.Evaluate[chromedp.Void](pressReset)); err != nil {
		return fmt.Errorf("press Reset: %w", err)
	}
	took, err := chromedp.Run(page, chromedp.Poll[int64](`window.promptAt && window.promptAt - window.pressedAt`,
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(resetLimit)))
	if err != nil {
		return fmt.Errorf("wait for the prompt after a reset: %w", err)
	}
	f.add("reset.page", (time.Duration(took) * time.Millisecond).Seconds())
	return nil
}

// workInPage waits for the prompt, and changes something that a reset looks back at.
func (b *bench) workInPage(page context.Context) error {
	sees := func(condition string) error {
		_, err := chromedp.Run(page, chromedp.Poll[bool](condition, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(resetLimit)))
		return err
	}
	if err := sees(`/[$#] *$/m.test(` + readScreen + `)`); err != nil {
		return fmt.Errorf("wait for the prompt: %w", err)
	}
	for _, typed := range []struct{ line, answer string }{
		{"kubectl annotate cm light was=here", "annotated"},
		{"echo worked-$((6*7))", resetStale},
	} {
		if err := chromedp.Do(page, chromedp.SendKeys(chromedp.CSS(".xterm-helper-textarea"), typed.line+kb.Enter)); err != nil {
			return fmt.Errorf("type in the terminal: %w", err)
		}
		if err := sees(`(` + readScreen + `).includes("` + typed.answer + `")`); err != nil {
			return fmt.Errorf("wait for the answer to %q: %w", typed.line, err)
		}
	}
	return nil
}
