package grade

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"
	"time"
)

func (h *HTTP) sees() subject          { return response }
func (h *HTTP) needs() means           { return throughExec }
func (h *HTTP) period() time.Duration  { return cmp.Or(time.Duration(h.Every), defaultHTTPEvery) }
func (h *HTTP) name() string           { return h.URL }
func (h *HTTP) source(p *place) source { return &requests{place: p, http: *h} }

func (h *HTTP) fill(replace func(string) string) {
	h.From, h.URL, h.Body = replace(h.From), replace(h.URL), replace(h.Body)
	for name, value := range h.Header {
		h.Header[name] = replace(value)
	}
}

var methodPattern = regexp.MustCompile(`^[A-Z]{1,20}$`)

func (h *HTTP) problems(add report) {
	add.namespace("http", h.From)
	add.every("http", h.Every)
	u, err := url.Parse(varPattern.ReplaceAllString(h.URL, "1"))
	switch {
	case h.URL == "":
		add("http has no url")
	case err != nil:
		add("http: the url %q cannot be read: %v", h.URL, err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		add("http: the url %q must begin with http:// or https:// and name a host", h.URL)
	}
	if h.Method != "" && !methodPattern.MatchString(h.Method) {
		add("http: the method %q is not of capital letters", h.Method)
	}
	for name, value := range h.Header {
		if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n") {
			add("http: the header %q: %q cannot be sent", name, value)
		}
	}
	if len(h.Body) > maxRequestBody {
		add("http: the body has %d bytes; at most %d are sent", len(h.Body), maxRequestBody)
	}
}
