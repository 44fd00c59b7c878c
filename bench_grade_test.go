package main

import (
	"testing"
	"time"

	"drydock/labs/grade"
)

func TestProcessTime(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 100 20 300 4 20 0 1 0"
	for stat, want := range map[string]struct {
		name    string
		seconds float64
		ok      bool
	}{
		"7 (dockerd)" + rest:                    {"dockerd", 4.24, true},
		"7 (a) R (b c))" + rest:                 {"a) R (b c)", 4.24, true},
		"7 (dockerd) S 1 2":                     {"", 0, false},
		"7 dockerd":                             {"", 0, false},
		"7 )(" + rest:                           {"", 0, false},
		"":                                      {"", 0, false},
		"7 (x) a b c d e f g h i j k l m n o p": {"", 0, false},
	} {
		name, seconds, ok := processTime([]byte(stat))
		if name != want.name || seconds != want.seconds || ok != want.ok {
			t.Errorf("%q: %q, %v s, %v; want %+v", stat, name, seconds, ok, want)
		}
	}
}

// TestSpentSince: what came or went in between is not counted.
func TestSpentSince(t *testing.T) {
	before := spent{cores: cores{server: 1, clusters: 10}, processes: map[int]float64{1: 5, 2: 100}}
	after := spent{cores: cores{server: 2, clusters: 15}, processes: map[int]float64{1: 7.5, 3: 100}}
	if got, want := after.since(before, 10*time.Second), (cores{server: 0.1, engine: 0.25, clusters: 0.5}); got != want || got.all() != 0.85 {
		t.Errorf("%+v, together %v; want %+v", got, got.all(), want)
	}
}

// TestBenchLabs: the labs that are measured on are sound.
func TestBenchLabs(t *testing.T) {
	for name, files := range map[string]map[string]string{"flip": tickLab, "watched": gradeLab} {
		dir := t.TempDir()
		if err := writeFiles(dir+"/"+name, files); err != nil {
			t.Fatal(err)
		}
		set, err := loadLabs(dir)
		if err != nil {
			t.Fatal(err)
		}
		lab, _ := set.Get(name)
		if _, problems := grade.Compile(lab.Checks()); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}
