package trail

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxObjects bounds a snapshot: a lab's namespaces hold some dozens, a
	// small cluster some hundreds, most of them roles of Kubernetes' own.
	MaxObjects = 2000
	// MaxContent bounds what is kept of one object, in bytes. Of a bigger one
	// it can be told that it changed, and not what.
	MaxContent = 16 << 10
	// maxSnapshot bounds all contents together.
	maxSnapshot = 3 << 20
	// maxFields bounds the fields that are told of one change, maxChanges the changes.
	maxFields  = 12
	maxChanges = 200
	// maxDepth bounds how deep two objects are compared; Kubernetes' own are half as deep.
	maxDepth = 40
)

// Object is what a snapshot holds of one object.
type Object struct {
	Kind    string         `json:"kind"`
	Group   string         `json:"group,omitempty"`
	Space   string         `json:"namespace,omitempty"`
	Name    string         `json:"name"`
	UID     string         `json:"uid,omitempty"`
	Sum     string         `json:"sum"`               // hash of Content, whole
	Content map[string]any `json:"content,omitempty"` // nil: too big to be kept
}

// key tells objects apart.
func (o Object) key() string { return strings.Join([]string{o.Group, o.Kind, o.Space, o.Name}, "\x00") }

// Snapshot is all that the learner could have changed, at one moment.
type Snapshot struct {
	At      time.Time `json:"at"`
	Run     int       `json:"run"` // of the sandbox: how many resets came before it
	Objects []Object  `json:"objects"`
	LeftOut int       `json:"leftOut,omitempty"` // objects that there was no room for
	Blind   []string  `json:"blind,omitempty"`   // kinds that could not be listed

	size int
}

// Add takes an object into the snapshot, in the form that it is compared in,
// unless it is the system's own doing. The object must not be used afterwards.
func (s *Snapshot) Add(object map[string]any) {
	o, ok := normal(object)
	if !ok {
		return
	}
	whole, err := json.Marshal(o.Content)
	if err != nil || len(s.Objects) >= MaxObjects {
		s.LeftOut++
		return
	}
	o.Sum = hash(whole)
	o.Content, _ = shown(o.Content).(map[string]any)
	kept, err := json.Marshal(o.Content)
	if err != nil || len(kept) > MaxContent || s.size+len(kept) > maxSnapshot {
		o.Content = nil
	} else {
		s.size += len(kept)
	}
	s.Objects = append(s.Objects, o)
}

// behind comes before the hash of a text that is masked or cut: it tells that
// the text changed, and is itself not shown.
const behind = "\x00"

// shown is a value as it is kept and may be shown.
func shown(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		fields := maskFields(v, func(s string) string { return s })
		for key, one := range v {
			if text, isText := one.(string); isText && fields[key] == Mask {
				out[key] = Mask + behind + hash([]byte(text))
				continue
			}
			out[key] = shown(one)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = shown(v[i])
		}
		return out
	case string:
		if kept := cut(clean(MaskText(v), true), maxText); kept != v {
			return kept + behind + hash([]byte(v))
		}
	}
	return value
}

func hash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// noise are kinds that change by themselves all the time, or only repeat what another object says.
var noise = map[string]bool{
	"Event": true, "Lease": true, "Endpoints": true, "EndpointSlice": true, "ControllerRevision": true, "Node": true,
	"CSINode": true, "PodMetrics": true, "NodeMetrics": true, "ComponentStatus": true, "FlowSchema": true, "PriorityLevelConfiguration": true,
	"APIService": true, "IPAddress": true, "ServiceCIDR": true,
}

// Comparable reports whether objects of a kind are compared at all.
func Comparable(kind string) bool { return !noise[kind] }

// ownSpaces are namespaces that no learner of a cluster can change, and that change by themselves.
var ownSpaces = map[string]bool{"kube-system": true, "kube-public": true, "kube-node-lease": true, "drydock": true}

