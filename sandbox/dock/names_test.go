package dock

import (
	"regexp"
	"testing"

	"github.com/moby/moby/api/types/container"

	"drydock/sandbox"
)

func TestUse(t *testing.T) {
	n := Names{Instance: "one", Role: "machine"}
	for end, want := range map[string]struct {
		use sandbox.Use
		to  Assignment
	}{
		EndPreparing:                         {use: sandbox.Preparing},
		EndSpare:                             {use: sandbox.Spare},
		EndLeaving:                           {use: sandbox.Leaving},
		Assignment{"session1", 12}.End():     {sandbox.Serving, Assignment{"session1", 12}},
		Assignment{"session1", 2}.KeptEnd():  {sandbox.Kept, Assignment{"session1", 2}},
		"kept-session1":                      {use: sandbox.Leaving},
		"for-session1":                       {use: sandbox.Leaving},
		"for-session1-x":                     {use: sandbox.Leaving},
		"session1-1":                         {use: sandbox.Leaving},
		"":                                   {use: sandbox.Leaving},
		EndSpare + "-that-was-renamed-by-me": {use: sandbox.Leaving},
	} {
		c := container.Summary{Names: []string{"/" + n.Of("abcd", end)}, Labels: map[string]string{LabelSandbox: "abcd"}}
		if use, to := n.Use(c); use != want.use || to != want.to {
			t.Errorf("%s: %s, %+v, want %+v", c.Names[0], use, to, want)
		}
	}
	c := container.Summary{Names: []string{"/somebody-elses"}, Labels: map[string]string{LabelSandbox: "abcd"}}
	if use, _ := n.Use(c); use != sandbox.Leaving {
		t.Errorf("a container of another name is %s", use)
	}
}

// TestSessionFilter: the engine matches it against names that begin with a slash.
func TestSessionFilter(t *testing.T) {
	n := Names{Instance: "one", Role: "machine"}
	filter := regexp.MustCompile(n.SessionFilter("session1"))
	for _, end := range []string{Assignment{"session1", 3}.End(), Assignment{"session1", 3}.KeptEnd()} {
		if name := "/" + n.Of(NewID(), end); !filter.MatchString(name) {
			t.Errorf("%s does not match %s", filter, name)
		}
	}
	for _, name := range []string{
		"/" + n.Of("abcd", Assignment{"session12", 1}.End()), "/" + n.Of("abcd", EndSpare),
		"/" + n.Of("abcd", Assignment{"session12", 1}.KeptEnd()),
		"/" + Names{"two", "machine"}.Of("abcd", Assignment{"session1", 1}.End()),
		"/" + Names{"one", "terminal"}.Of("abcd", Assignment{"session1", 1}.End()),
	} {
		if filter.MatchString(name) {
			t.Errorf("%s matches %s", filter, name)
		}
	}
	if err := CheckID(NewID()); err != nil {
		t.Error(err)
	}
}
