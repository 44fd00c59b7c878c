package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"drydock/store"
)

func TestAddUserAndCheckPassword(t *testing.T) {
	s, _ := openNew(t)
	ada := addUser(t, s, store.NewUser{Name: " Ada Lovelace ", Login: "Ada@Example.org ", Password: "notes on the engine é"})
	if ada.Name != "Ada Lovelace" || ada.Login != "ada@example.org" || ada.Role != store.RoleLearner {
		t.Errorf("the account is %+v", ada)
	}
	for _, login := range []string{"ada@example.org", " ADA@example.ORG"} {
		got, err := s.CheckPassword(t.Context(), login, "notes on the engine e\u0301") // é as two code points
		if err != nil || got != ada {
			t.Errorf("CheckPassword(%q) = %+v, %v", login, got, err)
		}
	}
	for _, try := range [][2]string{{"ada@example.org", "notes on the engine"}, {"ada@example.org", ""}, {"nobody", "notes on the engine é"}, {"ada@example.org", strings.Repeat("x", 1<<20)}} {
		if _, err := s.CheckPassword(t.Context(), try[0], try[1]); !errors.Is(err, store.ErrWrongPassword) {
			t.Errorf("CheckPassword(%q, %.20q): %v", try[0], try[1], err)
		}
	}
}

func TestPasswordIsStoredAsArgon2id(t *testing.T) {
	s, path := openNew(t)
	addUser(t, s, store.NewUser{Login: "ada", Password: "unmistakable words"})
	for _, name := range []string{path, path + "-wal"} {
		data := must[[]byte](t)(os.ReadFile(name))
		if strings.Contains(string(data), "unmistakable") {
			t.Errorf("%s has the password in it", name)
		}
	}
	phc := s.PasswordHash(t, "ada")
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Errorf("the hash is %s", phc)
	}
}

func TestAWeakerHashIsReplacedOnSignIn(t *testing.T) {
	s, _ := openNew(t)
	addUser(t, s, store.NewUser{Login: "ada"})
	if err := s.Execute(t, `UPDATE users SET password = '`+s.WeakHash(t, "correct horse battery")+`'`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CheckPassword(t.Context(), "ada", "wrong horse battery"); !errors.Is(err, store.ErrWrongPassword) {
		t.Fatal(err)
	}
	if phc := s.PasswordHash(t, "ada"); !strings.Contains(phc, "m=19456") {
		t.Fatalf("a wrong password replaced the hash by %s", phc)
	}
	for range 2 {
		if _, err := s.CheckPassword(t.Context(), "ada", "correct horse battery"); err != nil {
			t.Fatal(err)
		}
		if phc := s.PasswordHash(t, "ada"); !strings.Contains(phc, "m=65536,t=3,p=4") {
			t.Errorf("after sign-in the hash is %s", phc)
		}
	}
}

func TestUnknownLoginTakesAsLongAsAWrongPassword(t *testing.T) {
	s, _ := openNew(t)
	addUser(t, s, store.NewUser{Login: "ada"})
	// The work that is done, not the time on the clock, which others share.
	work := func(login string) time.Duration {
		least := time.Hour
		for range 5 {
			start := cpuTime(t)
			if _, err := s.CheckPassword(t.Context(), login, "not the password"); !errors.Is(err, store.ErrWrongPassword) {
				t.Fatal(err)
			}
			least = min(least, cpuTime(t)-start)
		}
		return least
	}
	known, unknown := work("ada"), work("nobody")
	if unknown < known/2 {
		t.Errorf("an unknown login takes %v of a processor, a known one %v", unknown, known)
	}
}

// cpuTime is what this process has used of the processors.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func TestAddUserSaysWhatToTypeInstead(t *testing.T) {
	s, _ := openNew(t)
	addUser(t, s, store.NewUser{Login: "taken"})
	good := store.NewUser{Name: "Ada", Login: "ada", Password: "correct horse battery"}
	for _, test := range []struct {
		name   string
		change func(*store.NewUser)
		field  string
		says   string
	}{
		{"no name", func(n *store.NewUser) { n.Name = "  " }, "name", "Type the name"},
		{"two lines", func(n *store.NewUser) { n.Name = "Ada\nadmin" }, "name", "on one line"},
		{"turned round", func(n *store.NewUser) { n.Name = "Ada\u202eadA" }, "name", "on one line"},
		{"long name", func(n *store.NewUser) { n.Name = strings.Repeat("é", 101) }, "name", "at most 100"},
		{"no login", func(n *store.NewUser) { n.Login = "" }, "login", "Type a login"},
		{"long login", func(n *store.NewUser) { n.Login = strings.Repeat("a", 65) }, "login", "at most 64"},
		{"space", func(n *store.NewUser) { n.Login = "ada l" }, "login", "letters a to z"},
		{"lookalike", func(n *store.NewUser) { n.Login = "аda" }, "login", "letters a to z"}, // Cyrillic а
		{"taken", func(n *store.NewUser) { n.Login = "Taken" }, "login", "taken"},
		{"short", func(n *store.NewUser) { n.Password = "123456789" }, "password", "at least 10"},
		{"long", func(n *store.NewUser) { n.Password = strings.Repeat("ab", 600) }, "password", "too long"},
		{"login again", func(n *store.NewUser) { n.Login, n.Password = "adalovelace", "AdaLovelace" }, "password", "not be the login"},
		{"one letter", func(n *store.NewUser) { n.Password = "aaaaaaaaaaaa" }, "password", "again and again"},
		{"role", func(n *store.NewUser) { n.Role = "admin" }, "role", "use learner, instructor or operator"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := good
			test.change(&n)
			_, err := s.AddUser(t.Context(), n)
			var invalid *store.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != test.field || !strings.Contains(invalid.Msg, test.says) {
				t.Errorf("error %v; want one on %s that says %q", err, test.field, test.says)
			}
		})
	}
	_, err := s.AddUser(t.Context(), store.NewUser{Password: "short"})
	if all := store.InvalidErrors(err); len(all) != 3 || all[0].Field != "name" || all[1].Field != "login" || all[2].Field != "password" {
		t.Errorf("an empty form: %v", all)
	}
	_, err = s.AddUser(t.Context(), store.NewUser{Name: "X", Login: "taken", Password: "correct horse battery"})
	wantErr(t, err, store.ErrExists)
	good.Cohort = 77
	_, err = s.AddUser(t.Context(), good)
	wantErr(t, err, store.ErrNotFound)
	if users := must[[]store.User](t)(s.Users(t.Context())); len(users) != 1 {
		t.Errorf("refused accounts were made: %+v", users)
	}
}

