package bench

// How much others may do beside one of the two programs beyond what they do
// beside the other, as a part of the baseline's processor time: in all rounds
// together, and in the median of the rounds. Who works for the learner's
// program, or against the baseline, is there in every round; who happens to
// come and go is not.
const (
	unevenTogether = 0.25
	unevenMedian   = 0.1
)

// load is what was going on around a run, in seconds: the program's processor
// time, that of others, and how long the looking at these lasted.
type load struct{ cpu, wall, others float64 }

func (o outcome) load() load {
	return load{o.cpu.Seconds(), o.window.Seconds(), o.others.Seconds()}
}

func (l load) plus(m load) load { return load{l.cpu + m.cpu, l.wall + m.wall, l.others + m.others} }

// company is what was going on beside the two programs of a round.
type company struct{ baseline, learner load }

// uneven says beside which of the two programs others were busier, if they were.
func uneven(rounds []company) (baseline, learner bool) {
	var together company
	var besideBaseline, besideLearner []float64
	for _, r := range rounds {
		together.baseline, together.learner = together.baseline.plus(r.baseline), together.learner.plus(r.learner)
		besideBaseline = append(besideBaseline, r.excess(r.baseline, r.learner))
		besideLearner = append(besideLearner, r.excess(r.learner, r.baseline))
	}
	baseline = together.excess(together.baseline, together.learner) > unevenTogether && medianOf(besideBaseline) > unevenMedian
	learner = together.excess(together.learner, together.baseline) > unevenTogether && medianOf(besideLearner) > unevenMedian
	return baseline, learner
}

// excess is what others did beside one program beyond what they would have done
// at the pace that they had beside the other.
func (c company) excess(beside, other load) float64 {
	if other.wall <= 0 || c.baseline.cpu <= 0 {
		return 0
	}
	return (beside.others - other.others/other.wall*beside.wall) / c.baseline.cpu
}
