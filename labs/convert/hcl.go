package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds of what is read in HCL. Its parser calls itself for each bracket and
// each sign, so that what nests deeply must be short.
const (
	maxHCL      = 128 << 10 // bytes of a file; real ones have a few kilobytes
	maxHCLFiles = 64        // of a folder
	maxModules  = 8         // within each other
)

// hclFolder are the files of one folder, which are a lab or a module of one.
// Nothing is calculated: what is not written there as it is, is not known here.
type hclFolder struct {
	src       *source
	dir       string
	depth     int
	resources []*hclBlock
	variables map[string]hclsyntax.Expression // their defaults
	outputs   map[string]hclsyntax.Expression
	sources   map[string]hclsyntax.Expression // of modules
	modules   map[string]*hclFolder           // those that were asked for
}

// hclBlock is a resource, or a block in one.
type hclBlock struct {
	*hclsyntax.Body
	folder     *hclFolder
	kind, name string
	file       string
	line       int
}

// readHCL reads the files of a folder.
func readHCL(src *source, dir string, depth int) (*hclFolder, []Note) {
	f := &hclFolder{src: src, dir: dir, depth: depth, variables: map[string]hclsyntax.Expression{}, outputs: map[string]hclsyntax.Expression{},
		sources: map[string]hclsyntax.Expression{}, modules: map[string]*hclFolder{}}
	names, err := fs.Glob(src, path.Join(globSafe(dir), "*.hcl"))
	if err != nil || len(names) > maxHCLFiles {
		return nil, []Note{{File: dir, Text: fmt.Sprintf("has %d files of HCL; at most %d are read", len(names), maxHCLFiles)}}
	}
	var wrong []Note
	for _, name := range names {
		content, err := src.read(name, maxHCL)
		if err != nil {
			wrong = append(wrong, Note{File: name, Text: err.Error()})
			continue
		}
		file, problems := hclsyntax.ParseConfig(content, name, hcl.InitialPos)
		for _, p := range problems {
			note := Note{File: name, Text: "is no HCL: " + strings.TrimSuffix(p.Summary, ".")}
			if p.Subject != nil {
				note.Line = p.Subject.Start.Line
			}
			wrong = append(wrong, note)
		}
		if !problems.HasErrors() {
			f.take(file.Body.(*hclsyntax.Body)) // as ParseConfig promises
		}
	}
	return f, wrong
}

// globSafe makes a folder's name mean itself in a pattern.
func globSafe(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// take sorts the blocks of a file.
func (f *hclFolder) take(body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		value := func(name string) hclsyntax.Expression {
			if a := b.Body.Attributes[name]; a != nil {
				return a.Expr
			}
			return nil
		}
		switch {
		case b.Type == "resource" && len(b.Labels) == 2:
			f.resources = append(f.resources, f.block(b, b.Labels[0], b.Labels[1]))
		case b.Type == "variable" && len(b.Labels) == 1:
			f.variables[b.Labels[0]] = value("default")
		case b.Type == "output" && len(b.Labels) == 1:
			f.outputs[b.Labels[0]] = value("value")
		case b.Type == "module" && len(b.Labels) == 1:
			f.sources[b.Labels[0]] = value("source")
		}
	}
}

func (f *hclFolder) block(b *hclsyntax.Block, kind, name string) *hclBlock {
	at := b.DefRange()
	return &hclBlock{Body: b.Body, folder: f, kind: kind, name: name, file: at.Filename, line: at.Start.Line}
}

// blocks are the blocks of a type in b, by their first label.
func (b *hclBlock) blocks(kind string) []*hclBlock {
	var all []*hclBlock
	for _, inner := range b.Blocks {
		if inner.Type != kind {
			continue
		}
		name := ""
		if len(inner.Labels) > 0 {
			name = inner.Labels[0]
		}
		all = append(all, b.folder.block(inner, kind, name))
	}
	return all
}

// first is the first block of a type; one without anything in it when there is none.
func (b *hclBlock) first(kind string) *hclBlock {
	if all := b.blocks(kind); len(all) > 0 {
		return all[0]
	}
	return &hclBlock{Body: &hclsyntax.Body{}, folder: b.folder, kind: kind, file: b.file, line: b.line}
}

