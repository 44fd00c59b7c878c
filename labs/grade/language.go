package grade

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"k8s.io/apimachinery/pkg/util/version"
	apicel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// subject names the CEL variable that a check's collector fills.
type subject string

const (
	nothing       subject = "" // of a check made of parts, which looks at nothing itself
	oneObject     subject = "object"
	manyObjects   subject = "objects"
	response      subject = "response"
	connection    subject = "connection"
	lookup        subject = "lookup"
	result        subject = "result"
	fileSeen      subject = "file"
	podLogs       subject = "logs"
	clusterEvents subject = "events"
	requestsMade  subject = "audit"
	measured      subject = "bench"
)

// The other CEL variables that every check has.
const (
	baselineName = "baseline"
	varsName     = "vars"
)

// celVersion is the Kubernetes version whose CEL libraries conditions are
// written in: that of the node image. An expression that is right for an
// admission policy there means the same here.
var celVersion = version.MajorMinor(1, 37)

// maxExpression bounds the text of one condition. The longest useful ones are
// a few hundred characters; the reasons are built from every part of it.
const maxExpression = 4096

// fieldsOf is what conditions can say of what was seen, and of an element of a
// list of it; an unknown field is found when compiling.
var fieldsOf = map[subject]map[string]*apicel.DeclType{
	response: {
		"code": apicel.IntType, "body": apicel.StringType, "seconds": apicel.DoubleType, "error": apicel.StringType,
		"headers": apicel.NewMapType(apicel.StringType, apicel.StringType, -1), "json": apicel.DynType,
	},
	connection: {
		"open": apicel.BoolType, "received": apicel.StringType, "seconds": apicel.DoubleType, "error": apicel.StringType,
	},
	lookup: {
		"code": apicel.StringType, "name": apicel.StringType, "records": apicel.NewListType(apicel.StringType, -1),
		"seconds": apicel.DoubleType, "error": apicel.StringType,
	},
	result: {"code": apicel.IntType, "stdout": apicel.StringType, "stderr": apicel.StringType},
	fileSeen: {
		"exists": apicel.BoolType, "kind": apicel.StringType, "size": apicel.IntType, "mode": apicel.StringType, "owner": apicel.StringType,
		"group": apicel.StringType, "modified": apicel.StringType, "text": apicel.StringType, "sha256": apicel.StringType,
		"target": apicel.StringType, "error": apicel.StringType,
	},
	measured: {
		"correct": apicel.BoolType, "wrong": apicel.StringType, "ratio": apicel.DoubleType, "low": apicel.DoubleType, "high": apicel.DoubleType,
		"rounds": apicel.IntType,
	},
	podLogs: {"pod": apicel.StringType, "text": apicel.StringType},
	clusterEvents: {
		"type": apicel.StringType, "reason": apicel.StringType, "message": apicel.StringType, "kind": apicel.StringType, "name": apicel.StringType,
		"from": apicel.StringType, "count": apicel.IntType, "first": apicel.StringType, "last": apicel.StringType,
	},
	requestsMade: {
		"at": apicel.StringType, "does": apicel.StringType, "verb": apicel.StringType, "group": apicel.StringType, "resource": apicel.StringType,
		"sub": apicel.StringType, "namespace": apicel.StringType, "name": apicel.StringType, "by": apicel.StringType, "code": apicel.IntType,
		"body": apicel.StringType,
	},
}

// subjects are all that conditions can see.
var subjects = []subject{oneObject, manyObjects, response, connection, lookup, result, fileSeen, podLogs, clusterEvents, requestsMade, measured}

// language is CEL as the checks with one kind of subject speak it.
type language struct {
	env     *cel.Env
	subject subject
	fields  map[string]*apicel.DeclType // of the subject, when it has declared ones
	kinds   *kindTypes                  // of the objects, when their type is known
}

func newLanguage(s subject) (*language, error) { return newTypedLanguage(s, nil) }

