package grade

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"

	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"google.golang.org/protobuf/types/known/structpb"
)

// variables are the values of CEL's variables.
type variables map[string]any

// explainer says, in words, why a part of a condition is not true. It is
// called only when that part is not.
type explainer interface {
	explain(v variables) string
}

// maxAlternatives bounds how many sides of an `||` are told of.
const maxAlternatives = 3

// reasons builds the explainers of one condition.
type reasons struct {
	whole *expression
	kind  string // of the objects looked at; empty when they are none
}

func newExplainer(e *expression, kind string) explainer {
	return reasons{whole: e, kind: kind}.of(e.ast.Expr())
}

func (r reasons) part(x celast.Expr) *expression {
	e, problems := r.whole.lang.plan(r.whole.ast, x)
	if problems != nil {
		// What was planned as a whole can be planned in parts; should it ever
		// not be so, the whole is what is told of.
		return r.whole
	}
	return e
}

func (r reasons) of(x celast.Expr) explainer {
	switch x.Kind() {
	case celast.CallKind:
		return r.ofCall(x)
	case celast.SelectKind:
		if x.AsSelect().IsTestOnly() {
			return unset{r.text(x.AsSelect().Operand()) + "." + x.AsSelect().FieldName()}
		}
	case celast.ComprehensionKind:
		if e := r.ofComprehension(x); e != nil {
			return e
		}
	case celast.LiteralKind:
		return never{r.text(x)}
	}
	return comparison{left: r.part(x), wanted: "true"}
}

func (r reasons) text(x celast.Expr) string { return r.part(x).text }

func (r reasons) ofCall(x celast.Expr) explainer {
	call := x.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return allOf(r.each(flatten(x, operators.LogicalAnd)))
	case operators.LogicalOr:
		return anyOf(r.each(flatten(x, operators.LogicalOr)))
	case operators.Conditional:
		return choice{r.part(args[0]), r.of(args[1]), r.of(args[2])}
	case operators.LogicalNot:
		return r.negation(args[0])
	}
	if words, ok := comparisonWords[call.FunctionName()]; ok {
		return r.comparison(call.FunctionName(), args[0], args[1], words)
	}
	if words, ok := stringTests[call.FunctionName()]; ok && call.IsMemberFunction() && len(args) == 1 {
		return comparison{left: r.part(call.Target()), wanted: words, right: r.part(args[0])}
	}
	return comparison{left: r.part(x), wanted: "true"}
}

func (r reasons) each(parts []celast.Expr) []checkedPart {
	out := make([]checkedPart, len(parts))
	for i, p := range parts {
		out[i] = checkedPart{r.part(p), r.of(p)}
	}
	return out
}

// flatten returns the operands of a chain such as a && b && c in order.
func flatten(x celast.Expr, operator string) []celast.Expr {
	if x.Kind() != celast.CallKind || x.AsCall().FunctionName() != operator {
		return []celast.Expr{x}
	}
	var parts []celast.Expr
	for _, arg := range x.AsCall().Args() {
		parts = append(parts, flatten(arg, operator)...)
	}
	return parts
}

// comparisonWords say what was wanted of the left side; "" is equality.
var comparisonWords = map[string]string{
	operators.Equals: "", operators.NotEquals: "anything but ", operators.Less: "less than ", operators.LessEquals: "at most ",
	operators.Greater: "more than ", operators.GreaterEquals: "at least ", operators.In: "one of ",
}

var stringTests = map[string]string{
	"startsWith": "something that starts with ", "endsWith": "something that ends with ",
	"contains": "something that contains ", "matches": "something that matches ",
}

// mirrored are the comparisons that mean the same with the sides exchanged.
var mirrored = map[string]string{
	operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals, operators.Less: operators.Greater,
	operators.LessEquals: operators.GreaterEquals, operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals,
}

// opposite are the comparisons that hold when the other does not.
var opposite = map[string]string{
	operators.Equals: operators.NotEquals, operators.NotEquals: operators.Equals, operators.Less: operators.GreaterEquals,
	operators.GreaterEquals: operators.Less, operators.Greater: operators.LessEquals, operators.LessEquals: operators.Greater,
}

