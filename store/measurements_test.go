package store_test

import (
	"slices"
	"testing"
	"time"

	"drydock/store"
)

func TestMeasurementsOutliveTheServer(t *testing.T) {
	t.Parallel()
	s, path := openNew(t)
	begin := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var kept []store.Measurement
	for i := range 3 {
		m := store.Measurement{At: begin.Add(time.Duration(i) * time.Hour), Kind: "cluster", How: "cold", Template: "flag-1-default", Took: 6500 * time.Millisecond, Memory: int64(i) << 20}
		if err := s.AddMeasurement(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, m)
	}
	again := open(t, path)
	got, err := again.Measurements(t.Context(), begin)
	if err != nil || !slices.Equal(got, kept[1:]) {
		t.Errorf("after the first: %+v, %v", got, err)
	}
}
