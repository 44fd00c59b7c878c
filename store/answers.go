package store

import (
	"context"
	"database/sql"
)

// maxAnswer in bytes: eighty characters of any script, or the ids of eight
// items.
const maxAnswer = 320

// Answer is what a reader answered to a quiz of an article.
type Answer struct {
	Quiz, Answer string
}

// SetAnswer notes what the user answered last. Whether there is such a quiz,
// and whether it can be answered so, is for the caller to know.
func (s *Store) SetAnswer(ctx context.Context, user int64, article string, a Answer) (err error) {
	defer wrap(&err, "note answer to a quiz of %q", article)
	if a.Answer == "" || len(a.Answer) > maxAnswer {
		return invalid("answer", "An answer has from 1 to %d bytes, not %d.", maxAnswer, len(a.Answer))
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO answers (user, article, quiz, answer, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (user, article, quiz) DO UPDATE SET answer = excluded.answer, at = excluded.at`,
			user, article, a.Quiz, a.Answer, toMillis(s.now()))
		return err
	})
}

// Answers returns what the user answered to the quizzes of an article.
func (s *Store) Answers(ctx context.Context, user int64, article string) (_ []Answer, err error) {
	defer wrap(&err, "list answers of user %d to the quizzes of %q", user, article)
	return collect(ctx, s.reader, scanAnswer,
		`SELECT quiz, answer FROM answers WHERE user = ? AND article = ? ORDER BY quiz`, user, article)
}

func scanAnswer(r row) (a Answer, err error) {
	err = r.Scan(&a.Quiz, &a.Answer)
	return a, err
}
