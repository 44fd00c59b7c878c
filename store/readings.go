package store

import (
	"context"
	"database/sql"
	"time"
)

// doneFraction of an article counts as having read it: what follows the last
// paragraph, such as footnotes, need not be scrolled through.
const doneFraction = 0.9

// Reading is how far a user has read an article.
type Reading struct {
	Article  string
	Fraction float64 // 0 to 1, the furthest
	At       time.Time
	Done     bool
}

// SetReading notes that the user has read fraction (0 to 1) of the article.
// Going back does not lose what was read.
func (s *Store) SetReading(ctx context.Context, user int64, article string, fraction float64) (err error) {
	defer wrap(&err, "note reading of %q", article)
	if !(fraction >= 0 && fraction <= 1) { // NaN too
		return invalid("fraction", "How much was read is a number from 0 to 1, not %v.", fraction)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO readings (user, article, fraction, at) VALUES (?, ?, ?, ?)
			ON CONFLICT (user, article) DO UPDATE SET fraction = max(fraction, excluded.fraction), at = excluded.at`,
			user, article, fraction, toMillis(s.now()))
		return err
	})
}

// Readings returns what the user has read, newest first.
func (s *Store) Readings(ctx context.Context, user int64) (_ []Reading, err error) {
	defer wrap(&err, "list readings of user %d", user)
	return collect(ctx, s.reader, scanReading,
		`SELECT article, fraction, at FROM readings WHERE user = ? ORDER BY at DESC, article`, user)
}

func scanReading(r row) (reading Reading, err error) {
	var at sql.NullInt64
	err = r.Scan(&reading.Article, &reading.Fraction, &at)
	reading.At = fromMillis(at)
	reading.Done = reading.Fraction >= doneFraction
	return reading, err
}
