package labs

import "fmt"

// Lacking says in words what an imported lab lacks of what a lab of our own
// must have; nothing, and it is no draft any more. A draft can be started and
// is graded, but nobody has shown that its checks tell right from wrong.
func (l *Lab) Lacking() ([]string, error) {
	if l.Imported == nil {
		return nil, nil
	}
	solutions, err := l.scripts(solutionsDir)
	if err != nil {
		return nil, err
	}
	wrong, err := l.scripts(wrongDir)
	if err != nil {
		return nil, err
	}
	var lacking []string
	if n := minSolutions - len(solutions); n > 0 {
		lacking = append(lacking, fmt.Sprintf("%d of %d solutions", n, minSolutions))
	}
	if n := minWrong - len(wrong); n > 0 {
		lacking = append(lacking, "a wrong fix")
	}
	return lacking, nil
}
