package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox/fleet"
	"drydock/store"
	"drydock/store/search"
	"drydock/web"
)

const (
	// headerTimeout bounds how long a client may take over its request's header.
	headerTimeout = 10 * time.Second
	// idleTimeout closes kept-alive connections nobody uses.
	idleTimeout = 2 * time.Minute
	// maxHeader is ample for a cookie and bounds what a stranger can make us hold.
	maxHeader = 64 << 10
	// drainTimeout is how long open requests get when the server stops. Event
	// streams and terminals never end by themselves; their pages reconnect.
	drainTimeout = 2 * time.Second
	// removalTimeout is how long the server waits at its end for sandboxes that
	// are being removed. What is left then the next start finds.
	removalTimeout = 20 * time.Second
)

type serveOptions struct {
	addr, data, contentDir, labsDir string
	nodeImage                       string
	url                             string // what people reach it by, behind a proxy
	metrics                         string // address of the metrics' listener; empty: none
	dev                             bool
	fleetOptions
}

func newServeCommand() *cobra.Command {
	var o serveOptions
	var background, stop bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start the platform",
		Long: `Start the platform and print its address.

The first start creates the data directory and prints a one-time link that
makes the first instructor's account. There is no default password. The server
listens on loopback unless --addr says otherwise.

Running sessions outlive the server: their sandboxes and shells go on, and the
next start takes them up again. So does draining, which an operator begins and
ends at /admin/sandboxes: no lab is started meanwhile.

Articles below --content are read again when they change. A bad edit, or a folder
that went away, leaves the last good version in its place; those who teach see
what is wrong on every page, with file and line, and the log tells it once. At
start there is no good version yet: the server then prints the problems and ends.`,
		Example: `  drydock serve
  drydock serve --addr 0.0.0.0:8080 --data /var/lib/drydock
  drydock serve --content ~/our-tracks
  drydock serve --background          start, print the address, and return
  drydock serve --stop                stop the one in the background`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if stop {
				return stopBackground(cmd.OutOrStdout(), o.data)
			}
			switch err := o.check(); {
			case err != nil:
				return err
			case background:
				return serveInBackground(cmd.Context(), cmd.OutOrStdout(), o.data)
			default:
				return serve(cmd.Context(), cmd, o)
			}
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "address to listen on")
	flags.StringVar(&o.data, "data", "./data", "directory of everything that is kept")
	flags.StringVar(&o.contentDir, "content", "", "directory of tracks to serve instead of the built-in ones, such as a Git checkout; read again when it changes")
	flags.StringVar(&o.labsDir, "labs", "", "directory of labs to serve instead of the built-in ones; read once, at start")
	flags.StringVar(&o.nodeImage, "node-image", "", "another build of Drydock's node image, to use instead of the newest on the engine")
	flags.StringVar(&o.url, "url", "", "what people reach it by when a proxy stands in front, such as https://drydock.example.org")
	flags.StringVar(&o.metrics, "metrics", "", "address to serve Prometheus metrics on, such as 127.0.0.1:9090; never the learners' one (default none)")
	flags.StringVar(&o.memory, "memory", "", "what all sandboxes together may take, such as 16GiB; 0 is no bound (default all but 2 GiB or an eighth)")
	flags.IntVar(&o.starts, "starts", 0, "how many sandboxes are created at the same time (default one for two cores)")
	flags.IntVar(&o.spares, "spares", 4, "how many sandboxes may be kept ready ahead of demand, within the memory; 0 for none")
	flags.StringVar(&o.templates, "templates", fleet.TemplatesUsed, "labs whose templates are made before somebody starts them: all, used (of late) or none")
	flags.StringVar(&o.machines, "machines", machinesAuto, "what machine labs run on: engine, gvisor, or auto, which is gvisor where there is no engine")
	flags.DurationVar(&o.idle, "idle", 10*time.Minute, "freeze a session in which nobody has typed for so long")
	flags.IntVar(&o.perUser, "sessions-per-learner", 3, "how many labs one learner may have running at once; -1 for any number")
	flags.DurationVar(&o.keepFor, "keep-for", 12*time.Hour, "keep the sandbox of a cohort's attempt that has ended, frozen, for an instructor to open; 0 for not at all")
	flags.BoolVar(&o.dev, "dev", false, "show the causes of errors, and problems of the articles, to everybody, and log more")
	flags.BoolVar(&background, "background", false, "start in the background and return when it answers")
	flags.BoolVar(&stop, "stop", false, "stop the one that runs in the background with this --data")
	cmd.MarkFlagsMutuallyExclusive("background", "stop")
	return cmd
}

