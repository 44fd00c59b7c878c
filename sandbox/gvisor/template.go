package gvisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"drydock/sandbox"
)

const (
	// templateFormat is part of every template's id. A new number says that
	// this program makes something else of the same spec than earlier ones did.
	templateFormat = 1
	// templateIDLength in hexadecimal digits makes 64 bits of the hash.
	templateIDLength = 16
)

// templateID is the content address of everything that decides what a machine is like.
func (p *Provider) templateID(plan *plan) (string, error) {
	if plan.spec.Template == "" {
		return "", nil
	}
	content, err := json.Marshal(struct {
		Format  int
		Name    string
		Root    string
		Durable bool
		Limits  sandbox.Limits
	}{templateFormat, plan.spec.Template, filepath.Base(plan.root), p.disk.durable(), plan.limits})
	if err != nil {
		return "", fmt.Errorf("name the template: %w", err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])[:templateIDLength], nil
}

// TemplateID is the id of the template that the spec asks for.
func (p *Provider) TemplateID(_ context.Context, spec sandbox.Spec) (string, error) {
	plan, err := p.plan(spec)
	if err != nil {
		return "", err
	}
	return plan.template, nil
}

// MakeTemplate does nothing: there is nothing to be made beforehand.
func (p *Provider) MakeTemplate(_ context.Context, spec sandbox.Spec, _ sandbox.Progress) (sandbox.Template, error) {
	plan, err := p.plan(spec)
	if err == nil && plan.template == "" {
		err = errors.New("make a template: the lab names none")
	}
	if err != nil {
		return sandbox.Template{}, err
	}
	return sandbox.Template{ID: plan.template, Name: spec.Template, Kind: sandbox.Machine}, nil
}

// Templates lists none: there is none to keep.
func (p *Provider) Templates(context.Context) ([]sandbox.Template, error) { return nil, nil }

// RemoveTemplate does nothing.
func (p *Provider) RemoveTemplate(context.Context, string) error { return nil }
