package grade

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// didYouMean returns `; did you mean "x"?` with the nearest of the known
// words, or nothing when none is near.
func didYouMean(word string, known []string) string {
	best, distance := "", 1+max(1, utf8.RuneCountInString(word)/3)
	for _, k := range known {
		if d := EditDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// didYouMeanOr is didYouMean that names all known words when none is near.
func didYouMeanOr(word string, known []string) string {
	if near := didYouMean(word, known); near != "" {
		return near
	}
	return "; it is one of " + strings.Join(known, ", ")
}

// EditDistance counts the letters to add, drop, change or swap with their
// neighbour to turn a into b (optimal string alignment).
func EditDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(s)][len(t)]
}

// maxShown bounds how much of a value or an expression a sentence shows, in
// characters: enough to recognise it on one line.
const maxShown = 80

// excerpt shortens text to one line of at most maxShown characters.
func excerpt(text string) string { return shorten(strings.Join(strings.Fields(text), " "), maxShown) }

func shorten(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

// listWords joins words as a sentence does: a, b and c.
func listWords(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}
