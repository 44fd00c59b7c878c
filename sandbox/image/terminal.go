package image

import (
	"context"
	"io/fs"
	"strings"
)

// The learner's account in the terminal.
const (
	learnerName = "learner"
	learnerUID  = 1000
)

const terminalPath = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

// buildTerminal makes the terminal image. It is one layer streamed into the
// engine, so that a change of the shell program costs seconds.
func (b *builder) buildTerminal(ctx context.Context) error {
	return b.step("Assemble the terminal", func() (bool, error) {
		completion, err := output(ctx, command(ctx, "", b.bin["kubectl"], "completion", "bash"))
		if err != nil {
			return false, err
		}
		shell, err := b.compileOwn(ctx, shellMain)
		if err != nil {
			return false, err
		}
		tags := b.tags(Terminal, b.terminalHash)
		changes := append(labelChanges(b.labels(Terminal, b.terminalHash)),
			"ENV LANG=C.UTF-8 PATH="+terminalPath,
			"WORKDIR /home/"+learnerName,
			// It starts the shells as the learner; package sandbox/shell says why it is not the learner itself.
			`ENTRYPOINT ["/usr/local/bin/drydock-shell"]`)
		err = importTree(ctx, b.cli, tags[len(tags)-1], changes, func(t *tree) error {
			return b.terminalFiles(t, completion, shell)
		})
		if err != nil {
			return false, err
		}
		return false, b.tag(ctx, tags[len(tags)-1], tags)
	})
}

func (b *builder) terminalFiles(t *tree, completion, shell string) error {
	if err := t.files(b.src.path("terminal", "files"), func(string) fs.FileMode { return 0o644 }); err != nil {
		return err
	}
	if err := t.file("usr/local/bin/kubectl", b.bin["kubectl"], 0o755); err != nil {
		return err
	}
	if err := t.file("usr/local/bin/drydock-shell", shell, 0o755); err != nil {
		return err
	}
	if err := t.text("usr/share/bash-completion/completions/kubectl", completion, 0o644); err != nil {
		return err
	}
	if err := t.dir("home/"+learnerName, 0o755, learnerUID); err != nil {
		return err
	}
	// Nothing in the terminal may lead to another user.
	t.dropSetID = true
	return t.base(b.roots["terminal"], func(name string) bool { return !strings.HasPrefix(name, "etc/skel/") })
}
