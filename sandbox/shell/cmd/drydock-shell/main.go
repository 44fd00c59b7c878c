// Command drydock-shell keeps a learner's shells. Without arguments it is the
// entry process of the terminal container; "attach" and "close" are what the
// server runs beside it by the engine's exec. See package drydock/sandbox/shell.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"drydock/sandbox/shell"
)

const (
	// defaultSocket lies on the container's /run; its directory is the supervisor's alone.
	defaultSocket = "/run/drydock/shell.sock"
	// defaultIntegration is what the shells read when they start.
	defaultIntegration = "/run/drydock-shell.bash"
	defaultUser        = "learner"
	skeleton           = "/etc/skel"
)

const usage = `usage: drydock-shell [serve] [-socket PATH] [-user NAME] [-home DIR] [-shell PATH] [-integration PATH]
       drydock-shell attach [-socket PATH] -tab NAME [-from OFFSET] [-cols N] [-rows N]
       drydock-shell close  [-socket PATH] -tab NAME

Example: drydock-shell attach -tab main -cols 80 -rows 24`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "drydock-shell:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	verb := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "serve":
		return serve(args)
	case "attach":
		return attach(args)
	case "close":
		return closeTab(args)
	default:
		return errors.New(usage)
	}
}

func newFlags(name string) (*flag.FlagSet, *string) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	return flags, flags.String("socket", defaultSocket, "the supervisor's socket")
}

func serve(args []string) error {
	flags, socket := newFlags("serve")
	name := flags.String("user", defaultUser, "the user the shells run as")
	home := flags.String("home", "", "the user's home; by default as /etc/passwd says")
	program := flags.String("shell", "/bin/bash", "the shell")
	integration := flags.String("integration", defaultIntegration, "where to write down how bash marks its commands")
	if err := flags.Parse(args); err != nil {
		return err
	}
	u, cred, err := lookUp(*name)
	if err != nil {
		return err
	}
	if *home != "" {
		u.HomeDir = *home
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := shell.SetUpHome(cred, skeleton, u.HomeDir); err != nil {
		log.Warn("the home is not complete", "error", err) // a shell in a bare home is still of use
	}
	l, err := listen(*socket)
	if err != nil {
		return err
	}
	argv := []string{*program, "--login"}
	if filepath.Base(*program) == "bash" {
		marking, err := shell.Integrated(*program, *integration)
		if err != nil {
			log.Warn("the shells do not mark their commands", "error", err) // and are of use all the same
		} else {
			argv = marking
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return shell.NewSupervisor(shell.Config{
		Credential: cred,
		Argv:       argv,
		Dir:        u.HomeDir,
		Env:        environment(u, *program),
		Log:        log,
	}).Serve(ctx, l)
}

// lookUp returns the user and, unless it is who runs this already, the
// credential to start processes as that user with.
func lookUp(name string) (*user.User, *syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, nil, fmt.Errorf("look up the user the shells run as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("user id of %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("group id of %s: %w", name, err)
	}
	if int(uid) == os.Getuid() {
		return u, nil, nil
	}
	return u, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// environment is the container's own, which holds nothing secret, with what login(1) would set.
func environment(u *user.User, program string) []string {
	env := append(os.Environ(),
		"HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username, "SHELL="+program,
		"TERM=xterm-256color", "COLORTERM=truecolor")
	if os.Getenv("LANG") == "" {
		env = append(env, "LANG=C.UTF-8")
	}
	return env
}

// listen makes the socket in a directory that nobody else can enter.
func listen(socket string) (net.Listener, error) {
	dir := filepath.Dir(socket)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the socket: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("close the directory of the socket to others: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of an earlier run: %w", err)
	}
	return net.Listen("unix", socket)
}

func dial(socket string, first shell.Frame) (*net.UnixConn, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reach the supervisor: %w", err)
	}
	if err := shell.WriteFrame(conn, first); err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask the supervisor: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// attach joins stdin and stdout to the supervisor's socket, which speaks the
// protocol with the server on the other end, until either side ends.
func attach(args []string) error {
	flags, socket := newFlags("attach")
	var open shell.Open
	flags.StringVar(&open.Tab, "tab", "", "the terminal's name")
	flags.Int64Var(&open.From, "from", 0, "absolute offset of the output to begin with")
	cols := flags.Uint("cols", 80, "columns")
	rows := flags.Uint("rows", 24, "rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	open.Cols, open.Rows = uint16(*cols), uint16(*rows)
	conn, err := dial(*socket, open.Frame())
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() {
		// The end of the input is the end of the server. A failed write is
		// not: what the supervisor said last is still to be passed on.
		if _, err := io.Copy(conn, os.Stdin); err == nil {
			ended <- nil
		}
	}()
	go func() {
		_, err := io.Copy(os.Stdout, conn)
		ended <- err
	}()
	return <-ended
}

func closeTab(args []string) error {
	flags, socket := newFlags("close")
	tab := flags.String("tab", "", "the terminal's name")
	if err := flags.Parse(args); err != nil {
		return err
	}
	conn, err := dial(*socket, shell.Frame{Type: shell.FrameClose, Payload: []byte(*tab)})
	if err != nil {
		return err
	}
	f, err := shell.ReadFrame(conn)
	if err != nil {
		return fmt.Errorf("end the shell: %w", err)
	}
	if f.Type == shell.FrameError {
		return fmt.Errorf("end the shell: %s", f.Payload)
	}
	return nil
}