func TestSignIn(t *testing.T) {
	c := newClock()
	s, path := openNew(t, store.WithClock(c.now))
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	token := must[string](t)(s.SignIn(t.Context(), ada.ID, time.Hour))
	other := must[string](t)(s.SignIn(t.Context(), ada.ID, 2*time.Hour))
	if len(token) < 22 || token == other {
		t.Errorf("tokens %q and %q", token, other)
	}
	for _, name := range []string{path, path + "-wal"} {
		if strings.Contains(string(must[[]byte](t)(os.ReadFile(name))), token) {
			t.Errorf("%s has the token in it", name)
		}
	}
	if u := must[store.User](t)(s.SignedIn(t.Context(), token)); u != ada {
		t.Errorf("signed in as %+v", u)
	}
	_, err := s.SignedIn(t.Context(), token+"x")
	wantErr(t, err, store.ErrNotFound)
	c.move(time.Hour)
	_, err = s.SignedIn(t.Context(), token)
	wantErr(t, err, store.ErrExpired)
	if err := s.SignOut(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	_, err = s.SignedIn(t.Context(), other)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.SignIn(t.Context(), 99, time.Hour)
	wantErr(t, err, store.ErrNotFound)
}

func TestNewPasswordSignsOutEverywhere(t *testing.T) {
	s, _ := openNew(t)
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	token := must[string](t)(s.SignIn(t.Context(), ada.ID, time.Hour))
	if err := s.SetPassword(t.Context(), ada.ID, "short"); err == nil {
		t.Error("a short password was taken")
	}
	if err := s.SetPassword(t.Context(), ada.ID, "another long password"); err != nil {
		t.Fatal(err)
	}
	_, err := s.SignedIn(t.Context(), token)
	wantErr(t, err, store.ErrNotFound)
	if _, err := s.CheckPassword(t.Context(), "ada", "another long password"); err != nil {
		t.Error(err)
	}
	wantErr(t, s.SetPassword(t.Context(), 99, "another long password"), store.ErrNotFound)
}

func TestTheLastInstructorStays(t *testing.T) {
	s, _ := openNew(t)
	grace := addUser(t, s, store.NewUser{Login: "grace", Role: store.RoleInstructor})
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	var invalid *store.InvalidError
	if err := s.SetRole(t.Context(), grace.ID, store.RoleLearner); !errors.As(err, &invalid) {
		t.Fatalf("the only instructor was demoted: %v", err)
	}
	for _, change := range []struct {
		id   int64
		role store.Role
	}{{ada.ID, store.RoleInstructor}, {grace.ID, store.RoleLearner}} {
		if err := s.SetRole(t.Context(), change.id, change.role); err != nil {
			t.Fatal(err)
		}
	}
	if n := must[int](t)(s.CountInstructors(t.Context())); n != 1 {
		t.Errorf("%d instructors", n)
	}
	wantErr(t, s.SetRole(t.Context(), 99, store.RoleLearner), store.ErrNotFound)
}

func TestOperatorsAreInstructors(t *testing.T) {
	s, _ := openNew(t)
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	for _, want := range []struct {
		role     store.Role
		stored   store.Role
		operator bool
	}{
		{store.RoleOperator, store.RoleInstructor, true},
		{store.RoleInstructor, store.RoleInstructor, false},
		{store.RoleOperator, store.RoleInstructor, true},
	} {
		if err := s.SetRole(t.Context(), ada.ID, want.role); err != nil {
			t.Fatal(err)
		}
		u := must[store.User](t)(s.User(t.Context(), ada.ID))
		if u.Role != want.stored || u.Operator != want.operator || u.Title() != want.role {
			t.Errorf("after %s: %+v", want.role, u)
		}
		token := must[string](t)(s.SignIn(t.Context(), ada.ID, time.Hour))
		if in := must[store.User](t)(s.SignedIn(t.Context(), token)); in.Operator != want.operator {
			t.Errorf("signed in after %s: %+v", want.role, in)
		}
	}
	var invalid *store.InvalidError
	if err := s.SetRole(t.Context(), ada.ID, store.RoleLearner); !errors.As(err, &invalid) {
		t.Errorf("the only instructor was demoted: %v", err)
	}
}

// Who had used the first link before there were operators is the one operator.
func TestTheFirstInstructorBecomesTheOperator(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drydock.db")
	db := must[*sql.DB](t)(sql.Open("sqlite3", path))
	script := must[[]byte](t)(os.ReadFile("migrations/0001_first.sql"))
	for _, text := range []string{string(script), `
		INSERT INTO users (name, login, password, role, created) VALUES ('Ada', 'ada', 'x', 'learner', 1);
		INSERT INTO users (name, login, password, role, created) VALUES ('Grace', 'grace', 'x', 'instructor', 2);
		INSERT INTO users (name, login, password, role, created) VALUES ('Barbara', 'barbara', 'x', 'instructor', 3);
		PRAGMA user_version = 1; PRAGMA application_id = 0x44727944`} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := must[*store.Store](t)(store.Open(t.Context(), path))
	defer s.Close()
	var titles []string
	for _, u := range must[[]store.User](t)(s.Users(t.Context())) {
		titles = append(titles, u.Login+" "+string(u.Title()))
	}
	if got := strings.Join(titles, ", "); got != "ada learner, barbara instructor, grace operator" {
		t.Error(got)
	}
}

func TestSetupLinkMakesExactlyOneInstructor(t *testing.T) {
	s, _ := openNew(t)
	older := must[string](t)(s.SetupToken(t.Context()))
	token := must[string](t)(s.SetupToken(t.Context()))
	grace := store.NewUser{Name: "Grace", Login: "grace", Password: "correct horse battery", Role: store.RoleLearner}
	_, err := s.RedeemSetup(t.Context(), older, grace)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.RedeemSetup(t.Context(), token, store.NewUser{Name: "Grace", Login: "grace", Password: "short"})
	var invalid *store.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	if err := s.CheckSetup(t.Context(), token); err != nil {
		t.Fatalf("a mistake in the form used up the link: %v", err)
	}
	u := must[store.User](t)(s.RedeemSetup(t.Context(), token, grace))
	if u.Role != store.RoleInstructor || !u.Operator {
		t.Errorf("the link made a %s", u.Title())
	}
	_, err = s.RedeemSetup(t.Context(), token, store.NewUser{Name: "Eve", Login: "eve", Password: "correct horse battery"})
	wantErr(t, err, store.ErrExists)
	_, err = s.SetupToken(t.Context())
	wantErr(t, err, store.ErrExists)
}
