package grade

import (
	"context"
	"fmt"
	"time"

	"drydock/sandbox/probe"
)

// vantage is the source of an active probe: http, tcp or dns.
type vantage struct {
	*place
	request   probe.Request
	namespace string // that the request comes from; empty on a machine
	pod       string // label selector of the pod that it is sent from; empty: the node or the machine itself
	see       func(probe.Answer) data
	every     time.Duration // as its author has it
	pace      *pace
}

// podRetry is how often a pod to probe from is looked for when there is none.
const podRetry = time.Second

func (v *vantage) look(ctx context.Context) (seen data, err error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	err = &blindness{cannotRun, errSilent}
	v.follow(ctx, nil, func(s data, e error) {
		if ctx.Err() == nil { // the first is taken
			seen, err = s, e
			cancel()
		}
	})
	return seen, err
}

// answersAll makes the probe report answers that differ in nothing but their headers or the time they took.
func (v *vantage) answersAll() { v.request.Watch = probe.WatchEvery }

func (v *vantage) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	v.watch(ctx, again, func(a probe.Answer, err error) {
		if err != nil {
			report(data{}, err)
			return
		}
		report(v.see(a), nil)
	}, report)
}

// watch probes until ctx ends. Where there is no place to probe from, that is
// what missing is told, as something seen or as an error.
func (v *vantage) watch(ctx context.Context, again <-chan struct{}, tell func(probe.Answer, error), missing func(data, error)) {
	if v.cluster != nil {
		v.request.From.Namespace = v.namespace
	}
	for ctx.Err() == nil {
		if v.pod != "" {
			ip, err := v.place.podAddress(ctx, v.namespace, v.pod)
			if err != nil || ip == "" {
				missing(data{Note: fmt.Sprintf("no pod with %s in %s is ready to ask from", v.pod, v.namespace)}, err)
				pause(ctx, podRetry, again)
				continue
			}
			v.request.From.Pod = ip
		}
		v.untilPodGone(ctx, again, tell)
	}
}

// untilPodGone probes until ctx ends, or the pod that it probes from is gone.
func (v *vantage) untilPodGone(ctx context.Context, again <-chan struct{}, tell func(probe.Answer, error)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.probes.ask(ctx, v.request, again, v.pace, func(a probe.Answer, err error) {
		switch {
		case ctx.Err() != nil:
		case err == nil && a.Error == probe.PodGone:
			cancel()
		default:
			tell(a, err)
		}
	})
}

// podAddress is the address of the first ready pod that a selector picks, by
// name; empty when there is none. The error is a blindness.
func (p *place) podAddress(ctx context.Context, namespace, selector string) (string, error) {
	pod, err := p.cluster.readyPod(ctx, namespace, selector)
	switch {
	case err != nil:
		return "", blind(err)
	case pod == nil:
		return "", nil
	}
	return pod.Status.PodIP, nil
}

// at binds the probe to a place.
func (v *vantage) at(p *place) *vantage {
	v.place, v.every = p, v.request.Every
	v.pace = newPace(v.every)
	return v
}

func (v *vantage) needs() means {
	if v.pod != "" {
		return throughExec | throughCluster
	}
	return throughExec
}

// vantage reports what is wrong with the place that a probe is sent from, and how often.
func (add report) vantage(collector, from, pod string, every Duration) {
	add.namespace(collector, from)
	add.selector(collector, pod)
	add.every(collector, every)
	if pod != "" && from == "" {
		add("%s: a pod is picked from a namespace: name it in from", collector)
	}
}

// orDefault is the period that is set, or else the one that is not.
func orDefault(every Duration, unset time.Duration) time.Duration {
	if every == 0 {
		return unset
	}
	return time.Duration(every)
}
