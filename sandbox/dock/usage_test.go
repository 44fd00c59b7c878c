package dock

import "testing"

func TestHasKilled(t *testing.T) {
	for text, want := range map[string]bool{
		"oom_kill_disable 0\nunder_oom 0\noom_kill 0\n":              false, // version 1
		"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n":              true,
		"low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0": true, // version 2
		"low 0\nhigh 0\nmax 12\noom 2\noom_kill 0\noom_group_kill 0": false,
		"": false,
	} {
		if got := hasKilled(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
