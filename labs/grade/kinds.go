package grade

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
)

// kindType returns the Go type of a kind of Kubernetes itself, as the version
// of client-go that Drydock is built with knows it (that of the node image),
// or nil for other kinds. Their fields are the API's: the OpenAPI schemas are
// generated from the same types.
func kindType(apiVersion, kind string) reflect.Type {
	var found []schema.GroupVersionKind
	for gvk := range scheme.Scheme.AllKnownTypes() {
		if gvk.Kind == kind && (apiVersion == "" || gvk.GroupVersion().String() == apiVersion) {
			found = append(found, gvk)
		}
	}
	slices.SortFunc(found, func(a, b schema.GroupVersionKind) int {
		return cmp.Or(cmp.Compare(groupRank(a.Group), groupRank(b.Group)), version.CompareKubeAwareVersionStrings(b.Version, a.Version))
	})
	for _, gvk := range found {
		t := scheme.Scheme.AllKnownTypes()[gvk]
		if meta, ok := t.FieldByName("ObjectMeta"); ok && meta.Anonymous {
			return t
		}
	}
	return nil
}

// groupRank orders the groups as the cluster's choice does where the check names none.
func groupRank(group string) int {
	if i := slices.Index(builtIn, group); i >= 0 {
		return i
	}
	return len(builtIn)
}

// knownKinds are all kinds of Kubernetes itself that can be watched.
func knownKinds() []string {
	kinds := sets.New[string]()
	for gvk, t := range scheme.Scheme.AllKnownTypes() {
		if meta, ok := t.FieldByName("ObjectMeta"); ok && meta.Anonymous {
			kinds.Insert(gvk.Kind)
		}
	}
	return sets.List(kinds)
}

// kindTypes is CEL's view of Go types of the Kubernetes API: their fields by
// their names in JSON. It answers the type checker, and remembers what it was
// asked for and does not have; no value is ever made of it.
type kindTypes struct {
	types.Provider
	byName map[string]reflect.Type
	missed []missedField
}

// missedField is a field that was asked for and does not exist.
type missedField struct {
	of    reflect.Type
	field string
	known []string
}

func newKindTypes(base types.Provider) *kindTypes {
	return &kindTypes{Provider: base, byName: map[string]reflect.Type{}}
}

func (k *kindTypes) FindStructType(name string) (*types.Type, bool) {
	if _, ok := k.byName[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return k.Provider.FindStructType(name)
}

func (k *kindTypes) FindStructFieldNames(name string) ([]string, bool) {
	t, ok := k.byName[name]
	if !ok {
		return k.Provider.FindStructFieldNames(name)
	}
	return fieldNames(t), true
}

func (k *kindTypes) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t, ok := k.byName[name]
	if !ok {
		return k.Provider.FindStructFieldType(name, field)
	}
	fields := jsonFields(t)
	if found, ok := fields[field]; ok {
		return &types.FieldType{Type: k.celType(found)}, true
	}
	k.missed = append(k.missed, missedField{t, field, fieldNames(t)})
	return nil, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for name := range jsonFields(t) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// jsonFields are the fields of a struct as they are called in JSON, those of embedded structs among them.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-" || !field.IsExported():
		case name != "":
			fields[name] = field.Type
		case field.Anonymous && field.Type.Kind() == reflect.Struct:
			for inner, of := range jsonFields(field.Type) {
				fields[inner] = of
			}
		}
	}
	return fields
}

var (
	// writtenAsText are structs that stand as text in JSON.
	writtenAsText = []reflect.Type{
		reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](), reflect.TypeFor[metav1.Duration](), reflect.TypeFor[apiresource.Quantity](),
	}
	marshaler = reflect.TypeFor[json.Marshaler]()
)

// celType is the type of a value that was read from JSON.
func (k *kindTypes) celType(t reflect.Type) *types.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case slices.Contains(writtenAsText, t):
		return cel.StringType
	case t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler):
		return cel.DynType // such as a port by number or by name
	}
	switch t.Kind() {
	case reflect.String:
		return cel.StringType
	case reflect.Bool:
		return cel.BoolType
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return cel.IntType
	case reflect.Float32, reflect.Float64:
		return cel.DoubleType
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return cel.StringType // bytes are base64 in JSON
		}
		return cel.ListType(k.celType(t.Elem()))
	case reflect.Map:
		return cel.MapType(cel.StringType, k.celType(t.Elem()))
	case reflect.Struct:
		return k.object(t)
	}
	return cel.DynType
}

// object is the type of a struct, whose fields are looked up when they are asked for.
func (k *kindTypes) object(t reflect.Type) *types.Type {
	name := "drydock." + strings.NewReplacer("/", ".", "-", "_").Replace(t.PkgPath()) + "." + t.Name()
	k.byName[name] = t
	return cel.ObjectType(name)
}

// explain says that a field does not exist, where it was looked for, and which was meant.
func (k *kindTypes) explain(field string) string {
	for _, m := range k.missed {
		if m.field == field {
			return fmt.Sprintf("a %s has no field %q%s", m.of.Name(), field, didYouMeanOr(field, m.known))
		}
	}
	return fmt.Sprintf("there is no field %q", field)
}
