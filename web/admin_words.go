package web

import (
	"fmt"
	"strconv"
	"time"

	"drydock/sandbox"
	"drydock/sandbox/fleet"
)

// engineTrouble is the headline over what the engine said, or did not.
func engineTrouble(err error) string {
	if _, some := fleet.Partly(err); some {
		return "One kind of sandbox does not answer."
	}
	return "The container engine does not answer."
}

// byteSize writes a number of bytes in binary units, with as many digits as tell something.
func byteSize(n int64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 1<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	case n < 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	default:
		return fmt.Sprintf("%d GiB", (n+1<<29)>>30)
	}
}

// tookWords writes how long something took, from hundredths of a second to hours.
func tookWords(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return minutesLeft(d)
	}
}

// roughly writes an estimate, which is not known to the second.
func roughly(d time.Duration) string {
	switch {
	case d <= 0:
		return "not known"
	case d < time.Minute:
		return fmt.Sprintf("about %d s", max(5, int(d.Seconds()+4)/5*5))
	default:
		return fmt.Sprintf("about %d min", int((d+time.Minute/2)/time.Minute))
	}
}

// coresWords writes a share of the processors; –1 is not known.
func coresWords(cores float64) string {
	if cores < 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", cores)
}

// diskWords writes what was written and what there is room for.
func diskWords(u sandbox.Usage) string {
	switch {
	case u.Disk == 0 && u.DiskMax == 0:
		return "–"
	case u.DiskMax == 0:
		return byteSize(u.Disk)
	default:
		return byteSize(u.Disk) + " of " + byteSize(u.DiskMax)
	}
}

// howWords says how sandboxes came to be handed over.
func howWords(how string) string {
	switch how {
	case fleet.Warm:
		return "Warm: a spare was taken"
	case fleet.Cold:
		return "Cold: a copy was made"
	case fleet.FromScratch:
		return "From scratch: no template"
	case fleet.TemplateMade:
		return "Making a template"
	default:
		return how
	}
}

// failureID names a failure on the page, so that an open log stays open.
func failureID(f fleet.Failure) string { return "failure-" + strconv.FormatInt(f.At.UnixNano(), 36) }

// of says what a failure was about.
func failureOf(f fleet.Failure) string {
	switch {
	case f.Session != "":
		return "session " + f.Session
	case f.Sandbox != "":
		return "sandbox " + f.Sandbox
	case f.Template != "":
		return "template " + f.Template
	default:
		return ""
	}
}

// share is n of whole on a scale of 0 to 100, for a drawing.
func share(n, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return clamp(float64(n)/float64(whole)) * 100
}

// scaleOf is what the memory's drawing spans: the budget, or all that is spoken
// of where there is none.
func scaleOf(m fleet.Memory) int64 { return max(m.Budget, m.Used, m.Reserved+m.Spares+m.Kept, 1) }

func coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
