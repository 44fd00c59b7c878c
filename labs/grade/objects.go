package grade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	kwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// kindRetry is how often a kind that the cluster does not know is asked
	// for again: discovery is two requests.
	kindRetry = 2 * time.Second
	// burst is for how long changes of a list are gathered after one was
	// reported: a rollout changes ten pods in as many milliseconds.
	burst = 50 * time.Millisecond
	// maxWatched bounds what one list keeps of its objects, in bytes: a thousand pods
	// of 8 KiB. A learner can fill the cluster's store, and must not fill the
	// server's memory with it.
	maxWatched = 8 << 20
	// pageSize is how many objects are asked for at once, each of 1.5 MiB at most.
	pageSize = 100
	// verifyEvery and verifyTries bound the wait for a watch to deliver what
	// a request has already shown; after 2 s it is taken for dead.
	verifyEvery = 100 * time.Millisecond
	verifyTries = 20
)

// objects is the source of a watch. It follows the cluster with client-go's
// reflector, the part of an informer that lists and watches; its store is a
// view that reports every change, with no queue between.
type objects struct {
	*place
	watch  Watch
	fields fields.Selector                      // picks among those of the kind; nil: all
	shape  func(map[string]map[string]any) data // what is seen of them; nil: they themselves
}

func (o *objects) one() bool { return o.watch.Name != "" }

func (o *objects) find(ctx context.Context) (resource, error) {
	res, err := o.cluster.find(ctx, o.watch.APIVersion, o.watch.Kind)
	if err == nil && res.namespaced && o.one() && o.watch.Namespace == "" {
		return res, &blindness{"the checker does not know in which namespace to look for " + o.watch.Kind + " " + o.watch.Name, errors.New("the check names no namespace")}
	}
	return res, err
}

// client is bound to the namespace looked at; without one it sees all.
func (o *objects) client(res resource) dynamic.ResourceInterface {
	all := o.cluster.dynamic.Resource(res.GroupVersionResource)
	if !res.namespaced || o.watch.Namespace == "" {
		return all
	}
	return all.Namespace(o.watch.Namespace)
}

// narrow makes a list or a watch see only what the check looks at.
func (o *objects) narrow(options metav1.ListOptions) metav1.ListOptions {
	options.LabelSelector = o.watch.Selector
	if o.fields != nil {
		options.FieldSelector = o.fields.String()
	}
	if o.one() {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", o.watch.Name).String()
	}
	return options
}

func (o *objects) look(ctx context.Context) (data, error) {
	res, err := o.find(ctx)
	if errors.Is(err, errNoKind) {
		return o.noKind(), nil
	}
	if err != nil {
		return data{}, blindUnlessTold(err)
	}
	list, err := o.fetch(ctx, res)
	if err != nil {
		return data{}, blind(err)
	}
	if cut(list) {
		return data{}, errNoRoom
	}
	return o.data(list), nil
}

func blindUnlessTold(err error) error {
	if _, told := errors.AsType[*blindness](err); told {
		return err
	}
	return blind(err)
}

// fetch reads what is there now, from the API server's store and not from a cache.
func (o *objects) fetch(ctx context.Context, res resource) (map[string]map[string]any, error) {
	found := map[string]map[string]any{}
	var room room
	for options := (metav1.ListOptions{Limit: pageSize}); ; {
		list, err := within(ctx, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
			return o.client(res).List(ctx, o.narrow(options))
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", res.Resource, err)
		}
		for i := range list.Items {
			if !o.one() {
				room.bound(&list.Items[i])
			}
			found[keyOf(&list.Items[i])] = trim(list.Items[i].Object)
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return found, nil
		}
	}
}

func keyOf(o metav1.Object) string { return o.GetNamespace() + "/" + o.GetName() }

// data is what is seen of the objects, in the order of their names.
func (o *objects) data(found map[string]map[string]any) data {
	if o.shape != nil {
		return o.shape(found)
	}
	if o.one() {
		for _, object := range found {
			return data{Object: object}
		}
		return data{}
	}
	list := make([]map[string]any, 0, len(found))
	for _, key := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[key])
	}
	return data{Objects: list}
}