// newTypedLanguage is for objects of a known type. Conditions are checked in
// it and then run in that without: what the cluster really sends may have
// fields that the type does not.
func newTypedLanguage(s subject, kind reflect.Type) (*language, error) {
	l := &language{subject: s}
	typ := cel.DynType
	var decls []*apicel.DeclType
	var options []cel.EnvOption
	object := cel.DynType
	if kind != nil {
		options = append(options, func(e *cel.Env) (*cel.Env, error) {
			l.kinds = newKindTypes(e.CELTypeProvider())
			l.kinds.object(kind)
			return cel.CustomTypeProvider(l.kinds)(e)
		})
		object = newKindTypes(nil).object(kind)
	}
	switch s {
	case oneObject:
		typ = object
	case manyObjects:
		typ = cel.ListType(object)
	case response, connection, lookup, result, fileSeen, measured:
		l.fields = fieldsOf[s]
		decl := declare("drydock."+string(s), l.fields)
		decls, typ = append(decls, decl), decl.CelType()
	case podLogs, clusterEvents, requestsMade:
		l.fields = fieldsOf[s]
		decl := declare("drydock."+string(s), l.fields)
		decls, typ = append(decls, decl), cel.ListType(decl.CelType())
	}
	options = append(options,
		cel.EnableMacroCallTracking(), // for reasons: they tell all() from exists()
		cel.Variable(varsName, cel.MapType(cel.StringType, cel.StringType)))
	if s != nothing {
		options = append(options, cel.Variable(string(s), typ), cel.Variable(baselineName, typ))
	}
	set, err := environment.MustBaseEnvSet(celVersion).Extend(environment.VersionedOptions{
		IntroducedVersion: celVersion,
		DeclTypes:         decls,
		EnvOptions:        options,
	})
	if err != nil {
		return nil, fmt.Errorf("set up CEL for %s: %w", s, err)
	}
	l.env = set.StoredExpressionsEnv()
	return l, nil
}

func declare(name string, fields map[string]*apicel.DeclType) *apicel.DeclType {
	declared := make(map[string]*apicel.DeclField, len(fields))
	for field, typ := range fields {
		declared[field] = apicel.NewDeclField(field, typ, false, nil, nil)
	}
	return apicel.NewObjectType(name, declared)
}

// expression is one compiled piece of CEL.
type expression struct {
	text string
	ast  *celast.AST
	prog cel.Program
	lang *language
}

// compile type-checks and plans text; its problems are in words for authors.
func (l *language) compile(text string) (*expression, []string) {
	if len(text) > maxExpression {
		return nil, []string{fmt.Sprintf("the expression is %d characters long; at most %d are allowed", len(text), maxExpression)}
	}
	checked, issues := l.env.Compile(text)
	if issues.Err() != nil {
		var problems []string
		for _, e := range issues.Errors() {
			msg := l.explainIssue(e.Message)
			problems = append(problems, fmt.Sprintf("%s (at character %d of %q)", msg, e.Location.Column()+1, excerpt(text)))
		}
		return nil, problems
	}
	return l.plan(checked.NativeRep(), checked.NativeRep().Expr())
}

// compileCondition is compile for what must be true or false.
func (l *language) compileCondition(text string) (*expression, []string) {
	e, problems := l.compile(text)
	if problems != nil {
		return nil, problems
	}
	typ := e.ast.GetType(e.ast.Expr().ID())
	if !typ.IsExactType(cel.BoolType) && !typ.IsExactType(cel.DynType) {
		return nil, []string{fmt.Sprintf("%q gives a value of type %s; a condition must be true or false", excerpt(text), typ)}
	}
	return e, nil
}

// plan makes the part of a checked expression below root a program of its own.
func (l *language) plan(whole *celast.AST, root celast.Expr) (*expression, []string) {
	part := celast.NewCheckedAST(celast.NewAST(root, whole.SourceInfo()), whole.TypeMap(), whole.ReferenceMap())
	prog, err := l.env.PlanProgram(part)
	if err != nil {
		return nil, []string{err.Error()}
	}
	text, err := cel.ExprToString(root, whole.SourceInfo())
	if err != nil {
		text = "the condition"
	}
	return &expression{text: text, ast: part, prog: prog, lang: l}, nil
}

