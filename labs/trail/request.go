package trail

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// MaxBody bounds what is kept of what was sent with a request, in bytes: a
	// patch is a few hundred, and of a whole object its beginning tells most.
	MaxBody = 2 << 10
	// maxText bounds one text in it.
	maxText = 256
	// maxName is Kubernetes' own limit for names and most else in an entry.
	maxName = 253
	// maxLine bounds a line of the log that is read: more does not come in one part of it.
	maxLine = 1 << 20
	// sameLook is for how long looks at the same thing count as one: kubectl
	// lists and then watches, and people press the arrow key and Enter.
	sameLook = time.Minute
)

// Class says what a request does to the cluster.
type Class string

const (
	// Look only reads, or runs something in a container.
	Look Class = "look"
	// Change makes or changes something.
	Change Class = "change"
	// Destroy takes something away that was there: it deletes, evicts, or scales to nothing.
	Destroy Class = "destroy"
)

// Request is what the learner asked of the cluster's API, as its audit log has it.
type Request struct {
	At       time.Time `json:"at"`
	Class    Class     `json:"class"`
	Verb     string    `json:"verb"`
	Group    string    `json:"group,omitempty"`
	Resource string    `json:"resource"` // plural, as in deployments
	Sub      string    `json:"sub,omitempty"`
	Space    string    `json:"namespace,omitempty"`
	Name     string    `json:"name,omitempty"`  // empty: all of them, or one that was yet to be named
	By       string    `json:"by,omitempty"`    // another account than the learner's own, as namespace/name
	Agent    string    `json:"agent,omitempty"` // the program, as it calls itself
	Code     int       `json:"code"`
	Refusal  string    `json:"refusal,omitempty"` // why, where Code says that it was refused
	Body     string    `json:"body,omitempty"`    // of a change: what was sent, as JSON, masked and cut to MaxBody
	Times    int       `json:"times,omitempty"`   // how often, when more than once in a row
}

// Refused says that nothing came of the request.
func (r Request) Refused() bool { return r.Code >= 400 }

// Target is what the request is about, as kubectl would write it.
func (r Request) Target() string {
	target := r.Resource
	if r.Sub != "" && r.Class != Look {
		target += "/" + r.Sub
	}
	if r.Name != "" {
		target += " " + r.Name
	}
	return target
}

// sameThing reports whether two looks are at the same.
func (r Request) sameThing(other Request) bool {
	return r.Class == Look && other.Class == Look && r.Group == other.Group && r.Resource == other.Resource && r.Sub == other.Sub &&
		r.Space == other.Space && r.Name == other.Name && r.By == other.By && r.Refused() == other.Refused()
}

// entry is what is read of a line of the audit log (audit.k8s.io/v1, Event).
type entry struct {
	Stage       string    `json:"stage"`
	Received    time.Time `json:"requestReceivedTimestamp"`
	Verb        string    `json:"verb"`
	RequestURI  string    `json:"requestURI"`
	UserAgent   string    `json:"userAgent"`
	Annotations map[string]string
	User        struct{ Username string }
	ObjectRef   struct{ Resource, Namespace, Name, APIGroup, Subresource string }
	Response    struct {
		Code    int
		Message string
	} `json:"responseStatus"`
	Object json.RawMessage `json:"requestObject"`
}

// The accounts in an audit log.
const (
	learnerAccount = "system:serviceaccount:drydock:learner"
	adminAccount   = "kubernetes-admin" // the learner's own only where the learner has the node
	accountPrefix  = "system:serviceaccount:"
	setupPrefix    = "drydock-" // of the namespaces of a lab's setup
)

// ParseAudit reads lines of an audit log and returns the requests of the
// learner from since on, in the order of the log. Lines that are none of
// Kubernetes' are left out: a log is never a reason to fail.
func ParseAudit(lines []byte, since time.Time) []Request {
	var all []Request
	for line := range bytes.Lines(lines) {
		if len(line) > maxLine {
			continue
		}
		var e entry
		if json.Unmarshal(line, &e) != nil || e.Received.Before(since) {
			continue
		}
		if r, ok := e.request(); ok {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b Request) int { return a.At.Compare(b.At) })
	return merge(all)
}

func (e entry) request() (Request, bool) {
	if e.ObjectRef.Resource == "" || e.Verb == "" || e.Received.IsZero() {
		return Request{}, false
	}
	by, ok := account(e.User.Username)
	if !ok {
		return Request{}, false
	}
	name := func(text string) string { return cut(clean(text, false), maxName) }
	agent, _, _ := strings.Cut(e.UserAgent, "/")
	r := Request{
		At: e.Received.UTC().Truncate(time.Millisecond), Verb: name(e.Verb), Group: name(e.ObjectRef.APIGroup), Resource: name(e.ObjectRef.Resource),
		Sub: name(e.ObjectRef.Subresource), Space: name(e.ObjectRef.Namespace), Name: name(e.ObjectRef.Name),
		By: by, Agent: cut(clean(agent, false), 40), Code: e.Response.Code,
	}
	body := decodeBody(e.Object)
	if r.Name == "" {
		r.Name = name(bodyName(body))
	}
	r.Class = e.class(body)
	if r.Refused() {
		r.Refusal = cut(clean(MaskText(e.Response.Message), false), maxText)
	}
	if r.Class != Look && body != nil {
		r.Body = writeBody(body)
	}
	return r, true
}

