package grade

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
)

// maxEvents is how many events are kept, the latest: Kubernetes counts equal
// ones in one object, and forgets all after an hour.
const maxEvents = 100

func (e *Events) sees() subject         { return clusterEvents }
func (e *Events) needs() means          { return throughCluster }
func (e *Events) period() time.Duration { return 0 }
func (e *Events) name() string          { return "" }

func (e *Events) fill(replace func(string) string) {
	e.Namespace, e.Name, e.Reason = replace(e.Namespace), replace(e.Name), replace(e.Reason)
}

func (e *Events) problems(add report) {
	add.namespace("events", e.Namespace)
	if e.Kind == "" && e.Name != "" {
		add("events: a name needs its kind")
	}
	if known := append(knownKinds(), clusterKinds...); e.Kind != "" && !slices.Contains(known, e.Kind) {
		if near := didYouMean(e.Kind, known); near != "" {
			add("events: %q is no kind of Kubernetes itself%s", e.Kind, near)
		}
	}
	if e.Type != "" && !slices.Contains(eventTypes, e.Type) {
		add("events: type is %q%s", e.Type, didYouMeanOr(e.Type, eventTypes))
	}
}

var eventTypes = []string{"Normal", "Warning"}

func (e *Events) source(p *place) source {
	picked := fields.Set{}
	for field, value := range map[string]string{
		"involvedObject.kind": e.Kind, "involvedObject.name": e.Name, "reason": e.Reason, "type": e.Type,
	} {
		if value != "" {
			picked[field] = value
		}
	}
	return &objects{
		place: p, watch: Watch{APIVersion: "v1", Kind: "Event", Namespace: e.Namespace},
		fields: picked.AsSelector(), shape: eventsSeen,
	}
}

// happened is one event of Kubernetes, which may have happened several times.
type happened struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	From    string `json:"from"` // the component that reports it
	Count   int64  `json:"count"`
	First   string `json:"first"` // as Kubernetes writes times
	Last    string `json:"last"`
}

// eventsSeen is what is seen of events, the oldest first.
func eventsSeen(found map[string]map[string]any) data {
	all := []happened{}
	for object := range maps.Values(found) {
		all = append(all, eventOf(object))
	}
	slices.SortFunc(all, func(a, b happened) int {
		return cmp.Or(cmp.Compare(a.Last, b.Last), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	return data{Events: all[max(0, len(all)-maxEvents):]}
}

// eventOf reads an event in its old form and in that of events.k8s.io.
func eventOf(object map[string]any) happened {
	text := func(path ...string) string {
		value, _, _ := unstructured.NestedString(object, path...)
		return value
	}
	count, _, _ := unstructured.NestedInt64(object, "count")
	if series, _, _ := unstructured.NestedInt64(object, "series", "count"); series > count {
		count = series
	}
	first := cmp.Or(text("firstTimestamp"), text("eventTime"), text("metadata", "creationTimestamp"))
	return happened{
		Type: text("type"), Reason: text("reason"), Message: text("message"),
		Kind: text("involvedObject", "kind"), Name: text("involvedObject", "name"),
		From:  cmp.Or(text("reportingComponent"), text("source", "component")),
		Count: max(count, 1), First: first, Last: cmp.Or(text("series", "lastObservedTime"), text("lastTimestamp"), first),
	}
}

func (h happened) value() map[string]any {
	return map[string]any{
		"type": h.Type, "reason": h.Reason, "message": h.Message, "kind": h.Kind, "name": h.Name,
		"from": h.From, "count": h.Count, "first": h.First, "last": h.Last,
	}
}
