package kind

import (
	"context"
	"errors"

	"drydock/sandbox"
)

// TemplateID is empty: every cluster is prepared anew.
func (p *Provider) TemplateID(context.Context, sandbox.Spec) (string, error) { return "", nil }

var errNoTemplates = errors.New("this provider makes no templates")

// MakeTemplate fails.
func (p *Provider) MakeTemplate(context.Context, sandbox.Spec, sandbox.Progress) (sandbox.Template, error) {
	return sandbox.Template{}, errNoTemplates
}

// Templates returns none.
func (p *Provider) Templates(context.Context) ([]sandbox.Template, error) { return nil, nil }

// RemoveTemplate has nothing to do.
func (p *Provider) RemoveTemplate(context.Context, string) error { return nil }

// Spare fails.
func (p *Provider) Spare(context.Context, sandbox.Spec, sandbox.Progress) (sandbox.Info, error) {
	return sandbox.Info{}, errNoTemplates
}

// Discard removes the sandbox.
func (p *Provider) Discard(ctx context.Context, id string) error { return p.Destroy(ctx, id) }

// Sweep has nothing to do.
func (p *Provider) Sweep(context.Context) error { return nil }

// Usage measures nothing yet.
func (p *Provider) Usage(context.Context, ...string) (map[string]sandbox.Usage, error) {
	return nil, nil
}

// Close has nothing to wait for.
func (p *Provider) Close(context.Context) error { return nil }
