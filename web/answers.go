package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"drydock/content"
	"drydock/store"

	"github.com/go-chi/chi/v5"
)

// saveAnswer keeps what the reader answered to a quiz; progress.ts posts it. It
// is judged on the page, where the answers are: nobody is graded by it.
func (s *server) saveAnswer(w http.ResponseWriter, r *http.Request) error {
	user, ok := signedIn(r.Context())
	if !ok {
		return problem(http.StatusUnauthorized, "Not signed in", "Answers are kept for those who are signed in.")
	}
	article, ok := s.Library().Article(chi.URLParam(r, "slug"))
	if !ok {
		return notFound("article")
	}
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	given := store.Answer{Quiz: r.PostForm.Get("quiz"), Answer: r.PostForm.Get("answer")}
	i := slices.IndexFunc(article.Quizzes, func(q content.Quiz) bool { return q.ID == given.Quiz })
	if i < 0 {
		return notFound("quiz")
	}
	if !article.Quizzes[i].Valid(given.Answer) {
		return problem(http.StatusBadRequest, "Not an answer", "The question may have changed meanwhile. Load the page again.")
	}
	if err := s.Store.SetAnswer(r.Context(), user.ID, article.Slug, given); err != nil {
		return fmt.Errorf("keep the answer: %w", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answers are the reader's own to the quizzes of an article, by their ids, as
// the page's script reads them. Empty for those who are not signed in: theirs
// are in their browser.
func (s *server) answers(ctx context.Context, article *content.Article) (string, error) {
	user, ok := signedIn(ctx)
	if !ok || len(article.Quizzes) == 0 {
		return "", nil
	}
	given, err := s.Store.Answers(ctx, user.ID, article.Slug)
	if err != nil {
		return "", fmt.Errorf("look up answers: %w", err)
	}
	all := map[string]string{}
	for _, a := range given {
		all[a.Quiz] = a.Answer
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("encode answers: %w", err)
	}
	return string(text), nil
}
