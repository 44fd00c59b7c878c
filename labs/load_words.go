package labs

import (
	"fmt"
	"slices"
	"strings"

	"drydock/labs/grade"
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
		if d := grade.EditDistance(strings.ToLower(given), strings.ToLower(word)); d < bestDistance {
			best, bestDistance = word, d
		}
	}
	return best
}
