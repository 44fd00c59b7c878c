package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// pause waits, and says so.
func pause(ctx context.Context, out io.Writer, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	say(out, "starting: ready in %s", d)
	return sleep(ctx, d)
}

// sleep waits for d or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func runSlow(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("slow", flag.ContinueOnError)
	listen := fs.String("listen", ":8080", "`address` to serve on")
	after := fs.Duration("listen-after", time.Minute, "how long it takes to start")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	if err := pause(ctx, out, *after); err != nil {
		return err
	}
	return serve(ctx, out, *listen, web("Slow but sure", ""))
}

func runCrash(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("crash", flag.ContinueOnError)
	after := fs.Duration("after", 3*time.Second, "how long it works before it fails")
	code := fs.Int("code", 1, "exit `code`")
	message := fs.String("message", "panic: cannot read configuration", "its last words")
	unless := fs.String("unless-file", "", "does not fail while this `file` exists")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	say(out, "working")
	if err := sleep(ctx, *after); err != nil {
		return err
	}
	if *unless != "" {
		if _, err := os.Stat(*unless); err == nil {
			say(out, "found %s: all is well", *unless)
			<-ctx.Done()
			return nil
		}
	}
	say(out, "%s", *message)
	return exitCode(*code)
}

const (
	mebibyte = 1 << 20
	pageSize = 4096
)

func runHog(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("hog", flag.ContinueOnError)
	step := fs.Int("step", 8, "`MiB` taken at a time")
	every := fs.Duration("every", time.Second, "how often")
	most := fs.Int("max", 512, "`MiB` at which it stops taking more")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	if *step < 1 || *every <= 0 {
		return fmt.Errorf("%w: --step and --every must be above zero", errUsage)
	}
	var held [][]byte
	for taken := 0; taken < *most; taken = len(held) * *step {
		block := make([]byte, *step*mebibyte)
		// Memory counts only once it is written to.
		for i := 0; i < len(block); i += pageSize {
			block[i] = 1
		}
		held = append(held, block)
		say(out, "holding %d MiB", len(held)**step)
		if err := sleep(ctx, *every); err != nil {
			return err
		}
	}
	<-ctx.Done()
	say(out, "giving back %d blocks", len(held))
	return nil
}

func runWorker(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("worker", flag.ContinueOnError)
	every := fs.Duration("every", time.Second, "pause between two jobs")
	busy := fs.Duration("busy", 0, "processor time each job takes")
	url := fs.String("url", "", "`URL` that each job calls; without one a job only takes time")
	jobs := fs.Int("jobs", 0, "end after this many jobs; 0: never")
	file := fs.String("file", "", "`file` that each job adds a line to")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	for n := 1; *jobs == 0 || n <= *jobs; n++ {
		if err := job(ctx, n, *busy, *url, *file); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			say(out, "job %d failed: %v", n, err)
		} else {
			say(out, "job %d done", n)
		}
		if n == *jobs {
			break
		}
		if err := sleep(ctx, *every); err != nil {
			return err
		}
	}
	return nil
}

func job(ctx context.Context, n int, busy time.Duration, url, file string) error {
	burn(ctx, busy)
	if url != "" {
		if _, err := call(ctx, url); err != nil {
			return err
		}
	}
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "job %d\n", n); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func runWait(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("wait", flag.ContinueOnError)
	addr := fs.String("for", "", "`host:port` to wait for")
	every := fs.Duration("every", time.Second, "how often to try")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(*addr); err != nil {
		return fmt.Errorf("%w: --for needs a host and a port: %w", errUsage, err)
	}
	for {
		// Waiting inside the container is kinder than failing: Kubernetes would restart it ever more slowly.
		conn, err := (&net.Dialer{Timeout: *every}).DialContext(ctx, "tcp", *addr)
		if err == nil {
			say(out, "%s accepts connections", *addr)
			return conn.Close()
		}
		say(out, "waiting for %s: %v", *addr, err)
		if err := sleep(ctx, *every); err != nil {
			return err
		}
	}
}

func runLoad(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	url := fs.String("url", "", "`URL` to call")
	rate := fs.Float64("rate", 5, "calls a second")
	most := fs.Int("calls", 0, "end after this many calls; 0: never")
	every := fs.Duration("report-every", 5*time.Second, "how often to print the counts")
	if err := parse(fs, args, out); err != nil {
		return err
	}
	if *url == "" || *rate <= 0 || *every <= 0 {
		return fmt.Errorf("%w: --url is needed, and --rate and --report-every must be above zero", errUsage)
	}
	l := &load{url: *url, out: out}
	err := l.run(ctx, time.Duration(float64(time.Second) / *rate), *most, *every)
	l.report()
	return err
}

// maxInFlight bounds the calls under way when the other side hangs: a generator must not fall over first.
const maxInFlight = 100

type load struct {
	url          string
	out          io.Writer
	good, failed atomic.Int64
	last         atomic.Value // the text of the last failure
}

func (l *load) run(ctx context.Context, gap time.Duration, most int, every time.Duration) error {
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, maxInFlight)
	calls, reports := time.NewTicker(gap), time.NewTicker(every)
	defer calls.Stop()
	defer reports.Stop()
	for n := 0; most == 0 || n < most; {
		select {
		case <-ctx.Done():
			return nil
		case <-reports.C:
			l.report()
		case <-calls.C:
			n++
			select {
			case slots <- struct{}{}:
			default:
				l.failed.Add(1)
				l.last.Store(fmt.Sprintf("%d calls are still unanswered", maxInFlight))
				continue
			}
			under.Go(func() {
				defer func() { <-slots }()
				l.once(ctx)
			})
		}
	}
	return nil
}

func (l *load) once(ctx context.Context) {
	if _, err := call(ctx, l.url); err != nil {
		if ctx.Err() == nil {
			l.failed.Add(1)
			l.last.Store(err.Error())
		}
		return
	}
	l.good.Add(1)
}

func (l *load) report() {
	good, failed := l.good.Load(), l.failed.Load()
	if last, ok := l.last.Load().(string); ok {
		say(l.out, "%d answered, %d failed, the last with: %s", good, failed, last)
		return
	}
	say(l.out, "%d answered, %d failed", good, failed)
}
