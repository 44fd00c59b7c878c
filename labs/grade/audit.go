package grade

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"drydock/labs/trail"
	"drydock/sandbox"
)

const (
	defaultAuditEvery = 3 * time.Second
	// maxRequests is how many requests are kept, the latest.
	maxRequests = 200
	// maxAuditParts bounds the parts of the log, of a mebibyte at most, that one
	// look reads: the node keeps 32 MiB, and lines are not cut in two.
	maxAuditParts = 64
	// auditLost is what there is to say when the log was written over faster than
	// it was read. What is missing could be just what the check asks for.
	auditLost = "more was asked of the cluster than its audit log keeps, so that a part of it is missing"
)

func (a *Audit) sees() subject          { return requestsMade }
func (a *Audit) needs() means           { return throughExec | throughCluster }
func (a *Audit) period() time.Duration  { return orDefault(a.Every, defaultAuditEvery) }
func (a *Audit) name() string           { return "" }
func (a *Audit) source(p *place) source { return &audits{place: p, audit: *a} }

func (a *Audit) fill(replace func(string) string) {
	a.Namespace, a.Name = replace(a.Namespace), replace(a.Name)
}

func (a *Audit) problems(add report) {
	add.namespace("audit", a.Namespace)
	add.every("audit", a.Every)
	if a.Resource != strings.ToLower(a.Resource) {
		add("audit: a resource is named in lower case and plural, such as deployments; not %q", a.Resource)
	}
}

// audits is the source of an audit check: what the learner has asked of the
// cluster since the hand-over. It reads on from where it was.
type audits struct {
	*place
	audit Audit
	next  string
	seen  []trail.Request
	lost  bool // something was missing once, which stays so
}

func (a *audits) follow(ctx context.Context, again <-chan struct{}, report func(data, error)) {
	var after retry
	for ctx.Err() == nil {
		seen, err := a.look(ctx)
		if ctx.Err() != nil {
			return
		}
		report(seen, err)
		if err != nil {
			after.pause(ctx, again)
			continue
		}
		after.reset()
		pause(ctx, a.audit.period(), again)
	}
}

func (a *audits) look(ctx context.Context) (data, error) {
	release, err := a.slot(ctx)
	if err != nil {
		return data{}, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, execTimeout+execGrace)
	defer cancel()
	for range maxAuditParts {
		res, err := a.run(ctx, sandbox.AuditCommand(a.next))
		if err != nil {
			return data{}, err
		}
		part, err := sandbox.ParseAudit(res)
		if err != nil {
			return data{}, &blindness{cannotRun, err}
		}
		for _, r := range trail.ParseAudit(part.Lines, a.env.Since) {
			if a.wants(r) {
				a.seen = append(a.seen, r)
			}
		}
		a.seen = latestRequests(a.seen)
		a.next, a.lost = part.Next, a.lost || part.Lost
		if !part.More {
			break
		}
	}
	if a.lost {
		return data{}, &blindness{auditLost, errors.New("the audit log has a gap")}
	}
	made := make([]trail.Request, len(a.seen))
	copy(made, a.seen)
	return data{Audit: made}, nil
}

// latestRequests keeps as many as there is room for: before what destroys goes what
// changes, and before that what only looks. Looking often hides nothing.
func latestRequests(all []trail.Request) []trail.Request {
	for _, class := range []trail.Class{trail.Look, trail.Change, trail.Destroy} {
		over := len(all) - maxRequests
		if over <= 0 {
			break
		}
		all = slices.DeleteFunc(all, func(r trail.Request) bool {
			if r.Class != class || over == 0 {
				return false
			}
			over--
			return true
		})
	}
	return all
}

// wants reports whether the check is about the request.
func (a *audits) wants(r trail.Request) bool {
	is := func(wanted, got string) bool { return wanted == "" || wanted == got }
	return is(a.audit.Resource, r.Resource) && is(a.audit.Namespace, r.Space) && is(a.audit.Name, r.Name) &&
		(len(a.audit.Verbs) == 0 || slices.Contains(a.audit.Verbs, r.Verb))
}

func requestValue(r trail.Request) map[string]any {
	return map[string]any{
		"at": r.At.Format(time.RFC3339Nano), "does": string(r.Class), "verb": r.Verb, "group": r.Group, "resource": r.Resource,
		"sub": r.Sub, "namespace": r.Space, "name": r.Name, "by": r.By, "code": r.Code, "body": r.Body,
	}
}
