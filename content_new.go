package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"drydock/content/scaffold"
)

// ownTracks is where a checkout of Drydock has its articles.
const ownTracks = "content/tracks"

func newContentNewCommand() *cobra.Command {
	var track, into string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new SLUG --track TRACK",
		Short: "Make a new article that works, to be changed",
		Long: `Make the folder of a new article in a track: a short one with commands that are run, a
diagram with its source, a quiz, what goes wrong, and sources. It passes "drydock
content lint" and "drydock content test" as it is; change it bit by bit.`,
		Example: `  drydock content new how-a-pipe-fills --track linux
  drydock content new our-clusters --track onboarding --into ~/our-tracks`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if into == "" {
				into = tracksHere()
			}
			folder, files, err := scaffold.New(into, track, args[0], time.Now())
			if err != nil {
				return err
			}
			return printArticle(cmd, into, args[0], folder, files, asJSON)
		},
	}
	cmd.Flags().StringVar(&track, "track", "", "the track that it belongs to: a folder with a file track.yaml")
	cmd.Flags().StringVar(&into, "into", "", "the folder that has one folder per track (default "+ownTracks+" where it is, or the current one)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	_ = cmd.MarkFlagRequired("track") // fails for a flag that is not there only
	return cmd
}

// tracksHere is the folder of tracks for who names none.
func tracksHere() string {
	if info, err := os.Stat(ownTracks); err == nil && info.IsDir() {
		return ownTracks
	}
	return "."
}

func printArticle(cmd *cobra.Command, tracks, slug, folder string, files []string, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"folder": folder, "files": files})
	}
	for _, name := range files {
		fmt.Fprintln(out, filepath.Join(folder, name))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), `
It works as it is. What to do next:
  drydock content preview %[1]s    look at it while you write
  drydock content lint %[1]s       what is wrong, without a sandbox
  drydock content test %[1]s --article %[2]s    run its commands
"go doc drydock/content" describes the format.
`, tracks, slug)
	return nil
}
