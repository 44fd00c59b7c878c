package grade

import (
	"cmp"
	"time"

	"drydock/sandbox/probe"
)

// defaultRecord is the type of record that a name is looked up for most.
const defaultRecord = "A"

func (d *DNS) sees() subject          { return lookup }
func (d *DNS) needs() means           { return d.vantage().needs() }
func (d *DNS) period() time.Duration  { return orDefault(d.Every, defaultProbeEvery) }
func (d *DNS) name() string           { return d.Name }
func (d *DNS) source(p *place) source { return d.vantage().at(p) }

func (d *DNS) fill(replace func(string) string) {
	d.From, d.Pod, d.Name = replace(d.From), replace(d.Pod), replace(d.Name)
}

func (d *DNS) problems(add report) {
	add.vantage("dns", d.From, d.Pod, d.Every)
	example := *d
	example.fill(exampleOf)
	example.Every = 0 // it is looked at already
	if err := example.vantage().request.Check(); err != nil {
		add("dns: %v", err)
	}
}

func (d *DNS) vantage() *vantage {
	return &vantage{
		namespace: d.From, pod: d.Pod,
		request: probe.Request{
			Every: d.period(), Timeout: probe.DefaultTimeout,
			DNS: &probe.DNS{Name: d.Name, Type: cmp.Or(d.Type, defaultRecord)},
		},
		see: func(a probe.Answer) data {
			if a.DNS == nil {
				return data{}
			}
			return data{Lookup: &looked{Code: a.DNS.Code, Name: a.DNS.Name, Records: a.DNS.Records, Seconds: seconds(a.DNS.Seconds), Error: a.DNS.Error}}
		},
	}
}
