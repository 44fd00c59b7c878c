package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"drydock/store"
)

// inviteDays is how long an invite is valid unless --days says otherwise:
// enough for a class to be back from a week off.
const inviteDays = 14

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Add people, change passwords and roles, and make invite links",
		Long: `Add people, change passwords and roles, and make invite links.

These commands work on the data directory, also while a server uses it. Roles are
learner, instructor and operator: an instructor who may also drain the server,
prune templates and destroy sandboxes. Passwords are never arguments, which everybody on the
machine could see: they are asked for, or read from the first line of standard
input.`,
		Example: `  drydock user add grace@example.org --name "Grace Hopper" --role instructor
  drydock user passwd grace@example.org
  drydock user invite "Autumn 2026" --uses 30
  drydock user list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var data string
	cmd.PersistentFlags().StringVar(&data, "data", "./data", "directory of everything that is kept")
	cmd.AddCommand(newUserAddCommand(&data), newUserPasswdCommand(&data), newUserRoleCommand(&data), newUserInviteCommand(&data), newUserListCommand(&data))
	return cmd
}

func newUserAddCommand(data *string) *cobra.Command {
	var name, role, cohort string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add LOGIN",
		Short: "Add somebody",
		Long:  `Add somebody. The password is asked for twice, or read from the first line of standard input.`,
		Example: `  drydock user add ada@example.org --name "Ada Lovelace" --cohort "Autumn 2026"
  pass show drydock/grace | drydock user add grace --name Grace --role instructor`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := store.Open(cmd.Context(), filepath.Join(*data, store.FileName)) // also the first thing that is done here
			if err != nil {
				return err
			}
			defer db.Close()
			added := store.NewUser{Name: name, Login: args[0], Role: store.Role(role)}
			if added.Name == "" {
				added.Name = args[0]
			}
			if cohort != "" {
				found, err := findCohort(cmd.Context(), db, cohort)
				if err != nil {
					return err
				}
				added.Cohort = found.ID
			}
			if added.Password, err = readPassword(cmd, true); err != nil {
				return err
			}
			user, err := db.AddUser(cmd.Context(), added)
			if err != nil {
				return plainly(err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(user)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Added %s (%s) as %s.\n", user.Name, user.Login, user.Title())
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name shown to others (default the login)")
	cmd.Flags().StringVar(&role, "role", string(store.RoleLearner), "learner, instructor or operator")
	cmd.Flags().StringVar(&cohort, "cohort", "", "name of the cohort to put them into")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the account as JSON")
	return cmd
}

func newUserPasswdCommand(data *string) *cobra.Command {
	return &cobra.Command{
		Use:   "passwd LOGIN",
		Short: "Give somebody a new password and sign them out everywhere",
		Example: `  drydock user passwd ada@example.org
  pass show drydock/ada | drydock user passwd ada@example.org`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withUser(cmd, *data, args[0], func(db *store.Store, user store.User) error {
				password, err := readPassword(cmd, true)
				if err != nil {
					return err
				}
				if err := db.SetPassword(cmd.Context(), user.ID, password); err != nil {
					return plainly(err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s has a new password and is signed out everywhere.\n", user.Login)
				return err
			})
		},
	}
}

func newUserRoleCommand(data *string) *cobra.Command {
	return &cobra.Command{
		Use:   "role LOGIN learner|instructor|operator",
		Short: "Change what somebody may do",
		Long: `Change what somebody may do, at once.

An instructor may do what a learner may, sees everybody's work and the state of
the sandboxes. An operator is an instructor who may also drain the server, prune
templates and destroy sandboxes (/admin/sandboxes).`,
		Example: `  drydock user role ada@example.org instructor
  drydock user role grace@example.org operator`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withUser(cmd, *data, args[0], func(db *store.Store, user store.User) error {
				if err := db.SetRole(cmd.Context(), user.ID, store.Role(args[1])); err != nil {
					return plainly(err)
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is now: %s.\n", user.Login, args[1])
				return err
			})
		},
	}
}

func newUserInviteCommand(data *string) *cobra.Command {
	var days, uses int
	var url string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "invite COHORT",
		Short: "Make a link with which learners join a cohort",
		Long: `Make a link with which learners join a cohort. The cohort is made when there is
none of that name. The link is shown this once; only its hash is kept.`,
		Example: `  drydock user invite "Autumn 2026"
  drydock user invite "Autumn 2026" --days 3 --uses 30 --url https://drydock.example.org`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd.Context(), *data, func(db *store.Store) error {
				cohort, err := findCohort(cmd.Context(), db, args[0])
				if errors.Is(err, store.ErrNotFound) {
					cohort, err = db.AddCohort(cmd.Context(), args[0], 0)
				}
				if err != nil {
					return plainly(err)
				}
				token, invite, err := db.AddInvite(cmd.Context(), cohort.ID, 0, time.Duration(days)*24*time.Hour, uses)
				if err != nil {
					return plainly(err)
				}
				return printInvite(cmd.OutOrStdout(), invite, inviteLink(*data, url, token), asJSON)
			})
		},
	}
	cmd.Flags().IntVar(&days, "days", inviteDays, "how long the link is valid")
	cmd.Flags().IntVar(&uses, "uses", 0, "how many people may join with it; 0 for any number")
	cmd.Flags().StringVar(&url, "url", "", "address of the server as learners see it (default that of the one that runs)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the invite and its link as JSON")
	return cmd
}

