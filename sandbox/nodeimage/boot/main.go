// Command drydock-boot is the first program of a node's container.
//
//	drydock-boot PROGRAM ARG...
//
// makes the node what its environment asks for and becomes PROGRAM, which is
// kind's own entrypoint. Without a setting of Drydock's in the environment it
// does nothing, and the image is one of kind's like any other:
//
//	DRYDOCK_ADDRESS  an address that the node gives itself. What Kubernetes
//	                 writes down of the node's address then holds in every copy.
//	DRYDOCK_DISK     bytes. /var becomes a file system of this size, so that
//	                 nobody fills more of the machine's disk than that.
//
// In a container of a template it also unpacks the template's /var and makes
// new keys, the first time it is started.
//
//	drydock-boot quiesce
//	drydock-boot seal
//
// make a template of a running node, one after the other, as far as that can be
// done inside it. They stop the cluster for good.
//
//	drydock-boot door
//
// runs in a copy of a template while it starts; see [door].
//
//	drydock-boot audit [PLACE]
//
// prints what the API server has written to its audit log since a place in it,
// after a line that says where to go on; see [readAudit].
//
//	drydock-address
//
// is the same file by another name, and gives pods their addresses; see [addresses].
//
// The program uses the standard library only, and what stands in the image.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Settings in the environment.
const (
	addressSetting = "DRYDOCK_ADDRESS"
	diskSetting    = "DRYDOCK_DISK"
)

// Files of a template.
const (
	// packedVar is the template's /var.
	packedVar = "/kind/template-var.tar"
	// renewed marks a node that has its own keys; the server waits for it.
	renewed = "/kind/renewed"
	// firstBoot is there until the container stops: see drydock-door.service.
	firstBoot = "/run/drydock-first-boot"
)

func main() {
	if filepath.Base(os.Args[0]) == addressProgram {
		if err := giveAddress(); err != nil {
			fmt.Fprintln(os.Stderr, addressProgram+":", err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "drydock-boot:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		return errors.New("usage: drydock-boot PROGRAM ARG... | drydock-boot quiesce | drydock-boot seal | drydock-boot door | drydock-boot audit [PLACE]")
	case args[0] == "quiesce":
		return quiesce()
	case args[0] == "seal":
		return seal()
	case args[0] == "door":
		return door()
	case args[0] == "audit" && len(args) <= 2:
		return readAudit(auditDir, strings.Join(args[1:], ""), os.Stdout)
	}
	if err := boot(); err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

func giveAddress() error {
	config, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	return addresses{plugin: addressPlugin, book: addressBook, out: os.Stdout, log: os.Stderr}.serve(os.Environ(), config)
}

func boot() error {
	if address := os.Getenv(addressSetting); address != "" {
		if err := command("ip", "address", "replace", address+"/32", "dev", "lo"); err != nil {
			return err
		}
		// With this note kind's entrypoint would renew the API server's
		// certificate whenever the engine's address has changed.
		for _, note := range []string{"/kind/old-ipv4", "/kind/old-ipv6"} {
			if err := os.Remove(note); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if size := os.Getenv(diskSetting); size != "" {
		if err := limitVar(size); err != nil {
			return fmt.Errorf("limit the node's disk: %w", err)
		}
	}
	return wake()
}

// wake makes a node of its own of a copy of a template.
func wake() error {
	if !exists(packedVar) || exists(renewed) {
		return nil
	}
	if err := command("tar", "--extract", "--numeric-owner", "--file", packedVar, "--directory", "/var"); err != nil {
		return err
	}
	if err := renew("/etc/kubernetes"); err != nil {
		return fmt.Errorf("make the node's keys: %w", err)
	}
	if err := os.WriteFile(firstBoot, nil, 0o644); err != nil {
		return err
	}
	return os.WriteFile(renewed, nil, 0o644)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// command runs a program and puts what it said into the error.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
