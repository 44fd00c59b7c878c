package store_test

import (
	"slices"
	"strings"
	"testing"

	"drydock/store"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	s, _ := openNew(t)
	ada := addUser(t, s, store.NewUser{Login: "ada"})
	bob := addUser(t, s, store.NewUser{Login: "bob"})
	give := func(user int64, article, quiz, answer string) {
		t.Helper()
		if err := s.SetAnswer(t.Context(), user, article, store.Answer{Quiz: quiz, Answer: answer}); err != nil {
			t.Fatal(err)
		}
	}
	give(ada.ID, "pods", "q2", "SIGKILL")
	give(ada.ID, "pods", "q1", "first")
	give(ada.ID, "pods", "q1", "second") // tried again
	give(ada.ID, "mesh", "q1", "other")
	give(bob.ID, "pods", "q1", "his")
	want := []store.Answer{{Quiz: "q1", Answer: "second"}, {Quiz: "q2", Answer: "SIGKILL"}}
	if got := must[[]store.Answer](t)(s.Answers(t.Context(), ada.ID, "pods")); !slices.Equal(got, want) {
		t.Errorf("the answers are %+v, want %+v", got, want)
	}
	give(ada.ID, "pods", "q3", strings.Repeat("🙂", 80))
	for _, refused := range []string{"", strings.Repeat("a", 321)} {
		if err := s.SetAnswer(t.Context(), ada.ID, "pods", store.Answer{Quiz: "q1", Answer: refused}); len(store.InvalidErrors(err)) != 1 {
			t.Errorf("an answer of %d bytes: %v", len(refused), err)
		}
	}
	wantErr(t, s.SetAnswer(t.Context(), 99, "pods", want[0]), store.ErrNotFound)
}
