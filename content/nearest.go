package content

import (
	"fmt"
	"slices"
	"strings"
)

// didYouMean names the word that was probably meant, or all that there are.
func didYouMean(word string, known []string) string {
	if best := nearestWord(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	known = slices.Sorted(slices.Values(known))
	return "there are " + strings.Join(known, ", ")
}

// nearestWord returns the known word that was probably meant, or "".
func nearestWord(word string, known []string) string {
	best, distance := "", len(word)/3+2 // a third of the letters wrong, and a swap
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := EditDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// EditDistance is Levenshtein's, in bytes: slugs and field names are ASCII.
func EditDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// DidYouMean names the word that was probably meant, or all that there are.
func DidYouMean(word string, known []string) string { return didYouMean(word, known) }
