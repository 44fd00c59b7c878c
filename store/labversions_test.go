package store_test

import (
	"bytes"
	"testing"

	"drydock/store"
)

func TestLabVersions(t *testing.T) {
	s, path := openNew(t)
	if _, ok, err := s.KeptLab(t.Context(), "flag", "0123456789ab"); ok || err != nil {
		t.Errorf("before anything was kept: %v, %v", ok, err)
	}
	for range 2 { // keeping it again changes nothing
		if err := s.KeepLab(t.Context(), "flag", "0123456789ab", []byte("packed")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.KeepLab(t.Context(), "flag", "ba9876543210", []byte("other")); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if packed, ok, err := again.KeptLab(t.Context(), "flag", "0123456789ab"); !bytes.Equal(packed, []byte("packed")) || !ok || err != nil {
		t.Errorf("kept %q, %v, %v", packed, ok, err)
	}
	wantErr(t, s.KeepLab(t.Context(), "flag", "2", make([]byte, 10<<20)), store.ErrTooLarge)
}
