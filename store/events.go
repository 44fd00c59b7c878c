package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"drydock/labs"
)

// maxEventData bounds an event's data: it is read into pages and streamed to
// browsers. What was observed in full belongs into evidence.
const maxEventData = 64 << 10

// AppendEvents appends to the attempt's log in one transaction and returns
// the events as stored: with Attempt and Seq, and At cut to milliseconds. The
// error wraps [ErrNotFound] if there is no such attempt.
func (s *Store) AppendEvents(ctx context.Context, attempt string, events ...labs.Event) (_ []labs.Event, err error) {
	defer wrap(&err, "append to the log of attempt %s", attempt)
	stored := make([]labs.Event, len(events))
	for i, e := range events {
		if stored[i], err = storable(attempt, e); err != nil {
			return nil, err
		}
	}
	if len(stored) == 0 {
		return stored, nil
	}
	err = s.write(ctx, func(tx *sql.Tx) error { return appendEvents(ctx, tx, attempt, stored) })
	if err != nil {
		return nil, err
	}
	return stored, nil
}

// storable checks an event and brings it into the form that is stored.
func storable(attempt string, e labs.Event) (labs.Event, error) {
	switch {
	case e.Attempt != "" && e.Attempt != attempt:
		return e, fmt.Errorf("event %s belongs to attempt %s", e.Type, e.Attempt)
	case e.Type == "":
		return e, fmt.Errorf("an event has no type")
	case e.At.IsZero():
		return e, fmt.Errorf("event %s has no time", e.Type)
	case len(e.Data) > maxEventData:
		return e, fmt.Errorf("event %s with %d bytes of data, %d allowed: %w", e.Type, len(e.Data), maxEventData, ErrTooLarge)
	case len(e.Data) > 0 && !json.Valid(e.Data):
		return e, fmt.Errorf("the data of event %s is not JSON", e.Type)
	}
	e.Attempt = attempt
	e.At = e.At.UTC().Truncate(time.Millisecond)
	return e, nil
}

func appendEvents(ctx context.Context, tx *sql.Tx, attempt string, events []labs.Event) error {
	var last int64
	err := tx.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM events WHERE attempt = ?`, attempt).Scan(&last)
	if err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO events (attempt, seq, at, type, task, check_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for i := range events {
		e := &events[i]
		e.Seq = last + int64(i) + 1
		data := sql.NullString{String: string(e.Data), Valid: len(e.Data) > 0}
		if _, err := insert.ExecContext(ctx, e.Attempt, e.Seq, toMillis(e.At), e.Type, e.Task, e.Check, data); err != nil {
			return err
		}
	}
	return nil
}

const eventColumns = `attempt, seq, at, type, task, check_id, data`

func scanEvent(r row) (e labs.Event, err error) {
	var at sql.NullInt64
	var data sql.NullString
	err = r.Scan(&e.Attempt, &e.Seq, &at, &e.Type, &e.Task, &e.Check, &data)
	e.At = fromMillis(at)
	if data.Valid {
		e.Data = json.RawMessage(data.String)
	}
	return e, err
}

// Events returns the attempt's events with a Seq above after, in order.
func (s *Store) Events(ctx context.Context, attempt string, after int64) (_ []labs.Event, err error) {
	defer wrap(&err, "read the log of attempt %s", attempt)
	return collect(ctx, s.reader, scanEvent,
		`SELECT `+eventColumns+` FROM events WHERE attempt = ? AND seq > ? ORDER BY seq`, attempt, after)
}

// EventsOf returns all events of several attempts, by attempt, in one query.
func (s *Store) EventsOf(ctx context.Context, attempts []string) (_ map[string][]labs.Event, err error) {
	defer wrap(&err, "read the logs of %d attempts", len(attempts))
	ids, err := json.Marshal(attempts)
	if err != nil {
		return nil, err
	}
	events, err := collect(ctx, s.reader, scanEvent,
		`SELECT `+eventColumns+` FROM events WHERE attempt IN (SELECT value FROM json_each(?)) ORDER BY attempt, seq`, string(ids))
	if err != nil {
		return nil, err
	}
	logs := make(map[string][]labs.Event, len(attempts))
	for _, e := range events {
		logs[e.Attempt] = append(logs[e.Attempt], e)
	}
	return logs, nil
}
