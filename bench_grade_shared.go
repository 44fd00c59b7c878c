package main

import (
	"context"
	"fmt"
	"sync"

	"drydock/sandbox"
)

// sharedClusters lets several sessions have one cluster, by turns, so that
// more can be graded than the machine has room for. What is theirs alone, the
// making and the removal of a sandbox, costs nothing here.
type sharedClusters struct {
	sandbox.Provider
	hosts []string // the sessions that have the clusters

	mu     sync.Mutex
	guests map[string]guest // by session
}

// guest is a session in the cluster of another.
type guest struct {
	host   string
	number int
}

// info is the host's sandbox as the guest's own.
func (g guest) info(host sandbox.Info, session string) sandbox.Info {
	host.Session = session
	host.ID = fmt.Sprintf("%s-%d", host.ID, g.number)
	return host
}

func (s *sharedClusters) of(session string) (guest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.guests[session]
	if !ok {
		return g, fmt.Errorf("session %s: %w", session, sandbox.ErrNotFound)
	}
	return g, nil
}

// Create gives the session a place in the next cluster.
func (s *sharedClusters) Create(ctx context.Context, spec sandbox.Spec, _ sandbox.Progress) (sandbox.Info, error) {
	s.mu.Lock()
	if _, again := s.guests[spec.Session]; !again {
		n := len(s.guests)
		s.guests[spec.Session] = guest{host: s.hosts[n%len(s.hosts)], number: n + 1}
	}
	s.mu.Unlock()
	return s.Get(ctx, spec.Session)
}

// Get describes the session's sandbox.
func (s *sharedClusters) Get(ctx context.Context, session string) (sandbox.Info, error) {
	g, err := s.of(session)
	if err != nil {
		return sandbox.Info{}, err
	}
	info, err := s.Provider.Get(ctx, g.host)
	return g.info(info, session), err
}

// List returns the guests' sandboxes.
func (s *sharedClusters) List(ctx context.Context) ([]sandbox.Info, error) {
	infos, err := s.Provider.List(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var theirs []sandbox.Info
	for session, g := range s.guests {
		for _, info := range infos {
			if info.Session == g.host {
				theirs = append(theirs, g.info(info, session))
			}
		}
	}
	return theirs, nil
}

// Destroy ends the session's stay.
func (s *sharedClusters) Destroy(_ context.Context, session string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guests, session)
	return nil
}

// Exec runs a command in the session's cluster.
func (s *sharedClusters) Exec(ctx context.Context, session string, cmd sandbox.Command) (sandbox.Result, error) {
	g, err := s.of(session)
	if err != nil {
		return sandbox.Result{}, err
	}
	return s.Provider.Exec(ctx, g.host, cmd)
}

// KubeConfig is the cluster's.
func (s *sharedClusters) KubeConfig(ctx context.Context, session string) ([]byte, error) {
	g, err := s.of(session)
	if err != nil {
		return nil, err
	}
	return s.Provider.KubeConfig(ctx, g.host)
}
