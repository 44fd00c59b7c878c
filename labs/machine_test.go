package labs_test

import (
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"drydock/labs"
	"drydock/labs/catalogue"
	"drydock/sandbox/image"
	"drydock/sandbox/machine"
)

// TestProveMachineLab proves the machine lab that comes with Drydock on real
// machines, with every solution and every wrong fix, in every variant.
func TestProveMachineLab(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the engine: make test runs it")
	}
	t.Parallel() // it waits most of the time
	cli, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	provider, err := machine.New(machine.Config{Instance: "machinelab", Image: image.MachineRef, Engine: cli})
	if err != nil {
		t.Fatal(err)
	}
	lab, err := labs.LoadLab(catalogue.FS(), "full-disk")
	if err != nil {
		t.Fatal(err)
	}
	proof, err := labs.Prove(t.Context(), lab, labs.ProveOptions{Provider: provider, Parallel: 9, Done: func(c labs.Case) {
		t.Logf("%-8s %-10s %-24s %5.1f s %s", c.Variant, c.Kind, c.Name, c.Took.Seconds(), strings.Join(c.Problems, "; "))
	}})
	if err != nil || !proof.OK {
		t.Errorf("not proven: %v", err)
	}
	if infos, err := provider.List(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("left: %v, %v", infos, err)
	}
}
