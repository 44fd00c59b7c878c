package grade

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	apijson "k8s.io/apimachinery/pkg/util/json"

	"drydock/labs/trail"
	measure "drydock/sandbox/probe/bench"
)

const (
	// maxEvidence bounds what one look keeps: objects are at most 1.5 MiB in
	// etcd, but those that tell anything are a few KiB. With one value per
	// second of a long session this stays affordable.
	maxEvidence = 256 << 10
	// maxListEvidence is the same for a list: 250 pods of 4 KiB.
	maxListEvidence = 1 << 20
)

// data is what [Evidence.Data] decodes to. Exactly one of the fields above Note
// belongs to a check; which one, its collector says.
type data struct {
	Object     map[string]any   `json:"object,omitempty"`
	Objects    []map[string]any `json:"objects,omitempty"`
	Response   *answer          `json:"response,omitempty"`
	Connection *opened          `json:"connection,omitempty"`
	Lookup     *looked          `json:"lookup,omitempty"`
	Result     *finished        `json:"result,omitempty"`
	File       *fileState       `json:"file,omitempty"`
	Logs       []said           `json:"logs,omitempty"`
	Events     []happened       `json:"events,omitempty"`
	Audit      []trail.Request  `json:"audit,omitempty"`
	Bench      *measure.Report  `json:"bench,omitempty"`
	// Note says why there is nothing to see, in words for the learner: the
	// kind does not exist, no pod runs.
	Note string `json:"note,omitempty"`
	// LeftOut names the fields that were dropped because they are too big.
	LeftOut []string `json:"leftOut,omitempty"`

	hung bool // the command did not end, and is still there
}

// answer is the answer to a request, or why there was none.
type answer struct {
	Code    int               `json:"code"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers,omitempty"` // names in lower case
	Seconds float64           `json:"seconds"`
	Error   string            `json:"error,omitempty"`
}

// opened is what a connection brought, or why there was none.
type opened struct {
	Open     bool    `json:"open"`
	Received string  `json:"received,omitempty"`
	Seconds  float64 `json:"seconds"`
	Error    string  `json:"error,omitempty"`
}

// looked is the answer of DNS.
type looked struct {
	Code    string   `json:"code,omitempty"`
	Name    string   `json:"name,omitempty"`
	Records []string `json:"records,omitempty"`
	Seconds float64  `json:"seconds"`
	Error   string   `json:"error,omitempty"`
}

