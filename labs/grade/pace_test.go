package grade

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestAwaited: a probe that looks once an hour looks soon once the learner is at work.
func TestAwaited(t *testing.T) {
	h := newHere(t)
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer server.Close()
	set := mustCompile(t, Check{ID: "up", HTTP: &HTTP{URL: server.URL, Every: Duration(time.Hour)}, That: "response.code == 200"})
	b := &bench{T: t, env: Env{Exec: h.exec}}
	r := b.run(set)
	r.await(t, 0, "down", fails("response.code is 503, wanted 200"))
	status.Store(http.StatusOK)
	set.Attend()
	r.await(t, 0, "up", passes)
}

// TestPaces: who looks how often, and for how long.
func TestPaces(t *testing.T) {
	const url = "http://localhost/"
	rarely := Duration(time.Hour)
	set := mustCompile(t,
		Check{ID: "page", HTTP: &HTTP{URL: url, Every: rarely}, That: "response.code == 200"},
		Check{ID: "order", HTTP: &HTTP{URL: url, Method: "POST", Every: rarely}, That: "response.code == 200"},
		Check{ID: "port", TCP: &TCP{Address: "localhost:80", Every: rarely}, That: "connection.open"},
		Check{ID: "talk", TCP: &TCP{Address: "localhost:80", Send: "drop\n", Every: rarely}, That: "connection.open"},
		Check{ID: "name", DNS: &DNS{Name: "localhost", Every: rarely}, That: `lookup.code == "NOERROR"`},
		Check{ID: "often", HTTP: &HTTP{URL: url, Every: Duration(200 * time.Millisecond)}, That: "response.code == 200"},
	)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	p, err := newPlace(Env{Exec: newHere(t).exec, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{place: p, tracks: set.track(nil, nil, nil), nudge: make(chan struct{}, 1)}
	if r.sources, err = set.sources(p, every); err != nil {
		t.Fatal(err)
	}
	looks := func(when, want string, wantLeft time.Duration) {
		t.Helper()
		left := r.setPaces(now)
		var paces []time.Duration
		for _, src := range r.sources {
			paces = append(paces, src.source.(*vantage).pace.now())
		}
		if got := fmt.Sprint(paces); got != want || left != wantLeft {
			t.Errorf("%s: looks are %s apart for %s; want %s for %s", when, got, left, want, wantLeft)
		}
	}
	const asWritten = "[1h0m0s 1h0m0s 1h0m0s 1h0m0s 1h0m0s 200ms]"
	looks("before anything was done", asWritten, time.Hour)
	r.attend()
	if len(r.nudge) != 1 {
		t.Error("the first key wakes nobody")
	}
	looks("at work", "[400ms 1h0m0s 400ms 1h0m0s 400ms 200ms]", awaitedFor)
	<-r.nudge
	r.attend()
	if len(r.nudge) != 0 {
		t.Error("the second key wakes somebody for nothing")
	}
	r.tracks.checks[0].last.Verdict = Pass
	now = now.Add(awaitedFor / 2)
	looks("the page answers", "[1h0m0s 1h0m0s 400ms 1h0m0s 400ms 200ms]", awaitedFor/2)
	now = now.Add(awaitedFor)
	looks("nothing happened", asWritten, time.Hour)
	r.stir(now)
	looks("something changed", "[1h0m0s 1h0m0s 400ms 1h0m0s 400ms 200ms]", awaitedFor)
	now = now.Add(causedFor)
	r.stir(now)
	looks("something changed by itself", asWritten, time.Hour)
}