// account says whose request it is; empty for the learner's. ok is false for
// what is nobody's of the learner's.
func account(user string) (by string, ok bool) {
	switch rest, isAccount := strings.CutPrefix(user, accountPrefix); {
	case user == learnerAccount, user == adminAccount:
		return "", true
	case !isAccount, strings.HasPrefix(rest, setupPrefix):
		return "", false
	default:
		return cut(clean(strings.Replace(rest, ":", "/", 1), false), maxName), true
	}
}

// inside are subresources that let one into a container: what is done there,
// the request does not say.
var inside = []string{"exec", "attach", "portforward", "proxy"}

func (e entry) class(body any) Class {
	switch {
	case e.Verb == "get", e.Verb == "list", e.Verb == "watch", slices.Contains(inside, e.ObjectRef.Subresource), strings.Contains(e.RequestURI, "dryRun=All"):
		return Look
	case e.Verb == "delete", e.Verb == "deletecollection", e.ObjectRef.Subresource == "eviction", scaledToNothing(body):
		return Destroy
	}
	return Change
}

// scaledToNothing: a scale or a patch that leaves no replica.
func scaledToNothing(body any) bool {
	fields, _ := body.(map[string]any)
	spec, _ := fields["spec"].(map[string]any)
	replicas, isNumber := spec["replicas"].(float64)
	return isNumber && replicas == 0
}

func decodeBody(raw json.RawMessage) any {
	var body any
	if len(raw) == 0 || json.Unmarshal(raw, &body) != nil {
		return nil
	}
	return body
}

func bodyName(body any) string {
	fields, _ := body.(map[string]any)
	meta, _ := fields["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	return name
}

// writeBody writes down what was sent, without what says nothing.
func writeBody(body any) string {
	masked := maskValue(body)
	if fields, ok := masked.(map[string]any); ok {
		delete(fields, "status")
		if meta, ok := fields["metadata"].(map[string]any); ok {
			for _, key := range []string{"managedFields", "uid", "resourceVersion", "creationTimestamp", "generation"} {
				delete(meta, key)
			}
		}
	}
	text, err := json.Marshal(masked)
	if err != nil {
		return ""
	}
	return cut(string(text), MaxBody)
}

// lookBack is over how many requests a look at the same thing is sought.
const lookBack = 20

// merge makes one of looks at the same thing that follow one another closely.
func merge(all []Request) []Request {
	var out []Request
	for _, r := range all {
		if same := sameBefore(out, r); same != nil {
			same.Times = max(same.Times, 1) + max(r.Times, 1)
			continue
		}
		out = append(out, r)
	}
	return out
}

// sameBefore finds a look at the same thing among the latest requests.
func sameBefore(earlier []Request, r Request) *Request {
	for i := len(earlier) - 1; i >= 0 && i >= len(earlier)-lookBack && r.At.Sub(earlier[i].At) <= sameLook; i-- {
		if earlier[i].sameThing(r) {
			return &earlier[i]
		}
	}
	return nil
}

// MaxKept bounds the requests of each class that are kept of an attempt: an
// hour of work is a few hundred, and a script that asks for ever must not
// fill the store, nor hide what was destroyed behind what was looked at.
const MaxKept = 1000

// Tally counts the requests that an attempt has kept.
type Tally struct {
	Kept    map[Class]int
	LeftOut int
}

// Admit returns the requests that there is still room for, and counts them.
func (t *Tally) Admit(all []Request) []Request {
	if t.Kept == nil {
		t.Kept = map[Class]int{}
	}
	var kept []Request
	for _, r := range all {
		if t.Kept[r.Class] >= MaxKept {
			t.LeftOut++
			continue
		}
		t.Kept[r.Class]++
		kept = append(kept, r)
	}
	return kept
}

// Clone is a tally of its own with the same counts.
func (t Tally) Clone() Tally {
	t.Kept = maps.Clone(t.Kept)
	return t
}

// Count counts a part that was kept earlier.
func (t *Tally) Count(p Part) {
	if t.Kept == nil {
		t.Kept = map[Class]int{}
	}
	for _, r := range p.Requests {
		t.Kept[r.Class]++
	}
	t.LeftOut = max(t.LeftOut, p.LeftOut)
}

// Part is a piece of evidence of the trail: what one look at the audit log
// brought, and where the next begins.
type Part struct {
	Next     string    `json:"next"`
	Run      int       `json:"run"` // of the sandbox: how many resets came before it
	Lost     bool      `json:"lost,omitempty"`
	LeftOut  int       `json:"leftOut,omitempty"` // requests that there was no room for, so far
	Requests []Request `json:"requests,omitempty"`
}

// Join puts the parts of an attempt together, in order of time.
func Join(parts []Part) (all []Request, lost bool, leftOut int) {
	for _, p := range parts {
		all = append(all, p.Requests...)
		lost = lost || p.Lost
		leftOut = max(leftOut, p.LeftOut)
	}
	slices.SortStableFunc(all, func(a, b Request) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Verb, b.Verb)) })
	return merge(all), lost, leftOut
}