// finished is what a command left.
type finished struct {
	Code   int    `json:"code"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

// said is what a container of a pod wrote.
type said struct {
	Pod  string `json:"pod"`
	Text string `json:"text"`
}

// encode bounds d and writes it. It fails when d can't be brought below the limit.
func (d data) encode() (json.RawMessage, error) {
	limit := maxEvidence
	if d.Objects != nil {
		limit = maxListEvidence
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write down what was seen: %w", err)
	}
	for len(raw) > limit {
		if !d.shrink() {
			return nil, errTooBig
		}
		if raw, err = json.Marshal(d); err != nil {
			return nil, fmt.Errorf("write down what was seen: %w", err)
		}
	}
	return raw, nil
}

// shrink makes d smaller, if that can be done. Output and bodies are cut off
// at their end in any case, and so can be cut shorter: what is not text takes
// six times its room when written down.
func (d *data) shrink() bool {
	var texts []*string
	switch {
	case d.Response != nil:
		texts = []*string{&d.Response.Body}
	case d.Connection != nil:
		texts = []*string{&d.Connection.Received}
	case d.Lookup != nil, d.Bench != nil:
		return false // it is bounded where it is made
	case d.Result != nil:
		texts = []*string{&d.Result.Stdout, &d.Result.Stderr}
	case d.File != nil:
		texts = []*string{&d.File.Text}
	case len(d.Events) > 0:
		for i := range d.Events {
			texts = append(texts, &d.Events[i].Message)
		}
	case len(d.Audit) > 0:
		for i := range d.Audit {
			texts = append(texts, &d.Audit[i].Body)
		}
	case len(d.Logs) > 0:
		for i := range d.Logs {
			texts = append(texts, &d.Logs[i].Text)
		}
	default:
		path := d.dropBiggest()
		if path != "" {
			d.LeftOut = append(d.LeftOut, path)
		}
		return path != ""
	}
	longest := slices.MaxFunc(texts, func(a, b *string) int { return cmp.Compare(len(*a), len(*b)) })
	if len(*longest) < minDropped {
		return false
	}
	*longest = (*longest)[:len(*longest)/2]
	return true
}

var errTooBig = errors.New("there is too much to look at")

// minDropped is the smallest value worth dropping, in bytes: when everything
// is smaller there is just too much of it.
const minDropped = 4 << 10

// dropBiggest replaces the biggest single value by a note of its size, and
// returns the path to it; an empty path when no value is big.
func (d *data) dropBiggest() string {
	root := map[string]any{string(oneObject): d.Object}
	if d.Objects != nil {
		list := make([]any, len(d.Objects))
		for i, o := range d.Objects {
			list[i] = o
		}
		root = map[string]any{string(manyObjects): list}
	}
	big := biggest{size: minDropped}
	big.search("", root, func(any) {})
	if big.replace == nil {
		return ""
	}
	big.replace(fmt.Sprintf("left out: %d KiB", big.size>>10))
	return big.path
}

// biggest finds the longest string, or the map or list of many small values
// that takes most room.
type biggest struct {
	size    int
	path    string
	replace func(any)
}

// search returns the size of v and remembers the biggest value below it.
func (b *biggest) search(path string, v any, replace func(any)) int {
	size, own := 2, 0 // own: what sits in values too small to be dropped by themselves
	child := func(name string, key int, v any, set func(any)) {
		s := b.search(name, v, set)
		size += key + s
		if s <= minDropped {
			own += key + s
		}
	}
	switch v := v.(type) {
	case string:
		size, own = len(v)+2, len(v)+2
	case map[string]any:
		for k, e := range v {
			child(path+"."+k, len(k)+4, e, func(n any) { v[k] = n })
		}
	case []any:
		for i, e := range v {
			child(fmt.Sprintf("%s[%d]", path, i), 1, e, func(n any) { v[i] = n })
		}
	default:
		return 8
	}
	// Never an object as a whole, nor its identity.
	if own > b.size && strings.Count(path, ".") >= 2 && !strings.HasSuffix(path, ".metadata") {
		b.size, b.path, b.replace = own, strings.TrimPrefix(path, "."), replace
	}
	return size
}

// decodeData reads kept data. Whole numbers stay whole, as CEL wants them.
func decodeData(raw json.RawMessage) (data, error) {
	var d data
	if err := apijson.Unmarshal(raw, &d); err != nil {
		return data{}, fmt.Errorf("read kept evidence: %w", err)
	}
	for _, o := range d.Objects {
		if o == nil {
			return data{}, errors.New("read kept evidence: a list with an empty object")
		}
	}
	return d, nil
}

// value is the CEL value of the subject.
func (d data) value(s subject) any {
	switch s {
	case oneObject:
		if d.Object != nil {
			return d.Object
		}
	case manyObjects:
		list := make([]any, len(d.Objects))
		for i, o := range d.Objects {
			list[i] = o
		}
		return list
	case response:
		if d.Response != nil {
			return d.Response.value()
		}
	case connection:
		if d.Connection != nil {
			return map[string]any{"open": d.Connection.Open, "received": d.Connection.Received, "seconds": d.Connection.Seconds, "error": d.Connection.Error}
		}
	case lookup:
		if d.Lookup != nil {
			return map[string]any{
				"code": d.Lookup.Code, "name": d.Lookup.Name, "records": d.Lookup.Records, "seconds": d.Lookup.Seconds, "error": d.Lookup.Error,
			}
		}
	case result:
		if d.Result != nil {
			return map[string]any{"code": d.Result.Code, "stdout": d.Result.Stdout, "stderr": d.Result.Stderr}
		}
	case fileSeen:
		if d.File != nil {
			return d.File.value()
		}
	case measured:
		if d.Bench != nil {
			return benchValue(d.Bench)
		}
	case clusterEvents:
		return listOf(d.Events, happened.value)
	case requestsMade:
		return listOf(d.Audit, requestValue)
	case podLogs:
		return listOf(d.Logs, func(l said) map[string]any { return map[string]any{"pod": l.Pod, "text": l.Text} })
	}
	return nil
}

func listOf[T any](all []T, value func(T) map[string]any) []any {
	list := make([]any, len(all))
	for i, one := range all {
		list[i] = value(one)
	}
	return list
}

// noAnswer says why nothing answered a probe; empty when something did.
func (d data) noAnswer() string {
	switch {
	case d.Response != nil:
		return d.Response.Error
	case d.Connection != nil:
		return d.Connection.Error
	case d.Lookup != nil:
		return d.Lookup.Error
	case d.File != nil:
		return d.File.Error
	}
	return ""
}

func (a *answer) value() map[string]any {
	headers := a.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	v := map[string]any{"code": a.Code, "body": a.Body, "headers": headers, "seconds": a.Seconds, "error": a.Error}
	var parsed any
	if apijson.Unmarshal([]byte(a.Body), &parsed) == nil && parsed != nil {
		v["json"] = parsed
	}
	return v
}

// seconds rounds a time to whole milliseconds: more would make equal answers differ.
func seconds(s float64) float64 { return math.Round(s*1000) / 1000 }

// lastApplied is where kubectl apply keeps the whole object once more.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// trim takes from an object what no check needs, and what nobody may read:
// managedFields, and the values of a Secret. Equal secrets have equal masks,
// so that a check can tell whether one was changed.
func trim(object map[string]any) map[string]any {
	meta, _ := object["metadata"].(map[string]any)
	delete(meta, "managedFields")
	if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
		return object
	}
	if annotations, ok := meta["annotations"].(map[string]any); ok {
		delete(annotations, lastApplied)
	}
	for _, field := range []string{"data", "stringData"} {
		values, _ := object[field].(map[string]any)
		for k, v := range values {
			values[k] = mask(fmt.Sprint(v))
		}
	}
	return object
}

// maskBytes is how much of a secret's SHA-256 stands for it: enough to tell
// any two apart.
const maskBytes = 12

func mask(value string) string {
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:maskBytes])
}
