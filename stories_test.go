package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/store"
)

// Each file of testdata/stories is a story of the command line, told to the
// program as it is built, in a directory of its own.
func TestStories(t *testing.T) {
	bin := filepath.Dir(program(t))
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "stories"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"attempted": attempted},
	})
}

// attempted puts an attempt that has ended into a data directory, as a server
// leaves it: attempted DATA LAB FILE.
func attempted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: attempted DATA LAB FILE")
	}
	var left struct {
		Attempt  labs.Attempt
		Login    string
		Events   []labs.Event
		Evidence []grade.Evidence
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[2])), &left))
	folder, slug := filepath.Split(ts.MkAbs(args[1]))
	lab, err := labs.LoadLab(os.DirFS(folder), slug)
	ts.Check(err)
	a := left.Attempt
	a.Lab, a.Version = lab.Slug, lab.Version
	ctx := context.Background()
	db, err := store.Open(ctx, filepath.Join(ts.MkAbs(args[0]), store.FileName))
	ts.Check(err)
	defer db.Close()
	user, err := db.UserByLogin(ctx, left.Login)
	ts.Check(err)
	a.User = user.ID
	ts.Check(lab.KeepWith(ctx, db))
	ts.Check(db.CreateAttempt(ctx, a))
	_, err = db.AppendEvents(ctx, a.ID, left.Events...)
	ts.Check(err)
	p := labs.Fold(lab, left.Events)
	ts.Check(errors.Join(
		db.AddEvidence(ctx, a.ID, left.Evidence...), db.SetScore(ctx, a.ID, p.Score, p.MaxScore), db.EndAttempt(ctx, a.ID, p.Ended)))
}