// inviteLink is the address that joins, or only its path when no server is known.
func inviteLink(data, url, token string) string {
	if url == "" {
		url = readAddress(data)
	}
	return strings.TrimSuffix(url, "/") + "/join/" + token
}

func printInvite(out io.Writer, invite store.Invite, link string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(struct {
			store.Invite
			Link string `json:"link"`
		}{invite, link})
	}
	howMany := "any number of people"
	if invite.MaxUses == 1 {
		howMany = "one person"
	} else if invite.MaxUses > 1 {
		howMany = strconv.Itoa(invite.MaxUses) + " people"
	}
	_, err := fmt.Fprintf(out, "With this link %s can join %s until %s:\n  %s\n",
		howMany, invite.CohortName, invite.Expires.Local().Format("2 January 2006, 15:04"), link)
	return err
}

func newUserListCommand(data *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List everybody",
		Example: `  drydock user list --json | jq -r 'select(.role == "instructor") | .login'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd.Context(), *data, func(db *store.Store) error {
				users, err := db.Users(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					lines := json.NewEncoder(cmd.OutOrStdout())
					for _, u := range users {
						err = errors.Join(err, lines.Encode(u))
					}
					return err
				}
				cohorts, err := db.Cohorts(cmd.Context())
				if err != nil {
					return err
				}
				return printUsers(cmd.OutOrStdout(), users, cohorts)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func printUsers(out io.Writer, users []store.User, cohorts []store.Cohort) error {
	names := map[int64]string{}
	for _, c := range cohorts {
		names[c.ID] = c.Name
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LOGIN\tNAME\tROLE\tCOHORT\tSINCE")
	for _, u := range users {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", u.Login, u.Name, u.Title(), names[u.Cohort], u.Created.Local().Format(time.DateOnly))
	}
	return table.Flush()
}

// withStore runs fn on the database of a data directory that must be there:
// a mistyped --data must not make a new one.
func withStore(ctx context.Context, data string, fn func(*store.Store) error) (err error) {
	path := filepath.Join(data, store.FileName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no %s: name the data directory with --data; `drydock serve` makes it", path)
	}
	db, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return fn(db)
}

func withUser(cmd *cobra.Command, data, login string, fn func(*store.Store, store.User) error) error {
	return withStore(cmd.Context(), data, func(db *store.Store) error {
		user, err := db.UserByLogin(cmd.Context(), login)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("nobody has the login %q; `drydock user list` shows all", login)
		}
		if err != nil {
			return err
		}
		return fn(db, user)
	})
}

func findCohort(ctx context.Context, db *store.Store, name string) (store.Cohort, error) {
	cohorts, err := db.Cohorts(ctx)
	if err != nil {
		return store.Cohort{}, err
	}
	var names []string
	for _, c := range cohorts {
		if c.Name == strings.TrimSpace(name) {
			return c, nil
		}
		names = append(names, strconv.Quote(c.Name))
	}
	return store.Cohort{}, fmt.Errorf("cohort %q %w; there are: %s", name, store.ErrNotFound, strings.Join(names, ", "))
}

// plainly leaves of an error what the person who typed something must know.
func plainly(err error) error {
	invalid := store.InvalidErrors(err)
	if len(invalid) == 0 {
		return err
	}
	messages := make([]string, len(invalid))
	for i, e := range invalid {
		messages[i] = e.Msg
	}
	return errors.New(strings.Join(messages, " "))
}

// readPassword asks for a password on the terminal, twice if it is a new one,
// or reads the first line of standard input.
func readPassword(cmd *cobra.Command, isNew bool) (string, error) {
	in, isFile := cmd.InOrStdin().(*os.File)
	if !isFile || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password from standard input: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", errors.New("standard input has no password on its first line")
		}
		return line, nil
	}
	first, err := askHidden(cmd, in, "Password: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := askHidden(cmd, in, "The same again: ")
	if err == nil && second != first {
		return "", errors.New("the two are not the same; nothing was changed")
	}
	return second, err
}

// askHidden reads a line without echo. An interrupt must not leave the
// terminal without it, so the echo is put back when ctx ends as well.
func askHidden(cmd *cobra.Command, in *os.File, prompt string) (string, error) {
	state, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask for the password: %w", err)
	}
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	defer fmt.Fprintln(cmd.ErrOrStderr())
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(int(in.Fd()))
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return "", fmt.Errorf("read the password: %w", a.err)
		}
		return string(a.text), nil
	case <-cmd.Context().Done():
		return "", errors.Join(errors.New("interrupted; nothing was changed"), term.Restore(int(in.Fd()), state))
	}
}
