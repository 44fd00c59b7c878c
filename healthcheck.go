package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newHealthcheckCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the server of a data directory whether it is well",
		Long: `Asks the running server for /healthz, at the address that it wrote into its
data directory. Exits with 1 when it does not answer or is not well. Container
engines call it; see the HEALTHCHECK in the Dockerfile.`,
		Example: "  drydock healthcheck --data /var/lib/drydock",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url := readAddress(data)
			if url == "" {
				return fmt.Errorf("no server has started with %s: \"drydock serve --data %s\" starts one", data, data)
			}
			if !healthy(cmd.Context(), url) {
				return fmt.Errorf("the server at %s is not well or does not answer", url)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), url, "is well")
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "./data", "the server's data directory")
	return cmd
}
