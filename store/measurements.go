package store

import (
	"context"
	"database/sql"
	"time"
)

// measurementsKept bounds the table: some months of a busy server, and a
// megabyte. What is older tells nothing of today's machine and images.
const measurementsKept = 10_000

// Measurement is one thing that was measured of a sandbox.
type Measurement struct {
	At       time.Time
	Kind     string // of the sandbox
	How      string // what was measured
	Template string // the name of the sandbox's template; may be empty
	Took     time.Duration
	Memory   int64 // bytes; 0: not measured
}

// AddMeasurement keeps a measurement, and forgets the oldest beyond what is kept.
func (s *Store) AddMeasurement(ctx context.Context, m Measurement) (err error) {
	defer wrap(&err, "keep a measurement")
	return s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO measurements (at, kind, how, template, took_ms, memory) VALUES (?, ?, ?, ?, ?, ?)`,
			toMillis(m.At), m.Kind, m.How, m.Template, max(0, m.Took.Milliseconds()), max(0, m.Memory))
		if err != nil {
			return err
		}
		id, err := result.LastInsertId()
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM measurements WHERE id <= ?`, id-measurementsKept)
		return err
	})
}

// Measurements returns what was measured after since, the oldest first.
func (s *Store) Measurements(ctx context.Context, since time.Time) (_ []Measurement, err error) {
	defer wrap(&err, "read the measurements")
	return collect(ctx, s.reader, scanMeasurement,
		`SELECT at, kind, how, template, took_ms, memory FROM measurements WHERE at > ? ORDER BY at, id`, toMillis(since))
}

func scanMeasurement(r row) (m Measurement, err error) {
	var at sql.NullInt64
	var took int64
	err = r.Scan(&at, &m.Kind, &m.How, &m.Template, &took, &m.Memory)
	m.At, m.Took = fromMillis(at), time.Duration(took)*time.Millisecond
	return m, err
}
