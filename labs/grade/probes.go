package grade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/probe"
)

// probes are the active probes of one run: requests that are sent from inside
// the sandbox, by one program for all of them, out of the learner's reach.
// Starting a command costs a hundred times what a request does, so the program
// is started once, talked with while there is anything to probe, and started
// anew when it falls silent.
type probes struct {
	place *place

	mu    sync.Mutex
	asked map[string]*asking
	ids   int
	talk  io.Writer          // the program's input; nil while none runs
	stop  context.CancelFunc // nil while nothing is asked
	ended chan struct{}      // closed when the conversation that stop ends is over
}

// asking is one probe, for as long as somebody wants to know.
type asking struct {
	request probe.Request
	heard   chan heard
	done    <-chan struct{}
}

// heard is an answer, or why there is none.
type heard struct {
	answer probe.Answer
	err    error
}

const (
	// silence is after how long a program that sends nothing is taken for dead:
	// it sends a sign of life, and a look can take its time on a busy machine.
	silence = probe.SignOfLife + 15*time.Second
	// helloTimeout is how long the program may take to its first answer: starting
	// a command through a busy engine takes seconds.
	helloTimeout = probe.DefaultTimeout + 20*time.Second
)

var errSilent = errors.New("the probe program has fallen silent")

// ask probes until ctx ends. tell is called with each answer that differs from
// the one before, and with each failure to look; not concurrently. When again
// can be received from, it looks again at once and tells even what is as before;
// so it does when the pace changes.
func (p *probes) ask(ctx context.Context, request probe.Request, again <-chan struct{}, pace *pace, tell func(probe.Answer, error)) {
	request.Every = pace.now()
	a := p.begin(ctx, request)
	defer p.end(a)
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			p.send(probe.Request{ID: a.request.ID, Again: true})
		case <-pace.changed:
			p.repace(a, pace.now())
		case h := <-a.heard:
			tell(h.answer, h.err)
		}
	}
}

func (p *probes) begin(ctx context.Context, request probe.Request) *asking {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids++
	request.ID = strconv.Itoa(p.ids)
	a := &asking{request: request, heard: make(chan heard), done: ctx.Done()}
	if p.asked == nil {
		p.asked = map[string]*asking{}
	}
	p.asked[request.ID] = a
	if p.stop != nil {
		p.sendLocked(request)
		return a
	}
	talking, stop := context.WithCancel(context.WithoutCancel(ctx))
	before, ended := p.ended, make(chan struct{})
	p.stop, p.ended = stop, ended
	go func() {
		defer close(ended)
		if before != nil {
			<-before
		}
		p.converse(talking)
	}()
	return a
}

// end forgets what was asked. With the last, the program ends.
func (p *probes) end(a *asking) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, a.request.ID)
	if len(p.asked) > 0 {
		p.sendLocked(probe.Request{ID: a.request.ID, Stop: true})
		return
	}
	p.stop()
	p.stop = nil
}

// close waits until the program has ended.
func (p *probes) close() {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// repace begins what was asked anew, with another period.
func (p *probes) repace(a *asking, every time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a.request.Every = every
	p.sendLocked(a.request)
}

func (p *probes) send(r probe.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sendLocked(r)
}

// sendLocked needs no error: a program whose input is closed has ended, and
// the next one is told everything.
func (p *probes) sendLocked(r probe.Request) {
	if p.talk != nil {
		_ = r.Write(p.talk)
	}
}

// converse keeps a program running until ctx ends.
func (p *probes) converse(ctx context.Context) {
	var after retry
	for ctx.Err() == nil {
		began := p.place.env.Now()
		err := p.converseOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		p.tellAll(ctx, heard{err: &blindness{cannotRun, err}})
		if p.place.env.Now().Sub(began) > silence { // it had worked
			after.reset()
		}
		after.pause(ctx, nil)
	}
}

// converseOnce starts the program, asks it everything, and hands out its
// answers until it ends. The error says why.
func (p *probes) converseOnce(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	input, talk := newLetterbox()
	answers, output := io.Pipe()
	defer context.AfterFunc(ctx, func() { input.Close() })()
	alive := time.AfterFunc(helloTimeout, func() { stop(errSilent) })
	defer alive.Stop()
	var reading sync.WaitGroup
	reading.Go(func() { stop(p.listen(ctx, answers, alive)) })

	p.mu.Lock()
	p.talk = talk
	for _, a := range p.asked {
		p.sendLocked(a.request)
	}
	p.mu.Unlock()
	res, err := p.place.env.Exec(ctx, sandbox.Command{Where: sandbox.OnNode, Argv: []string{probe.Program}, Stdin: input, Stdout: output, MaxOutput: maxProbeError})
	p.mu.Lock()
	p.talk = nil
	p.mu.Unlock()
	input.Close()
	output.Close()
	reading.Wait()
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errSilent):
		return errSilent
	case err != nil:
		return fmt.Errorf("run the probe program: %w", err)
	default:
		return fmt.Errorf("the probe program ended with code %d: %s", res.ExitCode, excerpt(string(res.Stderr)))
	}
}

// maxProbeError is kept of what the program says when it gives up.
const maxProbeError = 4 << 10

// listen hands out the answers that the program prints.
func (p *probes) listen(ctx context.Context, answers *io.PipeReader, alive *time.Timer) error {
	lines := probe.Lines(answers)
	for lines.Scan() {
		answer, err := probe.DecodeAnswer(lines.Bytes())
		if err != nil {
			return errors.Join(err, answers.CloseWithError(err))
		}
		alive.Reset(silence)
		p.mu.Lock()
		a := p.asked[answer.ID]
		p.mu.Unlock()
		if a != nil {
			a.hear(ctx, heard{answer: answer, err: notLooked(answer)})
		}
	}
	return errors.Join(lines.Err(), answers.CloseWithError(io.ErrClosedPipe))
}

// notLooked is the error of an answer that says only that nobody looked.
func notLooked(a probe.Answer) error {
	if a.Error == "" || a.Error == probe.PodGone {
		return nil
	}
	return &blindness{cannotRun, errors.New(a.Error)}
}

func (a *asking) hear(ctx context.Context, h heard) {
	select {
	case a.heard <- h:
	case <-a.done:
	case <-ctx.Done():
	}
}

func (p *probes) tellAll(ctx context.Context, h heard) {
	p.mu.Lock()
	all := make([]*asking, 0, len(p.asked))
	for _, a := range p.asked {
		all = append(all, a)
	}
	p.mu.Unlock()
	for _, a := range all {
		a.hear(ctx, h)
	}
}
