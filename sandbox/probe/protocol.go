package probe

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Program is where the images have drydock-probe.
const Program = "/usr/local/lib/drydock/drydock-probe"

// Bounds of what one program does. They keep a lab from loading its own sandbox.
const (
	// MaxProbes is how many go on at once.
	MaxProbes = 64
	// MaxInFlight is how many look at the same time; the others wait.
	MaxInFlight = 8
	// MaxBody is kept of an answer's body, in bytes; the rest is cut off.
	MaxBody = 64 << 10
	// MaxLine bounds a request and an answer, in bytes. A body of MaxBody fits into it.
	MaxLine = 256 << 10
	// MinEvery is between two looks of a probe.
	MinEvery = 100 * time.Millisecond
	// DefaultEvery is between two looks of a probe that does not say.
	DefaultEvery = 2 * time.Second
	// DefaultTimeout bounds a look that does not say.
	DefaultTimeout = 5 * time.Second
	// MaxTimeout is the longest that a look may take.
	MaxTimeout = 30 * time.Second
	// SignOfLife is after how long an answer is sent again that is as before.
	SignOfLife = 20 * time.Second

	maxID      = 128      // bytes
	maxHeaders = 16 << 10 // bytes of an answer's headers; more is an error, as with any client
	maxRecords = 256      // of a DNS answer
	maxText    = 16 << 10 // bytes of a DNS answer's records together
)

// Request begins a probe, or tells one something. Exactly one of HTTP, TCP,
// DNS, Again and Stop is set.
type Request struct {
	ID    string `json:"id"`              // of the probe, the caller's choice
	Again bool   `json:"again,omitempty"` // look now, and send what there is to see
	Stop  bool   `json:"stop,omitempty"`  // no more; an answer that is under way may still come

	HTTP *HTTP `json:"http,omitempty"`
	TCP  *TCP  `json:"tcp,omitempty"`
	DNS  *DNS  `json:"dns,omitempty"`

	From    From          `json:"from,omitzero"`
	Watch   Watch         `json:"watch,omitempty"`   // default WatchStatus
	Every   time.Duration `json:"every,omitempty"`   // after a look, until the next; default DefaultEvery
	Timeout time.Duration `json:"timeout,omitempty"` // of one look; default DefaultTimeout
	Limit   int           `json:"limit,omitempty"`   // bytes kept of a body or of what a TCP server sends; default MaxBody
}

// From is the place that a probe is sent from.
type From struct {
	Namespace string `json:"namespace,omitempty"` // whose search list is used; empty on a machine
	Pod       string `json:"pod,omitempty"`       // the IP address of a pod on this node; empty: the node itself
}

// Watch says what makes an answer differ from the one before.
type Watch string

const (
	// WatchStatus: the status and the body of HTTP, the records of DNS, what a TCP
	// server has sent, or the reason why there is none.
	WatchStatus Watch = "status"
	// WatchUp: whether it is up; see [Answer.Up].
	WatchUp Watch = "up"
	// WatchEvery: every answer is sent.
	WatchEvery Watch = "every"
)

// HTTP is a request to send.
type HTTP struct {
	URL    string            `json:"url"`
	Method string            `json:"method,omitempty"` // default GET
	Header map[string]string `json:"header,omitempty"` // an empty value leaves out what would be sent
	Body   string            `json:"body,omitempty"`
}

// TCP is a connection to open. It is closed when Expect was received, when the
// server has closed it, or when Limit or the timeout is reached; without Expect
// when nothing came for a moment after the first bytes; and without Send and
// Expect at once.
type TCP struct {
	Address string `json:"address"` // host:port
	Send    string `json:"send,omitempty"`
	Expect  string `json:"expect,omitempty"`
}

// DNS is a question to ask, with the search list that applies.
type DNS struct {
	Name string `json:"name"` // of PTR also an IP address
	Type string `json:"type"` // A, AAAA, CNAME, SRV, PTR, TXT or MX
}