// normal brings an object into the form that is compared: what the system
// writes into it is left out, values of secrets are hashed. ok is false when
// the whole object is the system's.
func normal(object map[string]any) (o Object, ok bool) {
	meta := child(object, "metadata")
	version, _ := object["apiVersion"].(string)
	if group, _, grouped := strings.Cut(version, "/"); grouped {
		o.Group = group
	}
	o.Kind, _ = object["kind"].(string)
	o.Space, _ = meta["namespace"].(string)
	o.Name, _ = meta["name"].(string)
	o.UID, _ = meta["uid"].(string)
	if o.Kind == "" || o.Name == "" || noise[o.Kind] || ownSpaces[o.Space] || strings.HasPrefix(o.Space, "drydock-") || owned(meta) || o.systems() {
		return o, false
	}
	o.Content = map[string]any{}
	for field, value := range object {
		switch field {
		case "apiVersion", "kind", "metadata", "status":
		case "data", "stringData", "binaryData":
			if o.Kind == "Secret" {
				value = hashed(value)
			}
			o.Content[field] = value
		default:
			o.Content[field] = value
		}
	}
	if kept := o.metadata(meta); len(kept) > 0 {
		o.Content["metadata"] = kept
	}
	o.settle()
	return o, true
}

func child(of map[string]any, field string) map[string]any {
	m, _ := of[field].(map[string]any)
	return m
}

// owned: a controller has made it, and makes it anew.
func owned(meta map[string]any) bool {
	owners, _ := meta["ownerReferences"].([]any)
	for _, owner := range owners {
		if m, _ := owner.(map[string]any); m["controller"] == true {
			return true
		}
	}
	return false
}

// systems: Kubernetes puts one into every namespace, or keeps it as its own.
func (o Object) systems() bool {
	switch o.Kind {
	case "ConfigMap":
		return o.Name == "kube-root-ca.crt"
	case "Namespace":
		return ownSpaces[o.Name] || strings.HasPrefix(o.Name, "drydock-")
	case "ServiceAccount":
		return o.Name == "default"
	case "ClusterRole", "ClusterRoleBinding", "PriorityClass", "Role", "RoleBinding":
		return strings.HasPrefix(o.Name, "system:") || strings.HasPrefix(o.Name, "system-") || strings.HasPrefix(o.Name, "kubeadm:") || strings.HasPrefix(o.Name, "drydock:")
	case "Service":
		return o.Space == "default" && o.Name == "kubernetes"
	}
	return false
}

// told are annotations that controllers write.
var told = map[string]bool{
	lastApplied: true, "deployment.kubernetes.io/revision": true, "kubectl.kubernetes.io/restartedAt": true,
	"deprecated.daemonset.template.generation": true, "pv.kubernetes.io/bind-completed": true, "pv.kubernetes.io/bound-by-controller": true,
	"autoscaling.alpha.kubernetes.io/conditions": true, "autoscaling.alpha.kubernetes.io/current-metrics": true,
	"volume.kubernetes.io/selected-node": true, "endpoints.kubernetes.io/last-change-trigger-time": true,
	"control-plane.alpha.kubernetes.io/leader": true, "batch.kubernetes.io/job-tracking": true, "cni.projectcalico.org/podIP": true,
}

// metadata is what of an object's metadata somebody has chosen.
func (o Object) metadata(meta map[string]any) map[string]any {
	kept := map[string]any{}
	for _, field := range []string{"labels", "annotations", "finalizers"} {
		switch value := meta[field].(type) {
		case map[string]any:
			chosen := map[string]any{}
			for key, v := range value {
				if !told[key] {
					chosen[key] = v
				}
			}
			if o.Kind == "Namespace" {
				delete(chosen, "kubernetes.io/metadata.name")
			}
			if len(chosen) > 0 {
				kept[field] = chosen
			}
		case []any:
			if len(value) > 0 {
				kept[field] = value
			}
		}
	}
	return kept
}

// hashed replaces the values of a Secret: that one was changed can be told, what it is cannot.
func hashed(data any) any {
	values, _ := data.(map[string]any)
	out := make(map[string]any, len(values))
	for key, value := range values {
		text, _ := value.(string)
		out[key] = "sha256:" + hash([]byte(text))
	}
	return out
}

