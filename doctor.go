package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	_ "github.com/mattn/go-sqlite3"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"drydock/sandbox/engine"
	"drydock/sandbox/image"
)

func newDoctorCommand() *cobra.Command {
	var offline, asJSON bool
	var data string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine lacks, and the command that mends it",
		Long: `Tries everything that Drydock needs of this machine: the container engine, a
privileged container, the machine's limits and room, the images, the database,
and what the sandboxes of a data directory left on the engine. Exits with 1 when something without which labs do not start is wrong.`,
		Example: `  drydock doctor
  drydock doctor --offline                 for a machine without a network
  drydock doctor --data /var/lib/drydock   with the sandboxes of that data directory
  drydock doctor --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := diagnose(cmd.Context(), data, offline)
			if err := printFindings(cmd.OutOrStdout(), findings, asJSON); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Level == engine.Wrong {
					return errReported
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "./data", "directory of everything that is kept")
	cmd.Flags().BoolVar(&offline, "offline", false, "leave out what only building the images needs, and advise nothing that needs a network")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// diagnose tries everything, in the order in which it is best mended.
func diagnose(ctx context.Context, data string, offline bool) []engine.Finding {
	findings := diagnoseEngine(ctx, data, offline)
	findings = append(findings, diagnoseGVisor(ctx, findings[0].Level == engine.OK))
	if !offline {
		findings = append(findings, toolsFinding(image.MissingTools()))
	}
	return append(findings, databaseFinding(tryFullTextSearch(ctx)))
}

func diagnoseEngine(ctx context.Context, data string, offline bool) []engine.Finding {
	cli, err := engine.Open()
	if err != nil {
		return []engine.Finding{engine.EngineFinding(engine.Version{}, err)}
	}
	defer cli.Close()
	version, err := engine.Ping(ctx, cli)
	if err != nil {
		return []engine.Finding{engine.EngineFinding(version, err)}
	}
	return append([]engine.Finding{
		engine.EngineFinding(version, nil),
		engine.ProbeCommand(ctx, cli),
		engine.ProbePrivileged(ctx, cli),
		engine.ProbeCgroup(ctx, cli),
		engine.ProbeInotify(cli),
		engine.ProbeLoops(cli),
		engine.ProbeMemory(ctx, cli),
		engine.ProbeDisk(ctx, cli),
		engine.ProbeNetworks(ctx, cli),
		imagesFinding(ctx, cli, offline),
	}, diagnoseSandboxes(ctx, cli, data)...)
}

func imagesFinding(ctx context.Context, cli *client.Client, offline bool) engine.Finding {
	f := engine.Finding{Name: "images", Level: engine.OK}
	node, terminal, err := image.Current(ctx, cli)
	if err == nil {
		var machine string
		if machine, err = image.CurrentMachine(ctx, cli); err == nil {
			f.Found = node + ", " + terminal + " and " + machine
			return f
		}
	}
	f.Level, f.Found, f.Mend = engine.Wrong, "missing or too old", "drydock image build"
	if offline {
		f.Mend = `drydock image import FILE, with what "drydock image export FILE" wrote on a machine that has them`
	}
	if !errors.Is(err, image.ErrMissing) {
		f.Found, f.Mend = err.Error(), engine.SetupCommand
	}
	return f
}

// toolsFinding is no more than a warning: labs start without these tools.
func toolsFinding(missing []string) engine.Finding {
	if len(missing) > 0 {
		return engine.Finding{Name: "build tools", Level: engine.Warn, Mend: engine.SetupCommand,
			Found: "missing: " + strings.Join(missing, ", ") + "; only \"drydock image build\" needs them"}
	}
	return engine.Finding{Name: "build tools", Level: engine.OK, Found: "go, gcc and mmdebstrap"}
}

func databaseFinding(err error) engine.Finding {
	if err != nil {
		return engine.Finding{Name: "database", Level: engine.Wrong, Found: "SQLite without full-text search: " + err.Error(),
			Mend: "make build (it sets the build tag sqlite_fts5)"}
	}
	return engine.Finding{Name: "database", Level: engine.OK, Found: "SQLite with full-text search"}
}

// tryFullTextSearch makes a full-text index in memory and finds something in it.
func tryFullTextSearch(ctx context.Context) error {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return err
	}
	defer db.Close()
	// Every connection to ":memory:" is a database of its own.
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE VIRTUAL TABLE pages USING fts5(body); INSERT INTO pages VALUES ('a ship in a dry dock')`); err != nil {
		return err
	}
	var n int
	return db.QueryRowContext(ctx, `SELECT count(*) FROM pages WHERE pages MATCH 'dock' HAVING count(*) = 1`).Scan(&n)
}

func printFindings(out io.Writer, findings []engine.Finding, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(findings)
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(out, "%-6s %-21s %s\n", f.Level, f.Name, f.Found); err != nil {
			return err
		}
		if f.Mend == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "%-6s %-21s mend: %s\n", "", "", f.Mend); err != nil {
			return err
		}
	}
	return nil
}
