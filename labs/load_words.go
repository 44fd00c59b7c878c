package labs

import (
	"fmt"
	"slices"
	"strings"
)

// didYouMean returns `, did you mean "word"?` for the nearest valid word, or
// the list of them when none is near and they are few.
func didYouMean(given string, valid []string) string {
	const few = 6 // more would hide the message
	switch word := nearest(given, valid); {
	case word != "":
		return fmt.Sprintf(", did you mean %q?", word)
	case len(valid) > 0 && len(valid) <= few:
		return "; valid here: " + strings.Join(slices.Sorted(slices.Values(valid)), ", ")
	}
	return ""
}

// nearest returns the valid word that was probably meant, or "".
func nearest(given string, valid []string) string {
	const longest = 64 // no valid word is near anything longer
	if len(given) > longest {
		return ""
	}
	best, bestDistance := "", len(given)/2+1
	for _, word := range valid {
		if d := editDistance(strings.ToLower(given), strings.ToLower(word)); d < bestDistance {
			best, bestDistance = word, d
		}
	}
	return best
}

// editDistance counts the letters to add, drop, change or swap with their
// neighbour to turn a into b (optimal string alignment).
func editDistance(a, b string) int {
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
			change := 1
			if s[i-1] == t[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(s)][len(t)]
}