// mentions reports whether the expression uses the variable.
func (e *expression) mentions(variable string) bool {
	found := false
	visit(e.ast.Expr(), func(x celast.Expr) {
		found = found || x.Kind() == celast.IdentKind && x.AsIdent() == variable
	})
	return found
}

// mentionsField reports whether the expression uses variable.field. An
// expression that uses the variable as a whole may use any field of it.
func (e *expression) mentionsField(variable, field string) bool {
	whole, selected, found := 0, 0, false
	visit(e.ast.Expr(), func(x celast.Expr) {
		switch {
		case x.Kind() == celast.IdentKind && x.AsIdent() == variable:
			whole++
		case isSelectOf(x, variable):
			selected++
			found = found || x.AsSelect().FieldName() == field
		}
	})
	return found || whole > selected
}

// keysOf returns the names used as variable.name and variable["name"].
func (e *expression) keysOf(variable string) []string {
	var keys []string
	visit(e.ast.Expr(), func(x celast.Expr) {
		if isSelectOf(x, variable) {
			keys = append(keys, x.AsSelect().FieldName())
		}
		if x.Kind() != celast.CallKind || x.AsCall().FunctionName() != "_[_]" {
			return
		}
		of, key := x.AsCall().Args()[0], x.AsCall().Args()[1]
		if of.Kind() == celast.IdentKind && of.AsIdent() == variable && key.Kind() == celast.LiteralKind {
			if name, ok := key.AsLiteral().Value().(string); ok {
				keys = append(keys, name)
			}
		}
	})
	return keys
}

func visit(root celast.Expr, see func(celast.Expr)) {
	celast.PostOrderVisit(root, celast.NewExprVisitor(see))
}

func isSelectOf(x celast.Expr, variable string) bool {
	if x.Kind() != celast.SelectKind {
		return false
	}
	of := x.AsSelect().Operand()
	return of.Kind() == celast.IdentKind && of.AsIdent() == variable
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)' \(in container ''\)$`)
	undefined  = regexp.MustCompile(`^undefined field '([^']*)'$`)
	// expecting is the parser's list of all that could have stood there.
	expecting = regexp.MustCompile(` expecting \{.*\}$`)
	operator  = regexp.MustCompile(`'_?([^'_]+)_'`)
	ownType   = regexp.MustCompile(`drydock\.(?:[a-z0-9_]+\.)*([A-Za-z0-9]+)`)
)

// explainIssue puts CEL's message into our words where the author can be told
// more than CEL knows.
func (l *language) explainIssue(msg string) string {
	if m := undeclared.FindStringSubmatch(msg); m != nil {
		if slices.Contains(subjects, subject(m[1])) {
			if l.subject == nothing {
				return fmt.Sprintf("there is no %q here: the parts of the check look, and not the check itself", m[1])
			}
			return fmt.Sprintf("there is no %q in this check; what it sees is %q", m[1], l.subject)
		}
		return fmt.Sprintf("unknown name %q%s", m[1], didYouMean(m[1], l.names()))
	}
	if m := undefined.FindStringSubmatch(msg); m != nil && l.kinds != nil {
		return l.kinds.explain(m[1])
	}
	if m := undefined.FindStringSubmatch(msg); m != nil {
		known := make([]string, 0, len(l.fields))
		for field := range l.fields {
			known = append(known, field)
		}
		slices.Sort(known)
		return fmt.Sprintf("%s has no field %q%s", l.subject, m[1], didYouMeanOr(m[1], known))
	}
	msg = strings.ReplaceAll(expecting.ReplaceAllString(msg, ""), "'<EOF>'", "the end")
	return ownType.ReplaceAllString(operator.ReplaceAllString(msg, "'$1'"), "$1")
}

// names returns all that an expression can call or mention.
func (l *language) names() []string {
	names := []string{string(l.subject), baselineName, varsName}
	for name := range l.env.Functions() {
		if !strings.ContainsAny(name, "_@!-<>=") {
			names = append(names, name)
		}
	}
	for _, m := range l.env.Macros() {
		names = append(names, m.Function())
	}
	slices.Sort(names)
	return slices.Compact(names)
}
