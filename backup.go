package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"drydock/store"
)

func newBackupCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the database to a file, while the server runs",
		Long: `Copy the database to a new file: users, invites, readings, answers, attempts with their
events, evidence and scores. A server may be using it meanwhile. The copy is the
state of one moment, and is read through before it gets its name.

To go back to it, stop the server and put the file into the place of drydock.db
in the data directory, removing drydock.db-wal and drydock.db-shm beside it.
Recordings of terminals are ordinary files in the data directory; copy them with
the tool of your choice.`,
		Example: `  drydock backup /mnt/backup/drydock-$(date +%F).db
  drydock backup --data /var/lib/drydock before-upgrade.db`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd.Context(), data, func(db *store.Store) error {
				err := db.Backup(cmd.Context(), args[0])
				if errors.Is(err, store.ErrExists) {
					return fmt.Errorf("%s exists: choose another name, a backup never replaces a file", args[0])
				}
				if err != nil {
					return err
				}
				info, err := os.Stat(args[0])
				if err != nil {
					return fmt.Errorf("look at the copy: %w", err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Copied %s to %s (%s).\n", filepath.Join(data, store.FileName), args[0], units.BytesSize(float64(info.Size())))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "./data", "directory of everything that is kept")
	return cmd
}