// Answer is what a probe saw. One of HTTP, TCP and DNS is set, or else Error.
type Answer struct {
	ID string `json:"id"`
	// At is when the look ended. An answer that is sent again keeps its time.
	At   time.Time   `json:"at"`
	HTTP *HTTPAnswer `json:"http,omitempty"`
	TCP  *TCPAnswer  `json:"tcp,omitempty"`
	DNS  *DNSAnswer  `json:"dns,omitempty"`
	// Error says why the probe could not look, which says nothing about what it looks at.
	Error string `json:"error,omitempty"`
}

// PodGone is [Answer.Error] when there is no pod with the address [From.Pod].
const PodGone = "the pod it is sent from is gone"

// HTTPAnswer is what a request brought.
type HTTPAnswer struct {
	Code    int               `json:"code"`              // 0 when nothing answered
	Headers map[string]string `json:"headers,omitempty"` // names in lower case, several values joined by ", "
	Body    []byte            `json:"body,omitempty"`
	Seconds float64           `json:"seconds"`
	Error   string            `json:"error,omitempty"` // with a code, what was wrong with the rest
}

// TCPAnswer is what a connection brought.
type TCPAnswer struct {
	Open     bool    `json:"open"`
	Received []byte  `json:"received,omitempty"`
	Seconds  float64 `json:"seconds"`
	Error    string  `json:"error,omitempty"`
}

// DNSAnswer is what a question brought.
type DNSAnswer struct {
	Code string `json:"code,omitempty"` // NOERROR, NXDOMAIN, SERVFAIL, …; empty when no server answered
	// Name is the full name that the answer is for, without the final dot.
	Name string `json:"name,omitempty"`
	// Records are those of the type that was asked for, as in a zone file
	// but names without the final dot, sorted.
	Records []string `json:"records,omitempty"`
	Seconds float64  `json:"seconds"`
	Error   string   `json:"error,omitempty"`
}

// Up says whether a server answered, and not that it is at fault: with a status
// below 500, by taking the connection, or with NOERROR.
func (a Answer) Up() bool {
	switch {
	case a.HTTP != nil:
		return a.HTTP.Code >= 100 && a.HTTP.Code < http.StatusInternalServerError
	case a.TCP != nil:
		return a.TCP.Open
	case a.DNS != nil:
		return a.DNS.Code == codeSuccess
	}
	return false
}

// differs says whether an answer is worth sending after another.
func (a Answer) differs(from Answer, watch Watch) bool {
	if watch == WatchEvery || a.Error != from.Error {
		return true
	}
	if watch == WatchUp {
		return a.Up() != from.Up()
	}
	switch {
	case a.HTTP != nil && from.HTTP != nil:
		return a.HTTP.Code != from.HTTP.Code || a.HTTP.Error != from.HTTP.Error || !bytes.Equal(a.HTTP.Body, from.HTTP.Body)
	case a.TCP != nil && from.TCP != nil:
		return a.TCP.Open != from.TCP.Open || a.TCP.Error != from.TCP.Error || !bytes.Equal(a.TCP.Received, from.TCP.Received)
	case a.DNS != nil && from.DNS != nil:
		return a.DNS.Code != from.DNS.Code || a.DNS.Error != from.DNS.Error ||
			!slices.Equal(a.DNS.Records, from.DNS.Records)
	}
	return a.Error == "" // what could not be looked at is as before, and else one of them is no answer
}

// errLine is a line that is no message of the protocol.
var errLine = errors.New("the line is no message of the probe's protocol")

// DecodeRequest reads a line. A request that Check refuses is read all the same.
func DecodeRequest(line []byte) (Request, error) {
	var r Request
	if err := decode(line, &r); err != nil {
		return Request{}, err
	}
	if r.ID == "" || len(r.ID) > maxID {
		return Request{}, fmt.Errorf("%w: an id has 1 to %d bytes", errLine, maxID)
	}
	if n := count(r.Again, r.Stop, r.HTTP != nil, r.TCP != nil, r.DNS != nil); n != 1 {
		return Request{}, fmt.Errorf("%w: %d of http, tcp, dns, again and stop are set, want one", errLine, n)
	}
	return r, nil
}

