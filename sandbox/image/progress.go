package image

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// redrawEvery is how often a terminal's line is drawn anew: the time in it counts seconds.
	redrawEvery = time.Second
	barWidth    = 24
)

// Printer shows the stages of a build: as a bar that moves on a terminal, as
// plain lines elsewhere. Close ends it.
type Printer struct {
	out      io.Writer
	terminal bool

	mu      sync.Mutex
	current *Stage
	since   time.Time
	stop    chan struct{}
	stopped sync.WaitGroup
}

// NewPrinter returns a printer to out, which may or may not be a terminal.
func NewPrinter(out io.Writer, terminal bool) *Printer {
	p := &Printer{out: out, terminal: terminal, stop: make(chan struct{})}
	if terminal {
		p.stopped.Go(p.redraw)
	}
	return p
}

// Close stops the redrawing and leaves the cursor on a line of its own.
func (p *Printer) Close() {
	close(p.stop)
	p.stopped.Wait()
}

func (p *Printer) redraw() {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			if p.current != nil {
				p.draw()
			}
			p.mu.Unlock()
		}
	}
}

func (p *Printer) draw() {
	s := p.current
	full := barWidth * (s.Index - 1) / s.Total
	fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %d/%d %s %s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full),
		s.Index, s.Total, s.Name, time.Since(p.since).Round(time.Second))
}

// Report is the function to give to Options.
func (p *Printer) Report(s Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.Done {
		p.current, p.since = &s, time.Now()
		if p.terminal {
			p.draw()
		} else {
			fmt.Fprintf(p.out, "[%d/%d] %s\n", s.Index, s.Total, s.Name)
		}
		return
	}
	p.current = nil
	how := s.Took.Round(100 * time.Millisecond).String()
	switch {
	case s.Err != nil:
		how = "failed after " + how
	case s.Cached:
		how = "nothing to do"
	}
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "[%d/%d] %s: %s\n", s.Index, s.Total, s.Name, how)
}
