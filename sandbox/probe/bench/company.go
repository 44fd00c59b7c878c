package bench

import "math"

const (
	// uneven is how much others may do beside one of the two programs beyond what
	// they do beside the other, as a part of the baseline's processor time, in the
	// median of the rounds.
	uneven = 0.25
	// beyondChance is how many standard errors of that median it has to be from
	// nothing: what comes and goes by chance is beside both.
	beyondChance = 3
)

// load is what was going on around a run, in seconds: the program's processor
// time, that of others, and how long the looking at these lasted.
type load struct{ cpu, wall, others float64 }

func (o outcome) load() load {
	return load{o.cpu.Seconds(), o.window.Seconds(), o.others.Seconds()}
}

// company is what was going on beside the two programs of a round.
type company struct{ baseline, learner load }

// busier says beside which of the two programs others were busier, if they were.
func busier(rounds []company) (baseline, learner bool) {
	var besideBaseline, besideLearner []float64
	for _, r := range rounds {
		besideBaseline = append(besideBaseline, r.excess(r.baseline, r.learner))
		besideLearner = append(besideLearner, r.excess(r.learner, r.baseline))
	}
	return much(besideBaseline), much(besideLearner)
}

// much says whether an excess is more than is allowed, and no chance. The
// standard error is that of the median of normally distributed values, with
// their deviation taken from the median absolute deviation, which a few
// disturbed rounds do not move.
func much(excess []float64) bool {
	median := medianOf(excess)
	deviations := make([]float64, len(excess))
	for i, e := range excess {
		deviations[i] = math.Abs(e - median)
	}
	const sigmaOfMAD, errorOfMedian = 1.4826, 1.2533
	standardError := errorOfMedian * sigmaOfMAD * medianOf(deviations) / math.Sqrt(float64(len(excess)))
	return median > uneven && median > beyondChance*standardError
}

// excess is what others did beside one program beyond what they would have done
// at the pace that they had beside the other.
func (c company) excess(beside, other load) float64 {
	if other.wall <= 0 || c.baseline.cpu <= 0 {
		return 0
	}
	return (beside.others - other.others/other.wall*beside.wall) / c.baseline.cpu
}
