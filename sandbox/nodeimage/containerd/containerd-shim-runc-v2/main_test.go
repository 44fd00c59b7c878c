package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestJoin(t *testing.T) {
	for name, tt := range map[string]struct{ before, after string }{
		"annotated": {
			`{"ociVersion":"1.3.0","process":{"rlimits":[{"hard":18446744073709551615}]},"annotations":{"a":"b"}}`,
			`{"annotations":{"a":"b","io.containerd.runc.v2.group":"node"},"ociVersion":"1.3.0","process":{"rlimits":[{"hard":18446744073709551615}]}}`,
		},
		"bare": {`{}`, `{"annotations":{"io.containerd.runc.v2.group":"node"}}`},
		"null": {`{"annotations":null}`, `{"annotations":{"io.containerd.runc.v2.group":"node"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), specification)
			if err := os.WriteFile(file, []byte(tt.before), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := join(file); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != tt.after {
				t.Errorf("%v\ngot  %s\nwant %s", err, got, tt.after)
			}
		})
	}
}

func TestJoinRefusesWhatIsNoSpecification(t *testing.T) {
	file := filepath.Join(t.TempDir(), specification)
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := join(file); err == nil {
		t.Error("no error")
	}
}
