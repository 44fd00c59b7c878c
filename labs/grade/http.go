package grade

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"drydock/sandbox/probe"
)

const (
	defaultProbeEvery = probe.DefaultEvery
	// defaultServiceEvery is fine enough to count lost seconds of service.
	defaultServiceEvery = 500 * time.Millisecond
	// maxRequestBody is far more than a check has to say.
	maxRequestBody = 32 << 10
)

func (h *HTTP) sees() subject         { return response }
func (h *HTTP) needs() means          { return h.vantage().needs() }
func (h *HTTP) period() time.Duration { return orDefault(h.Every, defaultProbeEvery) }
func (h *HTTP) name() string          { return h.URL }

func (h *HTTP) fill(replace func(string) string) {
	h.From, h.Pod, h.URL, h.Body = replace(h.From), replace(h.Pod), replace(h.URL), replace(h.Body)
	h.Header = maps.Clone(h.Header) // it may be shared with the one that this is a copy of
	for name, value := range h.Header {
		h.Header[name] = replace(value)
	}
}

func (h *HTTP) problems(add report) {
	add.vantage("http", h.From, h.Pod, h.Every)
	switch {
	case h.URL == "":
		add("http has no url")
		return
	case len(h.Body) > maxRequestBody:
		add("http: the body has %d bytes; at most %d are sent", len(h.Body), maxRequestBody)
	}
	example := *h
	example.fill(exampleOf)
	example.Every = 0 // it is looked at already
	if err := example.vantage().request.Check(); err != nil {
		add("http: %v", err)
	}
}

// exampleOf puts something that is fine nearly everywhere in place of vars.
func exampleOf(text string) string { return varPattern.ReplaceAllString(text, "1") }

func (h *HTTP) vantage() *vantage {
	method := h.Method
	if method == "" {
		method = http.MethodGet
	}
	return &vantage{
		namespace: h.From, pod: h.Pod,
		request: probe.Request{
			Every: h.period(), Timeout: probe.DefaultTimeout,
			HTTP: &probe.HTTP{URL: h.URL, Method: method, Header: h.Header, Body: h.Body},
		},
		see: func(a probe.Answer) data {
			if a.HTTP == nil {
				return data{}
			}
			return data{Response: &answer{
				Code: a.HTTP.Code, Body: string(a.HTTP.Body), Headers: a.HTTP.Headers, Seconds: seconds(a.HTTP.Seconds), Error: a.HTTP.Error,
			}}
		},
	}
}

func (h *HTTP) source(p *place) source { return h.vantage().at(p) }

// ProbeService probes a lab's service until ctx ends; a zero every means 500
// ms. It calls on at the first probe and whenever the service went up or down;
// detail says what was seen. A service is up when it answers with a status
// below 500. When the checker cannot look, nothing is reported. It returns nil
// when ctx ends, and an error only when env cannot serve h.
func ProbeService(ctx context.Context, env Env, h HTTP, every time.Duration, on func(up bool, at time.Time, detail string)) error {
	p, err := newPlace(env)
	if err != nil {
		return err
	}
	defer p.close()
	h.Every = Duration(orDefault(Duration(every), defaultServiceEvery))
	_, src, err := p.source(&condition{Check: Check{ID: "service", HTTP: &h}, path: "service"})
	if err != nil {
		return fmt.Errorf("probe the service: %w", err)
	}
	service := src.(*vantage)
	service.request.Watch = probe.WatchUp
	known, last := false, false
	say := func(up bool, detail string) {
		if !known || up != last {
			known, last = true, up
			on(up, p.env.Now(), detail)
		}
	}
	service.watch(ctx, nil, func(a probe.Answer, err error) {
		if err != nil {
			p.env.Log.Warn("the service probe could not look", "err", err)
			return
		}
		say(a.Up(), service.see(a).Response.inWords())
	}, func(nowhere data, err error) {
		if err == nil {
			say(false, nowhere.Note)
		}
	})
	return nil
}

func (a *answer) inWords() string {
	switch {
	case a == nil:
		return "nothing was seen"
	case a.Error != "":
		return a.Error
	}
	return strings.TrimSpace(strconv.Itoa(a.Code) + " " + http.StatusText(a.Code))
}
