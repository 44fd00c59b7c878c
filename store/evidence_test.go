package store_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"drydock/labs"
	"drydock/labs/grade"
	"drydock/store"
)

// noise is JSON that hardly compresses.
func noise(n int) json.RawMessage {
	random := make([]byte, n/2)
	rand.Read(random)
	return json.RawMessage(fmt.Appendf(nil, `"%x"`, random))
}

func TestSeenEvidenceOfManyAttempts(t *testing.T) {
	c := newClock()
	s, path := openNew(t)
	ada := addUser(t, s, store.NewUser{Login: "ada"}).ID
	addAttempt(t, s, "a1", ada, c.now())
	addAttempt(t, s, "a2", ada, c.now())
	at := func(second int) time.Time { return c.now().Add(time.Duration(second) * time.Second) }
	full, err := s.AddSeen(t.Context(), map[string]labs.Seen{
		"a1": {LeftOut: 2, Evidence: []grade.Evidence{
			{Check: "c", At: at(1), Run: 7, Format: 1, Data: json.RawMessage(`{"n":1}`)},
			{Check: "c", At: at(3), Run: 7, Format: 1, Data: json.RawMessage(`{"n":2}`)},
			{Check: "c", At: at(4), Run: 7, Data: json.RawMessage(`no JSON`)}, // left out, and nothing else for it
			{Check: "c", At: at(5), Run: 8, Format: 1, Data: json.RawMessage(`{"n":2}`)},
		}},
		"a2":   {Evidence: []grade.Evidence{{Check: "c", At: at(2), Error: "blind"}}},
		"none": {Evidence: []grade.Evidence{{Check: "c", At: at(2), Error: "blind"}}},
	})
	if len(full) != 0 || err != nil {
		t.Fatal(full, err)
	}
	again := open(t, path)
	first := must[[]grade.Evidence](t)(again.Evidence(t.Context(), "a1"))
	if len(first) != 3 || first[1].Run != 7 || first[2].Run != 8 || !first[2].At.Equal(at(5)) || first[0].Format != 1 {
		t.Errorf("equal sights of two runs are kept as %s", jsonOf(t, first))
	}
	if other := must[[]grade.Evidence](t)(again.Evidence(t.Context(), "a2")); len(other) != 1 || other[0].Error != "blind" {
		t.Errorf("the second attempt has %s", jsonOf(t, other))
	}
	if err := again.AddEvidence(t.Context(), "a1", grade.Evidence{Check: "b", At: at(9), Data: json.RawMessage(`1`)}); err != nil {
		t.Fatal(err)
	}
	last := must[[]grade.Evidence](t)(again.LastEvidence(t.Context(), "a1"))
	if len(last) != 2 || last[0].Check != "b" || last[1].Run != 8 || !last[1].At.Equal(at(5)) {
		t.Errorf("the last of each check are %s", jsonOf(t, last))
	}
	if left := must[int](t)(again.EvidenceLeftOut(t.Context(), "a1")); left != 3 {
		t.Errorf("%d pieces were left out, want 3", left)
	}
}

// What decides nothing fills up three quarters of the room, and then still
// finds none where what decides does.
func TestSeenEvidenceLeavesRoomForWhatDecides(t *testing.T) {
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	addAttempt(t, s, "a2", addUser(t, s, store.NewUser{Login: "bob"}).ID, time.Now())
	piece := func() grade.Evidence {
		return grade.Evidence{Check: "c", At: time.Now(), Data: noise(8<<20 - 2)}
	}
	var full []string
	for tries := 0; len(full) == 0; tries++ {
		if tries > 20 {
			t.Fatal("an attempt may fill the disk")
		}
		var err error
		if full, err = s.AddSeen(t.Context(), map[string]labs.Seen{
			"a1": {Evidence: []grade.Evidence{piece()}},
			"a2": {Evidence: []grade.Evidence{{Check: "c", At: time.Now(), Data: json.RawMessage(fmt.Sprint(tries))}}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if full[0] != "a1" || len(full) != 1 {
		t.Errorf("full are %v", full)
	}
	if n := must[int](t)(s.EvidenceLeftOut(t.Context(), "a1")); n != 1 {
		t.Errorf("%d pieces were left out, want 1", n)
	}
	if err := s.AddEvidence(t.Context(), "a1", piece()); err != nil {
		t.Errorf("what decides finds no room: %v", err)
	}
}

// What is in the file and can't be read makes the check that saw it blind, and
// nothing worse.
func TestEvidenceThatCannotBeRead(t *testing.T) {
	s, _ := openNew(t)
	addAttempt(t, s, "a1", addUser(t, s, store.NewUser{Login: "ada"}).ID, time.Now())
	if err := s.AddEvidence(t.Context(), "a1", grade.Evidence{Check: "c", At: time.Now(), Data: json.RawMessage(`{"object":{}}`)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Execute(t, `UPDATE evidence SET data = x'0102030405'`); err != nil {
		t.Fatal(err)
	}
	kept := must[[]grade.Evidence](t)(s.Evidence(t.Context(), "a1"))
	if len(kept) != 1 || kept[0].Error == "" || kept[0].Data != nil {
		t.Errorf("it is read as %s", jsonOf(t, kept))
	}
}

// FuzzEvidence puts anything into the file where compressed evidence should be.
func FuzzEvidence(f *testing.F) {
	s, err := store.Open(f.Context(), filepath.Join(f.TempDir(), store.FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	user, err := s.AddUser(f.Context(), store.NewUser{Name: "ada", Login: "ada", Password: "correct horse battery", Role: store.RoleLearner})
	if err == nil {
		err = s.CreateAttempt(f.Context(), labs.Attempt{ID: "a1", User: user.ID, Created: time.Now()})
	}
	if err == nil {
		err = s.AddEvidence(f.Context(), "a1", grade.Evidence{Check: "c", At: time.Now(), Data: json.RawMessage(`{"object":{"a":[1,2,3]}}`)})
	}
	if err != nil {
		f.Fatal(err)
	}
	packed, err := s.PackedEvidence(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, 1)
	f.Add(bytes.Repeat(packed, 3), 0)
	f.Add([]byte("{}"), 1<<40)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa4, 0xff, 0xff, 0xff, 0xff}, -1) // a frame that says it is 4 GiB
	f.Fuzz(func(t *testing.T, packed []byte, format int) {
		if err := s.SetPackedEvidence(t.Context(), packed, format); err != nil {
			t.Fatal(err)
		}
		kept, err := s.Evidence(t.Context(), "a1")
		if err != nil || len(kept) != 1 {
			t.Fatalf("%d pieces, %v", len(kept), err)
		}
		if e := kept[0]; (e.Error == "") != json.Valid(e.Data) && len(packed) > 0 {
			t.Errorf("neither read nor an error: %q, %q", e.Data, e.Error)
		}
	})
}