func (b *hclBlock) has(name string) bool { return b.Attributes[name] != nil }

// at is the line of an attribute, or else of the block.
func (b *hclBlock) at(name string) int {
	if a := b.Attributes[name]; a != nil {
		return a.NameRange.Start.Line
	}
	return b.line
}

// text is an attribute as text; empty, and no error, when it is not there.
func (b *hclBlock) text(name string) (string, error) {
	a := b.Attributes[name]
	if a == nil {
		return "", nil
	}
	return b.folder.text(a.Expr)
}

// list are the members of an attribute that is a list.
func (b *hclBlock) list(name string) []hclsyntax.Expression {
	if a := b.Attributes[name]; a != nil {
		if list, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok {
			return list.Exprs
		}
	}
	return nil
}

// texts is an attribute that is a list of texts, or one text.
func (b *hclBlock) texts(name string) ([]string, error) {
	members := b.list(name)
	if a := b.Attributes[name]; a != nil && members == nil {
		if _, empty := a.Expr.(*hclsyntax.TupleConsExpr); !empty {
			members = []hclsyntax.Expression{a.Expr}
		}
	}
	var all []string
	for _, m := range members {
		text, err := b.folder.text(m)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

// hclItem is a member of an object.
type hclItem struct {
	key   string
	value hclsyntax.Expression
}

// items are the members of an attribute that is an object, in their order.
func (b *hclBlock) items(name string) []hclItem {
	a := b.Attributes[name]
	if a == nil {
		return nil
	}
	return b.folder.itemsOf(a.Expr)
}

func (f *hclFolder) itemsOf(e hclsyntax.Expression) []hclItem {
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return nil
	}
	var all []hclItem
	for _, item := range object.Items {
		key := hcl.ExprAsKeyword(item.KeyExpr)
		if key == "" {
			if wrapped, ok := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
				key, _ = f.text(wrapped.Wrapped) // what is calculated is nothing that could be asked for
			}
		}
		all = append(all, hclItem{key, item.ValueExpr})
	}
	return all
}

var errCalculated = errors.New("is calculated when the lab runs, and not known before")

// text is what an expression says that stands there as it is: text, a number,
// a default of a variable, the content of a file, or these behind each other.
func (f *hclFolder) text(e hclsyntax.Expression) (string, error) {
	return f.textWithin(e, maxModules)
}

func (f *hclFolder) textWithin(e hclsyntax.Expression, depth int) (string, error) {
	if depth == 0 {
		return "", errCalculated
	}
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return literal(e)
	case *hclsyntax.TemplateExpr:
		return f.template(e.Parts, depth)
	case *hclsyntax.TemplateWrapExpr:
		return f.textWithin(e.Wrapped, depth-1)
	case *hclsyntax.ParenthesesExpr:
		return f.textWithin(e.Expression, depth-1)
	case *hclsyntax.ScopeTraversalExpr:
		words := wordsOf(e.Traversal)
		if len(words) == 2 && words[0] == "variable" && f.variables[words[1]] != nil {
			return f.textWithin(f.variables[words[1]], depth-1)
		}
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "file" && len(e.Args) == 1 {
			return f.file(e.Args[0], depth)
		}
	}
	return "", errCalculated
}

func literal(e *hclsyntax.LiteralValueExpr) (string, error) {
	switch {
	case e.Val.IsNull() || !e.Val.IsKnown():
		return "", nil
	case e.Val.Type().FriendlyName() == "string":
		return e.Val.AsString(), nil
	case e.Val.Type().FriendlyName() == "number":
		return e.Val.AsBigFloat().Text('f', -1), nil
	case e.Val.Type().FriendlyName() == "bool":
		return strconv.FormatBool(e.Val.True()), nil
	}
	return "", errCalculated
}

