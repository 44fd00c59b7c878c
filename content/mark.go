package content

import (
	"fmt"
	"strconv"
	"strings"
)

// lineRange is some lines of code, the first of which is 1.
type lineRange struct{ first, last int }

// readMarks reads lines to mark, such as 3,5-7.
func readMarks(value string) ([]lineRange, error) {
	var all []lineRange
	for _, part := range strings.Split(value, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if isRange && err == nil {
			last, err = strconv.Atoi(to)
		}
		if err != nil || first < 1 || last < first {
			return nil, fmt.Errorf("mark=%s does not name lines: write mark=3,5-7 for line 3 and the lines from 5 to 7", value)
		}
		if len(all) > 0 && first <= all[len(all)-1].last {
			return nil, fmt.Errorf("mark=%s names lines twice or out of their order", value)
		}
		all = append(all, lineRange{first, last})
	}
	return all, nil
}

// markLines joins lines of highlighted code, with a mark around those named.
func markLines(lines []string, marks []lineRange) string {
	var b strings.Builder
	for i, line := range lines {
		for len(marks) > 0 && marks[0].last <= i {
			marks = marks[1:]
		}
		if len(marks) > 0 && i+1 >= marks[0].first {
			line = "<mark>" + line + "</mark>"
		}
		b.WriteString(line)
	}
	return b.String()
}
