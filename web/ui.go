package web

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// fieldSpec describes an input of a form; see [field].
type fieldSpec struct {
	Name, Label, Hint, Value string
	Error                    string // what was wrong with it
	Type                     string // default text
	Complete                 string // autocomplete's token
	MinLength, MaxLength     int
	Login, Focus             bool
}

// maxField bounds what a one-line input takes: names and passwords are shorter.
const maxField = 200

func (f fieldSpec) kind() string {
	if f.Type == "" {
		return "text"
	}
	return f.Type
}

func (f fieldSpec) maxLength() int {
	if f.MaxLength == 0 {
		return maxField
	}
	return f.MaxLength
}

func (f fieldSpec) describedBy() string {
	var ids []string
	if f.Error != "" {
		ids = append(ids, f.Name+"-error")
	}
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	return strings.Join(ids, " ")
}

// signInReturn is where to come back to after signing in from this page.
func (p Page) signInReturn() string {
	for _, prefix := range []string{"/sign-in", "/join/", "/setup/"} {
		if strings.HasPrefix(p.Here, prefix) {
			return "/"
		}
	}
	return p.Here
}

// monogram is the first letters of the first and the last name.
func monogram(name string) string {
	words := strings.Fields(name)
	if len(words) == 0 {
		return "?"
	}
	first, _ := utf8.DecodeRuneInString(words[0])
	if len(words) == 1 {
		return strings.ToUpper(string(first))
	}
	last, _ := utf8.DecodeRuneInString(words[len(words)-1])
	return strings.ToUpper(string(first) + string(last))
}

func taskStateWords(state string) string {
	switch state {
	case "done":
		return "Done: "
	case "failing":
		return "Not yet: "
	default:
		return "To do: "
	}
}

func clamp(fraction float64) float64 { return max(0, min(1, fraction)) }

func percent(fraction float64) string { return fmt.Sprintf("%.0f %%", clamp(fraction)*100) }

// plural writes a count with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// minutesLeft writes a duration in minutes, or in hours and minutes.
func minutesLeft(d time.Duration) string {
	minutes := int(d.Minutes())
	switch {
	case minutes < 1:
		return "under a minute"
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	default:
		return fmt.Sprintf("%d h %02d min", minutes/60, minutes%60)
	}
}

// firstName is what people are greeted by.
func firstName(name string) string {
	first, _, _ := strings.Cut(name, " ")
	return first
}