func (r reasons) comparison(op string, left, right celast.Expr, words string) explainer {
	if turned, ok := mirrored[op]; ok && left.Kind() == celast.LiteralKind && right.Kind() != celast.LiteralKind {
		left, right, words = right, left, comparisonWords[turned]
	}
	return comparison{left: r.part(left), wanted: words, right: r.part(right)}
}

func (r reasons) negation(x celast.Expr) explainer {
	switch x.Kind() {
	case celast.SelectKind:
		if x.AsSelect().IsTestOnly() {
			return set{r.text(x.AsSelect().Operand()) + "." + x.AsSelect().FieldName()}
		}
		return comparison{left: r.part(x), wanted: "false"}
	case celast.CallKind:
		call := x.AsCall()
		if call.FunctionName() == operators.LogicalNot {
			return r.of(call.Args()[0])
		}
		if op, ok := opposite[call.FunctionName()]; ok {
			return r.comparison(op, call.Args()[0], call.Args()[1], comparisonWords[op])
		}
		if words, ok := stringTests[call.FunctionName()]; ok && call.IsMemberFunction() && len(call.Args()) == 1 {
			return comparison{left: r.part(call.Target()), wanted: strings.Replace(words, "something that", "nothing that", 1), right: r.part(call.Args()[0])}
		}
	}
	return comparison{left: r.part(x), wanted: "false"}
}

// ofComprehension explains list.all(x, …) by the first element that does not
// fit, and list.exists(x, …) by there being none.
func (r reasons) ofComprehension(x celast.Expr) explainer {
	c := x.AsComprehension()
	macro, ok := r.whole.ast.SourceInfo().GetMacroCall(x.ID())
	if !ok || c.HasIterVar2() || c.LoopStep().Kind() != celast.CallKind || len(c.LoopStep().AsCall().Args()) != 2 {
		return nil
	}
	predicate := c.LoopStep().AsCall().Args()[1]
	of := elements{list: r.part(c.IterRange()), variable: c.IterVar(), each: r.part(predicate), why: r.of(predicate), kind: r.kind}
	switch macro.AsCall().FunctionName() {
	case "all":
		return everyElement{of}
	case "exists":
		return someElement{of}
	}
	return nil
}

// checkedPart is one operand of && or ||.
type checkedPart struct {
	*expression
	why explainer
}

// holds reports whether the part is true.
func (e *expression) holds(v variables) bool {
	out, _, err := e.prog.Eval(map[string]any(v))
	return err == nil && out == types.True
}

type allOf []checkedPart

func (a allOf) explain(v variables) string {
	for _, p := range a {
		if !p.holds(v) {
			return p.why.explain(v)
		}
	}
	return "the condition does not hold"
}

type anyOf []checkedPart

func (a anyOf) explain(v variables) string {
	var all []string
	for _, p := range a[:min(len(a), maxAlternatives)] {
		all = append(all, p.why.explain(v))
	}
	return strings.Join(all, "; and ")
}

type choice struct {
	condition *expression
	yes, no   explainer
}

func (c choice) explain(v variables) string {
	if c.condition.holds(v) {
		return c.yes.explain(v)
	}
	return c.no.explain(v)
}

type unset struct{ path string }

func (u unset) explain(variables) string { return u.path + " is not set" }

type set struct{ path string }

func (s set) explain(variables) string { return s.path + " is set, and should not be" }

type never struct{ text string }

func (n never) explain(variables) string { return "the condition is " + n.text }

// comparison tells what the left side is, and what was wanted of it.
type comparison struct {
	left   *expression
	wanted string
	right  *expression // nil when wanted says it all
}

func (c comparison) explain(v variables) string {
	wanted := c.wanted
	if c.right != nil {
		wanted += c.right.show(v)
		if !c.right.constant() {
			wanted += " (" + excerpt(c.right.text) + ")"
		}
	}
	return fmt.Sprintf("%s is %s, wanted %s", excerpt(c.left.text), c.left.show(v), wanted)
}

