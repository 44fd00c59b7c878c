package web

import (
	"drydock/labs"
	"slices"
	"strings"
)

// draftTitle is what a lab is called that nobody has proven to grade fairly.
const draftTitle = "This lab is a draft"

// isDraft reports whether a lab from another platform lacks what would show
// that it grades fairly. One that can't be looked at is taken for one.
func isDraft(lab *labs.Lab) bool {
	lacking, err := lab.Lacking()
	return err != nil || len(lacking) > 0
}

// platformName is how a platform writes itself.
func platformName(format string) string {
	names := []string{"Killercoda", "iximiuz Labs", "Instruqt", "Educates"}
	if i := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(strings.ToLower(name), format) }); i >= 0 && format != "" {
		return names[i]
	}
	return format
}
