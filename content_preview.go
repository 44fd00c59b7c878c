package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"drydock/content"
	"drydock/content/live"
	"drydock/web"
)

func newContentPreviewCommand() *cobra.Command {
	var addr, labsDir string
	cmd := &cobra.Command{
		Use:   "preview [DIR]",
		Short: "Show articles in a browser while they are written",
		Long: `Serve the articles below DIR, the folder that has one folder per track, on this
machine only: what can be read, without accounts and sandboxes. Pages load
themselves again when a file changes, at the place that was looked at. What is
wrong stands on the page with file and line, above the last good version.
Nothing else is started or opened; Ctrl-C ends it.`,
		Example: `  drydock content preview
  drydock content preview ~/our-tracks --addr 127.0.0.1:9000`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := tracksHere()
			if len(args) == 1 {
				dir = args[0]
			}
			return preview(cmd, dir, addr, labsDir)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:8081", "address of this machine to listen on")
	cmd.Flags().StringVar(&labsDir, "labs", "", "directory of labs that articles may link to, instead of the built-in ones")
	return cmd
}

// preview serves the folder's articles until the command is ended.
func preview(cmd *cobra.Command, dir, addr, labsDir string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if _, err := os.ReadDir(dir); err != nil {
		return fmt.Errorf("read the folder of tracks: %w", err) // a slip of the finger, and no bad edit
	}
	labSet, err := loadLabs(labsDir)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	folder, err := live.Open(live.Config{Dir: dir, Log: log, Check: func(l *content.Library) error {
		return errors.Join(content.Lint(os.DirFS(dir)), l.CheckLabs(slugsOf(labSet)))
	}})
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "The articles have problems; the pages show them.")
	}
	handler, err := web.NewPreview(web.Preview{Config: web.Config{Labs: labSet, Log: log}, Folder: folder})
	if err != nil {
		return err
	}
	listener, err := listenLoopback(ctx, addr)
	if err != nil {
		return err
	}
	defer watchInBackground(ctx, folder)()
	fmt.Fprintf(out, "The articles of %s are at http://%s\n", dir, listener.Addr())
	return serveHTTP(ctx, listener, handler, log)
}

// listenLoopback listens where nobody but this machine's users come: a preview
// has no accounts.
func listenLoopback(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (choose another with --addr)", addr, err)
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("--addr %s: a preview is for this machine only, such as 127.0.0.1:8081", addr), listener.Close())
	}
	return listener, nil
}