// constant reports whether the expression has the same value always.
func (e *expression) constant() bool {
	variable := false
	visit(e.ast.Expr(), func(x celast.Expr) { variable = variable || x.Kind() == celast.IdentKind })
	return !variable
}

// elements is what a macro over a list goes through.
type elements struct {
	list     *expression
	variable string
	each     *expression
	why      explainer
	kind     string
}

// with returns v with the macro's variable bound to one element.
func (e elements) with(v variables, element ref.Val) variables {
	inner := maps.Clone(v)
	inner[e.variable] = element
	return inner
}

func (e elements) all(v variables) ([]ref.Val, bool) {
	out, _, err := e.list.prog.Eval(map[string]any(v))
	if err != nil {
		return nil, false
	}
	list, ok := out.(traits.Lister)
	if !ok {
		return nil, false
	}
	var all []ref.Val
	for it := list.Iterator(); it.HasNext() == types.True; {
		all = append(all, it.Next())
	}
	return all, true
}

func (e elements) unreadable(v variables) string {
	return fmt.Sprintf("%s is %s, wanted a list", excerpt(e.list.text), e.list.show(v))
}

func (e elements) none() string {
	if e.kind != "" && e.list.text == string(manyObjects) {
		return "there is no " + e.kind
	}
	return excerpt(e.list.text) + " is empty"
}

type everyElement struct{ elements }

func (e everyElement) explain(v variables) string {
	all, ok := e.all(v)
	if !ok {
		return e.unreadable(v)
	}
	for _, element := range all {
		if inner := e.with(v, element); !e.each.holds(inner) {
			return e.name(element) + ": " + e.why.explain(inner)
		}
	}
	return "the condition does not hold"
}

// name says which element it is.
func (e elements) name(element ref.Val) string {
	object, _ := element.Value().(map[string]any)
	meta, _ := object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if name == "" {
		name, _ = object["name"].(string) // containers, ports, volumes
	}
	if name == "" {
		return show(element)
	}
	if namespace, _ := meta["namespace"].(string); namespace != "" {
		name = namespace + "/" + name
	}
	if e.kind != "" && e.list.text == string(manyObjects) {
		return e.kind + " " + name
	}
	return name
}

type someElement struct{ elements }

func (s someElement) explain(v variables) string {
	all, ok := s.all(v)
	switch {
	case !ok:
		return s.unreadable(v)
	case len(all) == 0:
		return s.none()
	case len(all) == 1:
		return s.name(all[0]) + ": " + s.why.explain(s.with(v, all[0]))
	}
	return fmt.Sprintf("none of %d fits: %s", len(all), excerpt(s.each.text))
}

// notSet is shown in place of a value that is not there.
const notSet = "not set"

// show evaluates the expression and puts its value into words.
func (e *expression) show(v variables) string {
	out, _, err := e.prog.Eval(map[string]any(v))
	if err == nil {
		return show(out)
	}
	if strings.HasPrefix(err.Error(), "no such key") || strings.Contains(err.Error(), "no such attribute") {
		return notSet
	}
	return "not to be had (" + excerpt(err.Error()) + ")"
}

// show puts a value into words: short, on one line.
func show(v ref.Val) string {
	switch value := v.(type) {
	case types.String:
		return strconv.Quote(shorten(string(value), maxShown))
	case types.Double:
		return strconv.FormatFloat(math.Round(float64(value)*1000)/1000, 'f', -1, 64)
	case types.Null:
		return notSet
	case *types.Optional:
		if !value.HasValue() {
			return notSet
		}
		return show(value.GetValue())
	}
	if text, ok := v.ConvertToType(types.StringType).(types.String); ok {
		return shorten(string(text), maxShown)
	}
	native, err := v.ConvertToNative(reflect.TypeFor[*structpb.Value]())
	if err != nil {
		return "a " + v.Type().TypeName()
	}
	text, err := json.Marshal(native.(*structpb.Value).AsInterface())
	if err != nil {
		return "a " + v.Type().TypeName()
	}
	return shorten(string(text), maxShown)
}
