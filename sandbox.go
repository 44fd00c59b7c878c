package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drydock/sandbox"
)

func newSandboxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "List and remove this instance's sandboxes",
		Long: `List and remove the sandboxes of one data directory, found on the engine by
label. Sandboxes of other instances on the same engine are never touched.`,
	}
	var data string
	cmd.PersistentFlags().StringVar(&data, "data", "./data", "directory of everything that is kept")
	cmd.AddCommand(newSandboxListCommand(&data), newSandboxRemoveCommand(&data))
	return cmd
}

func newSandboxListCommand(data *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the sandboxes",
		Example: "  drydock sandbox list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			provider, err := openProvider(*data, "", slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			infos, err := provider.List(cmd.Context())
			if err != nil {
				return err
			}
			return printSandboxes(cmd, infos, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func printSandboxes(cmd *cobra.Command, infos []sandbox.Info, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(cmd.OutOrStdout())
		for _, info := range infos {
			if err := out.Encode(info); err != nil {
				return err
			}
		}
		return nil
	}
	if len(infos) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "No sandboxes: nobody has a lab open.")
		return nil
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tNAME\tKIND\tSTATE\tAGE")
	for _, info := range infos {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", info.Session, info.Name, info.Kind, info.State, time.Since(info.Created).Round(time.Second))
	}
	return w.Flush()
}

func newSandboxRemoveCommand(data *string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "remove [SESSION…]",
		Short: "Remove sandboxes; what the learner did in them is lost, what was graded is kept",
		Example: `  drydock sandbox remove k3v9x2ab7qpm
  drydock sandbox remove --all`,
		RunE: func(cmd *cobra.Command, sessions []string) error {
			if all == (len(sessions) > 0) {
				return errors.New("name the sessions whose sandboxes to remove, or say --all")
			}
			provider, err := openProvider(*data, "", slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if all {
				infos, err := provider.List(cmd.Context())
				if err != nil {
					return err
				}
				for _, info := range infos {
					sessions = append(sessions, info.Session)
				}
			}
			for _, session := range sessions {
				if err := provider.Destroy(cmd.Context(), session); err != nil {
					return fmt.Errorf("remove the sandbox of %s: %w", session, err)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "removed the sandbox of %s\n", session)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove all sandboxes of this data directory")
	return cmd
}
