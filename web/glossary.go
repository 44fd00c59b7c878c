package web

import (
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"drydock/content"
)

// glossaryLetter is the terms that begin with a letter.
type glossaryLetter struct {
	Letter string // or # for what begins with none
	Terms  []glossaryEntry
}

// ID of the letter's heading.
func (l glossaryLetter) ID() string {
	if l.Letter == "#" {
		return "letter-other"
	}
	return "letter-" + strings.ToLower(l.Letter)
}

// glossaryEntry is a term with the articles that a reader can go on with.
type glossaryEntry struct {
	*content.Term
	Explained *content.Article   // the one that explains it; may be nil
	Used      []*content.Article // others that link to it, newest first
}

func (s *server) glossary(w http.ResponseWriter, r *http.Request) error {
	page := s.reading(r, "Glossary")
	page.Description = "What the words of these articles mean, and where they are explained."
	return s.render(w, r, http.StatusOK, glossaryPage(page, glossaryLetters(s.Library())))
}

// glossaryLetters groups the terms by their first letter.
func glossaryLetters(library *content.Library) []glossaryLetter {
	using := map[string][]*content.Article{}
	for _, a := range library.Articles {
		for _, id := range a.Terms {
			using[id] = append(using[id], a)
		}
	}
	var letters []glossaryLetter
	at := map[string]int{}
	for _, t := range library.Glossary {
		entry := glossaryEntry{Term: t}
		entry.Explained, _ = library.Article(t.Article)
		for _, a := range using[t.ID] {
			if a != entry.Explained {
				entry.Used = append(entry.Used, a)
			}
		}
		letter := firstLetter(t.Term)
		i, ok := at[letter]
		if !ok {
			i = len(letters)
			at[letter] = i
			letters = append(letters, glossaryLetter{Letter: letter})
		}
		letters[i].Terms = append(letters[i].Terms, entry)
	}
	return letters
}

func firstLetter(term string) string {
	r, _ := utf8.DecodeRuneInString(term)
	if !unicode.IsLetter(r) {
		return "#"
	}
	return string(unicode.ToUpper(r))
}