func (f *hclFolder) template(parts []hclsyntax.Expression, depth int) (string, error) {
	var b strings.Builder
	for _, part := range parts {
		text, err := f.textWithin(part, depth-1)
		if err != nil {
			return "", err
		}
		if b.WriteString(text); b.Len() > maxPage {
			return "", fmt.Errorf("is more than %d KiB", maxPage>>10)
		}
	}
	return b.String(), nil
}

// file is the content of a file whose name is an argument.
func (f *hclFolder) file(arg hclsyntax.Expression, depth int) (string, error) {
	name, err := f.textWithin(arg, depth-1)
	if err != nil {
		return "", err
	}
	file, err := within(f.dir, name)
	if err != nil {
		return "", fmt.Errorf("the file %q %w", name, err)
	}
	content, err := f.src.read(file, maxScript)
	if err != nil {
		return "", fmt.Errorf("the file %q %w", name, err)
	}
	return scriptText(content)
}

// wordsOf are the names that a reference is made of: resource.task.open.
func wordsOf(t hcl.Traversal) []string {
	var words []string
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			words = append(words, step.Name)
		case hcl.TraverseAttr:
			words = append(words, step.Name)
		case hcl.TraverseIndex:
			if step.Key.Type().FriendlyName() != "string" {
				return nil
			}
			words = append(words, step.Key.AsString())
		}
	}
	return words
}

// refers is the resource that an attribute refers to.
func (b *hclBlock) refers(name string) (*hclBlock, error) {
	if a := b.Attributes[name]; a != nil {
		return b.folder.refers(a.Expr)
	}
	return nil, errMissing
}

// refers is the resource that an expression refers to, here or in what a
// module hands out.
func (f *hclFolder) refers(e hclsyntax.Expression) (*hclBlock, error) {
	const reference, output = 3, 4 // words of resource.KIND.NAME and of module.NAME.output.NAME
	scope, ok := e.(*hclsyntax.ScopeTraversalExpr)
	if !ok {
		return nil, errCalculated
	}
	switch words := wordsOf(scope.Traversal); {
	case len(words) >= reference && words[0] == "resource":
		for _, r := range f.resources {
			if r.kind == words[1] && r.name == words[2] {
				return r, nil
			}
		}
		return nil, fmt.Errorf("%w: %s", errMissing, strings.Join(words[:reference], "."))
	case len(words) >= output && words[0] == "module" && words[2] == "output":
		module, err := f.module(words[1])
		if err != nil {
			return nil, err
		}
		return module.handsOut(words[3], words[output:])
	}
	return nil, errCalculated
}

// module is a module whose source is a folder of what is imported.
func (f *hclFolder) module(name string) (*hclFolder, error) {
	if known := f.modules[name]; known != nil {
		return known, nil
	}
	if f.sources[name] == nil {
		return nil, fmt.Errorf("%w: module.%s", errMissing, name)
	}
	from, err := f.text(f.sources[name])
	switch {
	case err != nil:
		return nil, err
	case !strings.HasPrefix(from, "./") && !strings.HasPrefix(from, "../"):
		return nil, fmt.Errorf("is in the module %s, which comes from %s: only folders beside the lab are read", name, from)
	case f.depth == maxModules:
		return nil, fmt.Errorf("is in the module %s, the last of %d within each other", name, maxModules)
	}
	dir, err := within(f.dir, from)
	if err != nil {
		return nil, fmt.Errorf("is in the module %s, whose folder %w", name, err)
	}
	module, wrong := readHCL(f.src, dir, f.depth+1)
	if len(wrong) > 0 {
		return nil, fmt.Errorf("is in the module %s, which can't be read: %s", name, wrong[0])
	}
	f.modules[name] = module
	return module, nil
}

// handsOut is a resource in one of the module's outputs.
func (f *hclFolder) handsOut(output string, words []string) (*hclBlock, error) {
	value := f.outputs[output]
	for _, word := range words {
		i := slices.IndexFunc(f.itemsOf(value), func(item hclItem) bool { return item.key == word })
		if i < 0 {
			break
		}
		value = f.itemsOf(value)[i].value
	}
	if value == nil {
		return nil, fmt.Errorf("%w: the output %s", errMissing, output)
	}
	return f.refers(value)
}