// settle takes out what Kubernetes fills in: it says which node, address and
// port it was, not what anybody wanted.
func (o Object) settle() {
	spec := child(o.Content, "spec")
	switch o.Kind {
	case "Pod":
		for _, field := range []string{"nodeName", "tolerations", "enableServiceLinks", "preemptionPolicy", "priority", "serviceAccount"} {
			delete(spec, field)
		}
		dropTokenVolumes(spec)
	case "Service":
		for _, field := range []string{"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "healthCheckNodePort"} {
			if spec["clusterIP"] == "None" && field == "clusterIP" {
				continue // headless, as somebody chose
			}
			delete(spec, field)
		}
	case "Job":
		// The controller adds the job's own id to them.
		delete(spec, "selector")
		if labels := child(child(child(spec, "template"), "metadata"), "labels"); labels != nil {
			for _, label := range []string{"controller-uid", "batch.kubernetes.io/controller-uid"} {
				delete(labels, label)
			}
		}
	case "Deployment", "StatefulSet", "DaemonSet":
		// `kubectl rollout restart` is no change of what runs.
		template := child(spec, "template")
		meta := child(template, "metadata")
		annotations := child(meta, "annotations")
		delete(annotations, "kubectl.kubernetes.io/restartedAt")
		if annotations != nil && len(annotations) == 0 {
			delete(meta, "annotations")
		}
		if len(meta) == 0 {
			delete(template, "metadata")
		}
	case "ServiceAccount":
		delete(o.Content, "secrets")
	case "Namespace":
		delete(o.Content, "spec")
	case "PersistentVolumeClaim":
		delete(spec, "volumeName")
	}
}

// dropTokenVolumes takes out the volumes with a pod's own token, whose names are chosen by chance.
func dropTokenVolumes(spec map[string]any) {
	const prefix = "kube-api-access-"
	without := func(list any) []any {
		all, _ := list.([]any)
		return slices.DeleteFunc(slices.Clone(all), func(one any) bool {
			m, _ := one.(map[string]any)
			name, _ := m["name"].(string)
			return strings.HasPrefix(name, prefix)
		})
	}
	if spec["volumes"] != nil {
		spec["volumes"] = without(spec["volumes"])
	}
	for _, list := range []string{"containers", "initContainers"} {
		containers, _ := spec[list].([]any)
		for _, c := range containers {
			if m, _ := c.(map[string]any); m["volumeMounts"] != nil {
				m["volumeMounts"] = without(m["volumeMounts"])
			}
		}
	}
}

// Op says what became of an object.
type Op string

const (
	Created Op = "created"
	Deleted Op = "deleted"
	Changed Op = "changed"
	// Replaced: it was deleted and made again under its name.
	Replaced Op = "replaced"
)

// ObjectChange is one object that is otherwise than it was.
type ObjectChange struct {
	Op     Op            `json:"op"`
	Kind   string        `json:"kind"`
	Group  string        `json:"group,omitempty"`
	Space  string        `json:"namespace,omitempty"`
	Name   string        `json:"name"`
	Fields []FieldChange `json:"fields,omitempty"`
	More   int           `json:"more,omitempty"` // fields beyond those
}

