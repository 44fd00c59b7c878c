package bench

import (
	"math"
	"slices"
)

// outside is the probability that the interval does not hold the median.
const outside = 0.05

// medianOf is the middle of the values, of which there is at least one.
func medianOf(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// interval is the confidence interval of the median, from order statistics: the
// number of values below the median is binomial with p = 1/2, so the median is
// between the j-th smallest and the j-th largest of n values with probability
// 1 - 2 P(B(n, 1/2) < j). It is the narrowest of these; with fewer than
// MinRounds values there is none.
func interval(values []float64) (low, high float64, ok bool) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	j, below := 0, 0.0 // below is P(B < j)
	for term := math.Pow(0.5, float64(n)); 2*(below+term) <= outside; j++ {
		below += term
		term *= float64(n-j) / float64(j+1)
	}
	if j == 0 {
		return 0, 0, false
	}
	return sorted[j-1], sorted[n-j], true
}