func (o *objects) noKind() data {
	return data{Note: "the cluster knows no kind " + o.watch.Kind + " yet"}
}

func (o *objects) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	var after retry
	for ctx.Err() == nil {
		res, err := o.find(ctx)
		switch {
		case errors.Is(err, errNoKind):
			report(o.noKind(), nil)
			pause(ctx, kindRetry, again)
		case err != nil && ctx.Err() == nil:
			report(data{}, blindUnlessTold(err))
			after.pause(ctx, again)
		case err == nil:
			after.reset()
			o.followKind(ctx, res, again, report)
		}
	}
}

// followKind follows until ctx ends, the kind is gone, or the watch is found dead.
func (o *objects) followKind(ctx context.Context, res resource, again <-chan struct{}, report func(data, error)) {
	ctx, stop := context.WithCancel(quiet(ctx)) // the view hears of errors from the requests themselves
	v := &view{objects: o, report: report, stop: stop, found: map[string]map[string]any{}, changed: make(chan struct{}, 1)}
	reflector := cache.NewReflectorWithOptions(v.listWatch(res), &unstructured.Unstructured{}, v, cache.ReflectorOptions{
		Name:    "grade",
		Logger:  new(klog.Logger),
		Backoff: &wait.Backoff{Duration: firstRetry, Factor: 2, Jitter: 0.1, Steps: 5, Cap: maxRetry},
	})
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { reflector.RunWithContext(ctx) })
	if !o.one() {
		running.Go(func() { v.reportBursts(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			v.verify(ctx, res)
		}
	}
}

// view is the reflector's store: the objects as they are, reporting changes.
type view struct {
	objects *objects
	stop    context.CancelFunc
	changed chan struct{} // for lists

	mu     sync.Mutex // held while reporting, so that reports are in order
	report func(data, error)
	found  map[string]map[string]any
	room   room
	synced bool
	down   bool // the last request failed
}

// listWatch makes the reflector's requests, and tells the view how they went.
func (v *view) listWatch(res resource) *cache.ListWatch {
	client := v.objects.client(res)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := within(ctx, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
				return client.List(ctx, v.objects.narrow(options))
			})
			v.failed(ctx, err)
			if err == nil {
				for i := range list.Items {
					v.bound(&list.Items[i])
				}
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (kwatch.Interface, error) {
			w, err := client.Watch(ctx, v.objects.narrow(options))
			if err == nil && options.SendInitialEvents == nil {
				v.resumed()
			}
			if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) { // no streamed lists here: the reflector lists instead
				v.failed(ctx, err)
			}
			if err != nil {
				return nil, err
			}
			return kwatch.Filter(w, func(e kwatch.Event) (kwatch.Event, bool) {
				if item, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != kwatch.Deleted && e.Type != kwatch.Bookmark {
					v.bound(item)
				}
				return e, true
			}), nil
		},
	}
}

// bound takes from an object all but its identity when the list has no room for
// it. It is called before the reflector gathers the objects.
func (v *view) bound(item *unstructured.Unstructured) {
	if v.objects.one() {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.room.bound(item)
}

// room counts what a list keeps.
type room struct {
	sizes map[string]int // in bytes, of the objects that are kept whole
	taken int
}

// tooMuch marks an object of which only the identity is kept.
const tooMuch = "drydock:too-much"

func (r *room) bound(item *unstructured.Unstructured) {
	key := keyOf(item)
	var b biggest
	size := b.search("", item.Object, func(any) {})
	r.give(key)
	if r.taken+size > maxWatched {
		item.Object = map[string]any{"apiVersion": item.GetAPIVersion(), "kind": item.GetKind(), tooMuch: true, "metadata": map[string]any{
			"namespace": item.GetNamespace(), "name": item.GetName(), "uid": string(item.GetUID()), "resourceVersion": item.GetResourceVersion(),
		}}
		return
	}
	if r.sizes == nil {
		r.sizes = map[string]int{}
	}
	r.taken += size
	r.sizes[key] = size
}

// give gives back the room of an object that is gone.
func (r *room) give(key string) {
	r.taken -= r.sizes[key]
	delete(r.sizes, key)
}

// cut reports whether there was no room for some of the objects.
func cut(found map[string]map[string]any) bool {
	for _, object := range found {
		if object[tooMuch] != nil {
			return true
		}
	}
	return false
}

var errNoRoom = &blindness{"the checker cannot decide: " + errTooBig.Error(), errTooBig}

// failed reports that a request failed, unless it was the end of the run or
// of the kind, or only asked for a version that is no longer kept.
func (v *view) failed(ctx context.Context, err error) {
	switch {
	case err == nil || ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
	case apierrors.IsNotFound(err):
		v.objects.cluster.forget()
		v.stop()
	default:
		v.mu.Lock()
		defer v.mu.Unlock()
		v.down = true
		v.report(data{}, blind(err))
	}
}

// resumed says that a watch goes on where it was.
func (v *view) resumed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.down && v.synced {
		v.down = false
		v.tell()
	}
}