// FieldChange is one field that is otherwise than it was. From or To is empty
// where there was, or is, none.
type FieldChange struct {
	Path string `json:"path"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Difference is what changed between two snapshots.
type Difference struct {
	Run     int            `json:"run"`
	Changes []ObjectChange `json:"changes"`
	More    int            `json:"more,omitempty"`  // changes beyond those
	Blind   []string       `json:"blind,omitempty"` // kinds that could not be compared
}

// Compare tells what is otherwise in after. Kinds that one of the two could not
// list, and objects that it had no room for, are not compared.
func Compare(before, after Snapshot) Difference {
	d := Difference{Run: after.Run}
	blind := map[string]bool{}
	for _, kind := range append(slices.Clone(before.Blind), after.Blind...) {
		blind[kind] = true
	}
	d.Blind = slices.Sorted(maps.Keys(blind))
	was, is := index(before, blind), index(after, blind)
	var changes []ObjectChange
	for key, o := range was {
		now, there := is[key]
		if !there {
			if after.LeftOut == 0 {
				changes = append(changes, o.change(Deleted))
			}
			continue
		}
		if c, changed := compareObjects(o, now); changed {
			changes = append(changes, c)
		}
	}
	for key, o := range is {
		if _, there := was[key]; !there && before.LeftOut == 0 {
			changes = append(changes, o.change(Created))
		}
	}
	slices.SortFunc(changes, func(a, b ObjectChange) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Group, b.Group))
	})
	if len(changes) > maxChanges {
		d.More = len(changes) - maxChanges
		changes = changes[:maxChanges]
	}
	d.Changes = changes
	return d
}

func index(s Snapshot, blind map[string]bool) map[string]Object {
	all := make(map[string]Object, len(s.Objects))
	for _, o := range s.Objects {
		if !blind[o.Kind] {
			all[o.key()] = o
		}
	}
	return all
}

func (o Object) change(op Op) ObjectChange {
	return ObjectChange{Op: op, Kind: o.Kind, Group: o.Group, Space: o.Space, Name: o.Name}
}

func compareObjects(was, is Object) (ObjectChange, bool) {
	c := is.change(Changed)
	if was.UID != is.UID {
		c.Op = Replaced
	}
	if was.Sum == is.Sum {
		return c, c.Op == Replaced
	}
	if was.Content != nil && is.Content != nil {
		compareValues("", was.Content, is.Content, 0, &c)
	}
	return c, true
}

// compareValues notes where two values differ.
func compareValues(path string, was, is any, depth int, c *ObjectChange) {
	before, isMap := was.(map[string]any)
	after, areMaps := is.(map[string]any)
	if isMap && areMaps && depth < maxDepth {
		keys := map[string]bool{}
		for key := range before {
			keys[key] = true
		}
		for key := range after {
			keys[key] = true
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			compareValues(joinPath(path, key), before[key], after[key], depth+1, c)
		}
		return
	}
	list, isList := was.([]any)
	now, areLists := is.([]any)
	if isList && areLists && depth < maxDepth {
		compareLists(path, list, now, depth, c)
		return
	}
	if !equal(was, is) {
		c.add(FieldChange{Path: path, From: say(was), To: say(is)})
	}
}

// compareLists compares lists of named things by their names, and others by place.
func compareLists(path string, was, is []any, depth int, c *ObjectChange) {
	before, after := byName(was), byName(is)
	if before == nil || after == nil {
		for i := range max(len(was), len(is)) {
			compareValues(path+"["+strconv.Itoa(i)+"]", at(was, i), at(is, i), depth+1, c)
		}
		return
	}
	keys := map[string]bool{}
	for name := range before {
		keys[name] = true
	}
	for name := range after {
		keys[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		compareValues(fmt.Sprintf("%s[%s]", path, name), before[name], after[name], depth+1, c)
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// byName is a list of things with names, or nil if it is none.
func byName(list []any) map[string]any {
	named := make(map[string]any, len(list))
	for _, one := range list {
		m, _ := one.(map[string]any)
		name, _ := m["name"].(string)
		if _, twice := named[name]; name == "" || twice {
			return nil
		}
		named[name] = one
	}
	return named
}

// joinPath writes a field's path as people do: spec.replicas, metadata.labels["app.kubernetes.io/name"].
func joinPath(path, key string) string {
	switch {
	case strings.ContainsAny(key, "./ "):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

func equal(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// say writes a value in a few words.
func say(value any) string {
	if value == nil {
		return ""
	}
	if text, ok := value.(string); ok {
		text, _, _ = strings.Cut(text, behind)
		return text
	}
	raw, err := json.Marshal(withoutHashes(value))
	if err != nil {
		return ""
	}
	return cut(string(raw), maxText)
}

func withoutHashes(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = withoutHashes(v[key])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = withoutHashes(v[i])
		}
		return out
	case string:
		text, _, _ := strings.Cut(v, behind)
		return text
	}
	return value
}

func (c *ObjectChange) add(f FieldChange) {
	if len(c.Fields) == maxFields {
		c.More++
		return
	}
	c.Fields = append(c.Fields, f)
}

// Bounded leaves out what does not fit into an event: the changes beyond most,
// those that important says last, and the fields beyond a few.
func (d Difference) Bounded(most, fields int, important func(ObjectChange) bool) Difference {
	out := Difference{Run: d.Run, Blind: d.Blind, More: d.More}
	out.Changes = slices.Clone(d.Changes)
	slices.SortStableFunc(out.Changes, func(a, b ObjectChange) int {
		switch x, y := important(a), important(b); {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	if len(out.Changes) > most {
		out.More += len(out.Changes) - most
		out.Changes = out.Changes[:most]
	}
	for i := range out.Changes {
		c := &out.Changes[i]
		if len(c.Fields) > fields {
			c.More += len(c.Fields) - fields
			c.Fields = slices.Clone(c.Fields[:fields])
		}
	}
	return out
}
