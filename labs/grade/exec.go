package grade

import (
	"cmp"
	"slices"
	"time"
)

func (e *Exec) sees() subject          { return result }
func (e *Exec) period() time.Duration  { return cmp.Or(time.Duration(e.Every), defaultExecEvery) }
func (e *Exec) name() string           { return "" }
func (e *Exec) source(p *place) source { return &commands{place: p, exec: *e} }

func (e *Exec) needs() means {
	if e.On == onPod {
		return throughCluster
	}
	return throughExec
}

func (e *Exec) fill(replace func(string) string) {
	e.Namespace, e.Selector, e.Container = replace(e.Namespace), replace(e.Selector), replace(e.Container)
	e.Command = slices.Clone(e.Command)
	for i, word := range e.Command {
		e.Command[i] = replace(word)
	}
}

const (
	onNode     = "node"
	onTerminal = "terminal"
	onPod      = "pod"
)

func (e *Exec) problems(add report) {
	places := []string{onNode, onTerminal, onPod}
	switch {
	case !slices.Contains(places, e.On):
		add("exec: on is %q%s", e.On, didYouMeanOr(e.On, places))
	case e.On == onPod && (e.Namespace == "" || e.Selector == ""):
		add("exec on a pod needs its namespace and a selector")
	case e.On != onPod && (e.Namespace != "" || e.Selector != "" || e.Container != ""):
		add("exec: namespace, selector and container are only for on: pod")
	}
	add.namespace("exec", e.Namespace)
	add.selector("exec", e.Selector)
	add.every("exec", e.Every)
	if len(e.Command) == 0 || e.Command[0] == "" {
		add("exec has no command")
	}
}
