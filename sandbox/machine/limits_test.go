package machine_test

import (
	"strings"
	"testing"

	"drydock/sandbox"
	"drydock/sandbox/machine"
)

func TestAcceptFillsInWhatASpecLeavesOpen(t *testing.T) {
	got, err := machine.Accept(sandbox.Spec{Limits: sandbox.Limits{Disk: 64 << 20}})
	if want := (sandbox.Limits{Memory: 768 << 20, CPUs: 1, PIDs: 512, Disk: 64 << 20}); err != nil || got != want {
		t.Errorf("limits %+v, %v; want %+v", got, err, want)
	}
	for want, spec := range map[string]sandbox.Spec{
		"not a \"cluster\"":       {Kind: sandbox.Cluster},
		"a machine is one":        {Nodes: 2},
		"64 MiB of memory":        {Limits: sandbox.Limits{Memory: 1 << 20}},
		"128 processes":           {Limits: sandbox.Limits{PIDs: 5}},
		"16 MiB of disk":          {Limits: sandbox.Limits{Disk: 1 << 20}},
		"0.05 of a processor":     {Limits: sandbox.Limits{CPUs: -1}},
		"at least 0.05 of a proc": {Limits: sandbox.Limits{CPUs: 0.01}},
	} {
		if _, err := machine.Accept(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", spec, err, want)
		}
	}
}
