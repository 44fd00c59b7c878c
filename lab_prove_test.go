package main

import (
	"bytes"
	"strings"
	"testing"

	"drydock/labs"
	"drydock/sandbox"
)

func TestRoomForProofs(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		kind  sandbox.Kind
		cores int
		free  int64
		want  int
	}{
		{sandbox.Cluster, 2, 20 * gib, 2},
		{sandbox.Cluster, 8, 6 * gib, 3}, // memory is what there is least of
		{sandbox.Cluster, 1, gib / 2, 1}, // never none
		{sandbox.Cluster, 64, 500 * gib, maxParallel},
		{sandbox.Machine, 2, 20 * gib, 4},
		{sandbox.Machine, 4, gib, 5},
	} {
		if got := roomIn(c.kind, c.cores, c.free); got != c.want {
			t.Errorf("%d cores, %d MiB free: %d at once, want %d of a %s", c.cores, c.free>>20, got, c.want, c.kind)
		}
	}
	if free, err := memoryFigure("MemAvailable"); err != nil || free <= 0 {
		t.Errorf("free memory %d, %v", free, err)
	}
	if _, err := memoryFigure("MemNone"); err == nil {
		t.Error("a figure that the kernel does not have was found")
	}
}

func TestAProofIsToldInWords(t *testing.T) {
	proof := labs.Proof{
		Lab: "shop", OK: true,
		Cases: []labs.Case{{Variant: "typo", Kind: labs.CaseWrong, Name: "scale", OK: true, Notes: []string{"it did not come to rest"}}},
		Needs: []labs.Need{
			{ID: "ready", Kind: "check", Catches: []string{"scale", "half"}, Alone: []string{"scale"}},
			{ID: "answers", Kind: "check", Catches: []string{"half"}},
			{ID: "same", Kind: "guard"},
		},
	}
	var out bytes.Buffer
	printCase(&out, proof.Cases[0])
	printNeeds(&out, proof)
	printVerdict(&out, proof)
	for _, want := range []string{
		"      it did not come to rest\n",
		"ready                    scale\n",
		"answers                  nothing: nobody needs it; others catch what it does (half)\n",
		"same                     nothing: nobody needs it; no wrong fix is caught by it\n",
		"shop is proven: 1 case in 0s; no wrong fix needs answers, same\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
