package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// breach is a value that breaks one limit of a schema, and what the API server says to it.
type breach struct {
	limit   string
	value   any
	message string
	below   string // what the field is, below that of the node
}

// breaches has one value for every limit there is in the schema.
func breaches(s apiextensionsv1.JSONSchemaProps) []breach {
	all := []breach{{limit: "type", value: wrongType(s.Type), message: "must be of type " + typeName(s)}}
	add := func(limit string, value any, message, below string) {
		all = append(all, breach{limit, value, message, below})
	}
	if s.MaxLength != nil {
		add("maxLength", strings.Repeat("a", int(*s.MaxLength)+1), fmt.Sprintf("may not be more than %d bytes", *s.MaxLength), "")
	}
	if s.MinLength != nil && *s.MinLength > 0 {
		add("minLength", strings.Repeat("a", int(*s.MinLength)-1), fmt.Sprintf("should be at least %d chars long", *s.MinLength), "")
	}
	if s.Pattern != "" {
		add("pattern", "a\nb", fmt.Sprintf("should match '%s'", s.Pattern), "")
	}
	if s.Format == "date-time" {
		add("format", "today", "must be of type date-time", "")
	}
	if len(s.Enum) > 0 {
		add("enum", "Unheard-of", "supported values: ", "")
	}
	if s.Minimum != nil {
		add("minimum", int(*s.Minimum)-1, fmt.Sprintf("should be greater than or equal to %d", int(*s.Minimum)), "")
	}
	if s.Maximum != nil {
		add("maximum", int(*s.Maximum)+1, fmt.Sprintf("should be less than or equal to %d", int(*s.Maximum)), "")
	}
	if s.MaxItems != nil {
		add("maxItems", many(*s.MaxItems+1), fmt.Sprintf("must have at most %d items", *s.MaxItems), "")
	}
	if s.MinItems != nil {
		add("minItems", []any{}, fmt.Sprintf("should have at least %d items", *s.MinItems), "")
	}
	if s.XListType != nil && *s.XListType == "set" {
		add("listType", []any{"twice", "twice"}, "Duplicate value", "[1]")
	}
	if s.MinProperties != nil {
		add("minProperties", map[string]any{}, fmt.Sprintf("should have at least %d properties", *s.MinProperties), "")
	}
	if s.MaxProperties != nil {
		properties := map[string]any{}
		for i := range *s.MaxProperties + 1 {
			properties[fmt.Sprintf("k%d", i)] = "v"
		}
		add("maxProperties", properties, fmt.Sprintf("must have at most %d items", *s.MaxProperties), "")
	}
	for _, name := range s.Required {
		add("required "+name, map[string]any{name: nil}, "Required value", "."+name)
	}
	return all
}

// typeName is what the API server calls the type of a field.
func typeName(s apiextensionsv1.JSONSchemaProps) string {
	if s.Format == "date-time" {
		return s.Format
	}
	return s.Type
}

func wrongType(wanted string) any {
	if wanted == "string" {
		return 7
	}
	return "a string"
}

func many(n int64) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = fmt.Sprintf("a%d", i)
	}
	return list
}

// at is the document in which value is at the path of a node, and what the API server calls the field.
func at(path string, value any) (document any, field string) {
	rest, inMap := strings.CutSuffix(path, "[k]")
	if inMap {
		document, field = at(rest, map[string]any{"k": value})
		return document, field + ".k"
	}
	if rest, inList := strings.CutSuffix(path, "[*]"); inList {
		document, field = at(rest, []any{value})
		return document, field + "[0]"
	}
	if path == "" {
		return value, ""
	}
	dot := strings.LastIndex(path, ".")
	document, field = at(path[:dot], map[string]any{path[dot+1:]: value})
	return document, strings.TrimPrefix(field+path[dot:], ".")
}

// tryPatch sends a merge patch of the object, or of its status, as a dry run.
func tryPatch(t *testing.T, object *unstructured.Unstructured, status bool, document any) error {
	t.Helper()
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	patch := client.RawPatch(types.MergePatchType, data)
	if status {
		return cluster.Status().Patch(t.Context(), object.DeepCopy(), patch, client.DryRunAll)
	}
	return cluster.Patch(t.Context(), object.DeepCopy(), patch, client.DryRunAll)
}

// The limits are the schema's own, so that none can be forgotten here: each is broken by one value.
func TestEveryLimitIsKept(t *testing.T) {
	for _, k := range kinds {
		object := stored(t, k.object(t, "limits", ""))
		for _, n := range k.nodes() {
			if n.path == "" {
				continue
			}
			for _, b := range breaches(n.schema) {
				t.Run(k.name+n.path+" "+b.limit, func(t *testing.T) {
					document, field := at(n.path, b.value)
					all := causes(t, tryPatch(t, object, strings.HasPrefix(n.path, ".status"), document))
					if !hasCause(all, field+b.below, b.message) {
						t.Errorf("%v: want %q at %s, got %v", document, b.message, field+b.below, all)
					}
				})
			}
		}
	}
}