// serve runs the platform until ctx ends.
func serve(ctx context.Context, cmd *cobra.Command, o serveOptions) (err error) {
	level := slog.LevelInfo
	if o.dev {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	p, err := openPlatform(ctx, o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w (another server there? choose one with --addr)", o.addr, err)
	}
	if err := p.sessions.Boot(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	stopMetrics, err := p.serveMetrics(ctx, cmd.OutOrStdout(), o.metrics, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, stopMetrics()) }()
	defer inBackground(p.fleet)()
	defer p.classes.inBackground()()
	defer watchInBackground(ctx, p.articles)()
	if err := announce(ctx, cmd.OutOrStdout(), o, p.store, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	if p.fleet.Known().Draining {
		fmt.Fprintln(cmd.OutOrStdout(), "Draining: no lab is started until an operator ends that at /admin/sandboxes")
	}
	return serveHTTP(ctx, listener, p.handler, log)
}

// platform is everything of one data directory, wired together.
type platform struct {
	store    *store.Store
	fleet    *fleet.Fleet
	classes  *classes
	sessions *labs.Sessions
	articles articles
	metrics  *metrics
	search   *search.Index
	handler  http.Handler
	unlock   func()
}

// close ends grading and terminals and closes the store. Sandboxes go on.
func (p *platform) close() error {
	p.sessions.Close()
	wait, cancel := context.WithTimeout(context.Background(), removalTimeout)
	defer cancel()
	err := errors.Join(p.fleet.Close(wait), p.search.Close(), p.store.Close())
	p.unlock()
	return err
}

// openPlatform locks and opens the data directory and wires the parts. The caller boots the sessions.
func openPlatform(ctx context.Context, o serveOptions, log *slog.Logger) (_ *platform, err error) {
	unlock, err := lockData(o.data)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	labSet, err := loadLabs(o.labsDir)
	if err != nil {
		return nil, err
	}
	articles, err := openArticles(o.contentDir, labSet, log)
	if err != nil {
		return nil, err
	}
	providers, err := serverProviders(ctx, providerOptions{o.data, o.nodeImage, o.machines}, log)
	if err != nil {
		return nil, err
	}
	db, err := openStore(ctx, o.data)
	if err != nil {
		return nil, err
	}
	counts := newMetrics()
	for i, p := range providers {
		providers[i] = counts.provider(p)
	}
	all, err := openFleet(o, providers, counts.history(measurements{db}), labSet, log)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	recordings := filepath.Join(o.data, "recordings")
	sessions := labs.NewSessions(labs.Config{
		Provider: all, Gate: all, Log: attemptLog{db}, Labs: labSet, Recordings: recordings,
		Idle: o.idle, PerLearner: o.perUser, KeepFor: o.keepFor, Now: time.Now, Logger: log,
	})
	counts.watch(all.Known, sessions.Running, time.Now)
	base, err := baseURL(o.url)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	upcoming := newClasses(db, labSet, all, log)
	pages := search.New()
	handler, err := web.New(web.Config{
		Search: pages, Store: db, Sessions: sessions, Labs: labSet, Library: articles.Library, Trouble: articles.Trouble, Recordings: recordings, Fleet: all, Log: log, Dev: o.dev, BaseURL: base,
		Answered: counts.answered, Assigned: upcoming.changed,
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &platform{store: db, fleet: all, classes: upcoming, sessions: sessions, articles: articles, metrics: counts, search: pages, handler: handler, unlock: unlock}, nil
}

// baseURL is what links that leave the browser begin with; nil lets web take what the request was made to.
func baseURL(text string) (func(*http.Request) string, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("--url %q: it must look like https://drydock.example.org", text)
	}
	base := u.Scheme + "://" + u.Host
	return func(*http.Request) string { return base }, nil
}

// serveHTTP answers requests until ctx ends, then lets open ones finish for a moment.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	// Requests see ctx end, so that event streams and terminals let go at once.
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			err = server.Close()
			stopped <- err
			return
		}
		stopped <- nil
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return <-stopped
}

// announce prints where the platform is, and how to begin.
func announce(ctx context.Context, out io.Writer, o serveOptions, db *store.Store, addr net.Addr) error {
	local := localURL(addr)
	shown := cmp.Or(strings.TrimRight(o.url, "/"), local)
	fmt.Fprintf(out, "Drydock is at %s\n", shown)
	instructors, err := db.CountInstructors(ctx)
	if err != nil {
		return err
	}
	if instructors == 0 {
		token, err := db.SetupToken(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "Make the first instructor's account with this link (it works once):\n  %s/setup/%s\n", shown, token)
	}
	return writeAddress(o.data, local)
}

// localURL is where this machine reaches what listens on addr.
func localURL(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", tcp.Port)
	}
	return "http://" + addr.String()
}

// attemptLog gives labs the log it needs from the store.
type attemptLog struct{ *store.Store }

func (l attemptLog) RunningAttempts(ctx context.Context) ([]labs.Attempt, error) {
	return l.Attempts(ctx, store.AttemptFilter{Running: true})
}

func openStore(ctx context.Context, data string) (*store.Store, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	return store.Open(ctx, filepath.Join(data, "drydock.db"))
}

func loadLabs(dir string) (*labs.Catalogue, error) {
	var files fs.FS = catalogue.FS()
	if dir != "" {
		files = os.DirFS(dir)
	}
	set, err := labs.LoadCatalogue(files)
	if err != nil {
		return nil, fmt.Errorf("the labs have errors:\n%w", err)
	}
	return set, nil
}
