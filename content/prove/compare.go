package prove

import (
	"regexp"
	"strings"

	"drydock/content"
)

// gap stands for what an author left out of an output.
const gap = "…"

// same reports whether something printed what an author says it does; what
// differs first is in words.
func same(want *content.Output, printed string) (ok bool, difference string) {
	wanted, got := lines(want.Text), lines(printed)
	if want.Shape {
		wanted, got = shapes(wanted), shapes(got)
	}
	return match(wanted, got)
}

// lines are those of a text without the spaces at their ends and the empty
// lines around them, which nobody sees.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimRight(line, " \t\r\n"))
	}
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	for len(all) > 0 && all[0] == "" {
		all = all[1:]
	}
	return all
}

// match compares lines; a line that is a gap stands for any number of lines.
func match(want, got []string) (ok bool, difference string) {
	for i, line := range want {
		if strings.TrimSpace(line) != gap {
			switch {
			case i >= len(got):
				return false, "it ends before " + quoted(line)
			case !matchLine(line, got[i]):
				return false, "it prints " + quoted(got[i]) + " instead of " + quoted(line)
			}
			continue
		}
		rest := want[i+1:]
		if len(rest) == 0 {
			return true, ""
		}
		for skip := i; skip <= len(got); skip++ {
			if ok, _ := match(rest, got[skip:]); ok {
				return true, ""
			}
		}
		return false, "after the gap it nowhere goes on with " + quoted(rest[0])
	}
	if len(got) > len(want) {
		return false, "it goes on with " + quoted(got[len(want)])
	}
	return true, ""
}

// matchLine compares a line in which a gap stands for any text.
func matchLine(want, got string) bool {
	if !strings.Contains(want, gap) {
		return want == got
	}
	parts := strings.Split(want, gap)
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(got, first) {
		return false
	}
	got = got[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(got, part)
		if at < 0 {
			return false
		}
		got = got[at+len(part):]
	}
	return strings.HasSuffix(got, last)
}

func quoted(line string) string { return "“" + line + "”" }

// Shapes: what a machine makes up anew each time. The order matters.
var made = []struct {
	find *regexp.Regexp
	with string
}{
	// A pod of a Deployment, and one of a Job or a DaemonSet: the letters are
	// those of Kubernetes' SafeEncodeString.
	{regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "-#-#"},
	{regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{5}\b`), "-#"},
	// Hexadecimal addresses, digests and ids.
	{regexp.MustCompile(`\b(?:0x)?[0-9a-f]*(?:[0-9][a-f]|[a-f][0-9])[0-9a-f]{3,}\b`), "#"},
	// Numbers, with their units, signs and separators: 1,234.5 and 3m20s and 10:02:17.
	{regexp.MustCompile(`[0-9]+(?:[.,:][0-9]+)*`), "#"},
	{regexp.MustCompile(`#(?:[smhd]#)*[smhd]\b`), "#"},
	{regexp.MustCompile(`\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b`), "#"},
	{regexp.MustCompile(`\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b`), "#"},
	// Columns are as wide as what stands in them.
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`-{3,}`), "---"},
}

func shapes(all []string) []string {
	shaped := make([]string, len(all))
	for i, line := range all {
		for _, m := range made {
			line = m.find.ReplaceAllString(line, m.with)
		}
		shaped[i] = strings.TrimSpace(line)
	}
	return shaped
}