// tell reports what there is. The caller holds mu.
func (v *view) tell() {
	if cut(v.found) {
		v.report(data{}, errNoRoom)
		return
	}
	v.report(v.objects.data(v.found), nil)
}

func (v *view) change(object any, put bool) error {
	item, ok := object.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("a watch delivered a %T", object)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.found, keyOf(item))
	if !put {
		v.forget(keyOf(item))
	}
	if put {
		v.found[keyOf(item)] = trim(item.Object)
	}
	v.down = false
	v.noteChange()
	return nil
}

// forget gives back the room of an object that is gone. What was cut when there
// was none is fetched again once there is plenty. The caller holds mu.
func (v *view) forget(key string) {
	v.room.give(key)
	if v.room.taken < maxWatched/2 && cut(v.found) {
		v.stop() // the next view begins with a list
	}
}

// noteChange reports one object at once: no state of it is missed, however
// short. A list is reported by reportBursts. The caller holds mu.
func (v *view) noteChange() {
	if v.objects.one() {
		v.tell()
		return
	}
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// reportBursts reports the first change of a list at once, and those that
// follow closely together.
func (v *view) reportBursts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.changed:
		}
		v.mu.Lock()
		v.tell()
		v.mu.Unlock()
		if !pause(ctx, burst, nil) {
			return
		}
	}
}

func (v *view) Add(object any) error    { return v.change(object, true) }
func (v *view) Update(object any) error { return v.change(object, true) }
func (v *view) Delete(object any) error { return v.change(object, false) }
func (v *view) Resync() error           { return nil }

func (v *view) Replace(list []any, _ string) error {
	found := make(map[string]map[string]any, len(list))
	for _, object := range list {
		item, ok := object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("a list held a %T", object)
		}
		found[keyOf(item)] = trim(item.Object)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for key := range v.room.sizes {
		if found[key] == nil {
			v.room.give(key)
		}
	}
	v.found, v.synced, v.down = found, true, false
	v.noteChange()
	return nil
}

// verify asks the cluster whether the view is up to date, and reports what is
// there once it is. So a hold is never fulfilled by a watch that died unseen.
func (v *view) verify(ctx context.Context, res resource) {
	var after retry
	for tries := 0; tries < verifyTries; tries++ {
		fresh, err := v.objects.fetch(ctx, res)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			v.failed(ctx, err)
			tries = 0
			after.pause(ctx, nil)
		case v.confirm(fresh):
			return
		default:
			pause(ctx, verifyEvery, nil)
		}
	}
	v.objects.env.Log.Warn("a watch delivers nothing: starting it anew", "kind", v.objects.watch.Kind)
	v.stop()
}

// confirm reports what is there when it is what the view has.
func (v *view) confirm(fresh map[string]map[string]any) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.synced || !maps.EqualFunc(v.found, fresh, sameVersion) {
		return false
	}
	v.down = false
	v.tell()
	return true
}

func sameVersion(a, b map[string]any) bool {
	version := func(o map[string]any) (uid, rv any) {
		meta, _ := o["metadata"].(map[string]any)
		return meta["uid"], meta["resourceVersion"]
	}
	uid, rv := version(a)
	otherUID, otherRV := version(b)
	return uid == otherUID && rv == otherRV
}
