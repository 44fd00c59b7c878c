package grade

import (
	"time"

	"drydock/sandbox/probe"
)

func (t *TCP) sees() subject          { return connection }
func (t *TCP) needs() means           { return t.vantage().needs() }
func (t *TCP) period() time.Duration  { return orDefault(t.Every, defaultProbeEvery) }
func (t *TCP) name() string           { return t.Address }
func (t *TCP) source(p *place) source { return t.vantage().at(p) }

func (t *TCP) fill(replace func(string) string) {
	t.From, t.Pod, t.Address, t.Send, t.Expect = replace(t.From), replace(t.Pod), replace(t.Address), replace(t.Send), replace(t.Expect)
}

func (t *TCP) problems(add report) {
	add.vantage("tcp", t.From, t.Pod, t.Every)
	if t.Address == "" {
		add("tcp has no address")
		return
	}
	example := *t
	example.fill(exampleOf)
	example.Every = 0 // it is looked at already
	if err := example.vantage().request.Check(); err != nil {
		add("tcp: %v", err)
	}
}

func (t *TCP) vantage() *vantage {
	return &vantage{
		namespace: t.From, pod: t.Pod,
		request: probe.Request{
			Every: t.period(), Timeout: probe.DefaultTimeout,
			TCP: &probe.TCP{Address: t.Address, Send: t.Send, Expect: t.Expect},
		},
		see: func(a probe.Answer) data {
			if a.TCP == nil {
				return data{}
			}
			return data{Connection: &opened{Open: a.TCP.Open, Received: string(a.TCP.Received), Seconds: seconds(a.TCP.Seconds), Error: a.TCP.Error}}
		},
	}
}