// DecodeAnswer reads a line. What it returns was written in the sandbox: in one
// whose learner has the node it may be a lie, but it is a bounded one.
func DecodeAnswer(line []byte) (Answer, error) {
	var a Answer
	if err := decode(line, &a); err != nil {
		return Answer{}, err
	}
	if n := count(a.HTTP != nil, a.TCP != nil, a.DNS != nil, a.Error != ""); n != 1 || a.ID == "" || len(a.ID) > maxID {
		return Answer{}, fmt.Errorf("%w: an answer has an id, and one of http, tcp, dns and error", errLine)
	}
	return a, nil
}

func decode(line []byte, into any) error {
	if len(line) > MaxLine {
		return fmt.Errorf("%w: it is longer than %d KiB", errLine, MaxLine>>10)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errLine, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: there is more in the line", errLine)
	}
	return nil
}

func count(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// encode writes a message as a line.
func encode(message any) ([]byte, error) {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(message); err != nil {
		return nil, err
	}
	if line.Len() > MaxLine {
		return nil, fmt.Errorf("%w: it is longer than %d KiB", errLine, MaxLine>>10)
	}
	return line.Bytes(), nil
}

// Write sends a request in one piece.
func (r Request) Write(w io.Writer) error {
	line, err := encode(r)
	if err != nil {
		return err
	}
	_, err = w.Write(line)
	return err
}

// Lines splits a stream of messages into lines, which are never longer than MaxLine.
func Lines(r io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, MaxLine+1)
	return lines
}

// Check says what is wrong with a request that begins a probe, in words for its author.
func (r Request) Check() error {
	switch {
	case r.Every != 0 && r.Every < MinEvery:
		return fmt.Errorf("every is %v: looks are at least %v apart", r.Every, MinEvery)
	case r.Timeout < 0 || r.Timeout > MaxTimeout:
		return fmt.Errorf("the timeout is %v: a look takes at most %v", r.Timeout, MaxTimeout)
	case r.Limit < 0 || r.Limit > MaxBody:
		return fmt.Errorf("the limit is %d bytes: at most %d KiB are kept", r.Limit, MaxBody>>10)
	case r.Watch != "" && r.Watch != WatchStatus && r.Watch != WatchUp && r.Watch != WatchEvery:
		return fmt.Errorf("watch is %q: it is %s, %s or %s", r.Watch, WatchStatus, WatchUp, WatchEvery)
	}
	if r.From.Pod != "" {
		if _, err := netip.ParseAddr(r.From.Pod); err != nil {
			return fmt.Errorf("the pod is %q: it is named by its IP address", r.From.Pod)
		}
	}
	if strings.ContainsAny(r.From.Namespace, ". \t\n") {
		return fmt.Errorf("%q is no namespace", r.From.Namespace)
	}
	switch {
	case r.HTTP != nil:
		return r.HTTP.check()
	case r.TCP != nil:
		return r.TCP.check()
	case r.DNS != nil:
		return r.DNS.check()
	}
	return errors.New("there is nothing to look at")
}

func (h HTTP) check() error {
	u, err := url.Parse(h.URL)
	if err != nil {
		return fmt.Errorf("%q is no URL", h.URL)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%q is no http or https URL with a host", h.URL)
	}
	if _, err := http.NewRequest(h.Method, h.URL, nil); err != nil {
		return fmt.Errorf("%q is no method of HTTP", h.Method)
	}
	for name, value := range h.Header {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%q: %q is no header of HTTP", name, value)
		}
	}
	return nil
}

func (t TCP) check() error {
	host, port, err := net.SplitHostPort(t.Address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is no address: write host:port", t.Address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q is no port", port)
	}
	return nil
}

func (d DNS) check() error {
	if _, ok := recordTypes[d.Type]; !ok {
		return fmt.Errorf("the type is %q: it is A, AAAA, CNAME, MX, PTR, SRV or TXT", d.Type)
	}
	if d.Name == "" {
		return errors.New("there is no name to ask for")
	}
	return nil
}

// complete fills in what the request leaves to the program.
func (r Request) complete() Request {
	if r.Watch == "" {
		r.Watch = WatchStatus
	}
	if r.Every == 0 {
		r.Every = DefaultEvery
	}
	if r.Timeout == 0 {
		r.Timeout = DefaultTimeout
	}
	if r.Limit == 0 {
		r.Limit = MaxBody
	}
	return r
}
