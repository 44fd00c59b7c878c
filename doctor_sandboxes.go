package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/client"

	"drydock/sandbox"
	"drydock/sandbox/engine"
	"drydock/sandbox/firewall"
	"drydock/sandbox/gvisor"
	"drydock/sandbox/image"
)

// Labels of everything on the engine that is Drydock's.
const (
	labelInstance = "drydock.instance"
	labelSandbox  = "drydock.sandbox"
)

// diagnoseSandboxes looks at what a data directory has on the engine, and at
// what others have there. It changes nothing, and makes no directory.
func diagnoseSandboxes(ctx context.Context, cli *client.Client, data string) []engine.Finding {
	own, err := readInstance(filepath.Join(data, instanceFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return []engine.Finding{{Name: "data directory", Level: engine.Wrong, Found: err.Error(), Mend: "make " + data + " readable to this user"}}
	}
	parts, err := listParts(ctx, cli)
	if err != nil {
		return []engine.Finding{{Name: "sandboxes", Level: engine.Wrong, Found: err.Error(), Mend: engine.SetupCommand}}
	}
	others := othersFinding(parts, own)
	if own == "" {
		return []engine.Finding{{Name: "data directory", Level: engine.OK, Found: "none at " + data + " yet: \"drydock serve\" makes it (name another with --data)"}, others}
	}
	provider, err := openProvider(data, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return []engine.Finding{{Name: "sandboxes", Level: engine.Wrong, Found: err.Error(), Mend: engine.SetupCommand}, others}
	}
	boxes, err := provider.List(ctx)
	if err != nil {
		return []engine.Finding{{Name: "sandboxes", Level: engine.Wrong, Found: err.Error(), Mend: engine.SetupCommand}, others}
	}
	templates, templatesErr := provider.Templates(ctx)
	fence := firewall.New(firewall.Config{Instance: own, Image: image.NodeRef, Engine: cli}).Check(ctx)
	return []engine.Finding{
		templatesFinding(templates, templatesErr),
		sandboxesFinding(boxes, parts[own], serverRuns(data)),
		firewallFinding(fence, len(boxes)),
		others,
	}
}

// templatesFinding tells of the templates. That there are none is no fault: the first start of a lab makes one.
func templatesFinding(templates []sandbox.Template, err error) engine.Finding {
	f := engine.Finding{Name: "templates", Level: engine.OK, Found: "none yet; the first start of a lab makes one"}
	if err != nil {
		f.Level, f.Found, f.Mend = engine.Warn, err.Error(), engine.SetupCommand
		return f
	}
	if len(templates) == 0 {
		return f
	}
	var size int64
	unused := 0
	for _, t := range templates {
		size += t.Size
		if t.Used == 0 {
			unused++
		}
	}
	f.Found = fmt.Sprintf("%d, of %s together; without a copy at this moment: %d", len(templates), units.BytesSize(float64(size)), unused)
	return f
}

// sandboxesFinding tells what the sandboxes of this data directory are there
// for, and what is left of some that are not there any more. While a server
// runs it clears that up itself.
func sandboxesFinding(boxes []sandbox.Info, p parts, served bool) engine.Finding {
	uses := map[sandbox.Use]int{}
	ids := map[string]bool{}
	asleep := 0
	for _, box := range boxes {
		uses[box.Use]++
		ids[box.ID] = true
		if box.Use == sandbox.Serving && box.State == sandbox.Frozen {
			asleep++
		}
	}
	left := 0
	for _, id := range slices.Concat(p.containers, p.networks) {
		if id != "" && !ids[id] {
			left++
		}
	}
	f := engine.Finding{Name: "sandboxes", Level: engine.OK, Found: fmt.Sprintf("serving sessions: %d (asleep: %d), spares: %d, kept: %d",
		uses[sandbox.Serving], asleep, uses[sandbox.Spare], uses[sandbox.Kept])}
	half := uses[sandbox.Preparing] + uses[sandbox.Leaving]
	switch {
	case half+left == 0:
	case served:
		f.Found += fmt.Sprintf("; being made or removed: %d", half)
	default:
		f.Level = engine.Warn
		f.Found += fmt.Sprintf("; left over: %d half made or half removed, %d parts of others", half, left)
		f.Mend = `"drydock sandbox prune" with the same --data, or the next "drydock serve"`
	}
	return f
}

// firewallFinding tells whether sandboxes can reach what they should not.
func firewallFinding(err error, boxes int) engine.Finding {
	f := engine.Finding{Name: "firewall", Level: engine.OK, Found: "in place: sandboxes reach nothing but themselves"}
	switch {
	case err == nil:
	case errors.Is(err, firewall.ErrOpen) && boxes == 0:
		f.Found = "not in place, and there are no sandboxes: the first one's start puts it there"
	case errors.Is(err, firewall.ErrOpen):
		f.Level, f.Found = engine.Wrong, err.Error()+"; sandboxes can reach this machine and its network"
		f.Mend = `a running server puts the rules back within some minutes; "drydock sandbox remove --all" until then`
	default:
		f.Level, f.Found, f.Mend = engine.Warn, err.Error(), "drydock image build, if the node image is missing; else the engine's log"
	}
	return f
}

// diagnoseGVisor starts a machine without the engine, where what that needs was built.
func diagnoseGVisor(ctx context.Context, engineAnswers bool) engine.Finding {
	dir, err := image.MachineDir()
	if err == nil {
		err = gvisor.Available(ctx, dir)
	}
	return gvisorFinding(err, engineAnswers)
}

// gvisorFinding is no fault where an engine answers: machine labs then run on that.
func gvisorFinding(err error, engineAnswers bool) engine.Finding {
	f := engine.Finding{Name: "gVisor", Level: engine.OK, Found: "runs (tried): machine labs need no engine"}
	missing := errors.Is(err, sandbox.ErrNoImage)
	switch {
	case err == nil:
	case missing && engineAnswers:
		f.Found = "not built; machine labs would need it only without an engine"
	case engineAnswers:
		f.Found = "does not run here, and is needed only without an engine: " + err.Error()
	case missing:
		f.Level, f.Found, f.Mend = engine.Warn, "not built; without an engine no lab runs", "drydock image build --no-engine"
	default:
		f.Level, f.Found, f.Mend = engine.Warn, err.Error(), engine.SetupCommand
	}
	return f
}

// parts are what an instance has on the engine, by the ids of its sandboxes.
type parts struct{ containers, networks []string }

// listParts finds everything on the engine that carries an instance's label.
func listParts(ctx context.Context, cli *client.Client) (map[string]parts, error) {
	labelled := make(client.Filters).Add("label", labelInstance)
	containers, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: labelled})
	if err != nil {
		return nil, fmt.Errorf("list the engine's containers: %w", err)
	}
	networks, err := cli.NetworkList(ctx, client.NetworkListOptions{Filters: labelled})
	if err != nil {
		return nil, fmt.Errorf("list the engine's networks: %w", err)
	}
	all := map[string]parts{}
	for _, c := range containers.Items {
		p := all[c.Labels[labelInstance]]
		p.containers = append(p.containers, c.Labels[labelSandbox])
		all[c.Labels[labelInstance]] = p
	}
	for _, n := range networks.Items {
		p := all[n.Labels[labelInstance]]
		p.networks = append(p.networks, n.Labels[labelSandbox])
		all[n.Labels[labelInstance]] = p
	}
	return all, nil
}

// othersFinding names the instances of other data directories. Whether those
// are still there nobody can tell but the operator.
func othersFinding(all map[string]parts, own string) engine.Finding {
	f := engine.Finding{Name: "other instances", Level: engine.OK, Found: "none on this engine"}
	var words, names []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == own {
			continue
		}
		p := all[name]
		words = append(words, fmt.Sprintf("%s (containers: %d, networks: %d)", name, len(p.containers), len(p.networks)))
		names = append(names, name)
	}
	if len(names) == 0 {
		return f
	}
	f.Level = engine.Warn
	f.Found = "of other data directories: " + strings.Join(words, ", ")
	f.Mend = "where that directory is gone for good, for each NAME: docker rm -fv $(docker ps -aq --filter label=" + labelInstance + "=NAME); docker network prune -f --filter label=" + labelInstance + "=NAME"
	return f
}
