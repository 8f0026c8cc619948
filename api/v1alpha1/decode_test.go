package v1alpha1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

var codecs = serializer.NewCodecFactory(scheme())

// wire sends bytes as they are and returns those of the API server: a client would read numbers in its own way.
type wire struct{ rest.Interface }

func newWire(t testing.TB) wire {
	t.Helper()
	config := rest.CopyConfig(cluster.config)
	config.NegotiatedSerializer = codecs.WithoutConversion()
	config.GroupVersion = &v1alpha1.GroupVersion
	config.APIPath = "/apis"
	c, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return wire{c}
}

// try is a dry run. accepted is nil when the API server refuses the object as one that cannot be.
func (w wire) try(ctx context.Context, request *rest.Request, document any) (accepted []byte, err error) {
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	accepted, err = request.Namespace(namespace).Param("dryRun", "All").Body(body).Do(ctx).Raw()
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return nil, nil
	}
	return accepted, err
}

func (w wire) create(ctx context.Context, k *kind, object any) ([]byte, error) {
	request := w.Post().Resource(k.plural).SetHeader("Content-Type", "application/json")
	return w.try(ctx, request, object)
}

func (w wire) patchStatus(ctx context.Context, k *kind, name string, status any) ([]byte, error) {
	request := w.Patch("application/merge-patch+json").Resource(k.plural).Name(name).SubResource("status")
	return w.try(ctx, request, map[string]any{"status": status})
}

// decode reads an object as the typed client and its caches do, and checks that the type has a place for every field.
func decode(data []byte) error {
	typed, _, err := codecs.UniversalDeserializer().Decode(data, nil, nil)
	if err != nil {
		return err
	}
	var sent, kept map[string]any
	again, err := runtime.Encode(codecs.LegacyCodec(v1alpha1.GroupVersion), typed)
	if err != nil {
		return err
	}
	for document, into := range map[*[]byte]*map[string]any{&data: &sent, &again: &kept} {
		if err := json.Unmarshal(*document, into); err != nil {
			return err
		}
	}
	if diff := cmp.Diff(withoutEmpty(sent["spec"]), withoutEmpty(kept["spec"])); diff != "" {
		return fmt.Errorf("the type loses of the spec (-sent +kept):\n%s", diff)
	}
	return nil
}

// withoutEmpty leaves out of maps what is there and empty: to Go it is the same as what isn't there.
func withoutEmpty(value any) any {
	switch value := value.(type) {
	case []any:
		if len(value) == 0 {
			return nil
		}
		list := make([]any, len(value))
		for i := range value {
			list[i] = withoutEmpty(value[i])
		}
		return list
	case map[string]any:
		fields := map[string]any{}
		for name := range value {
			if kept := withoutEmpty(value[name]); kept != nil {
				fields[name] = kept
			}
		}
		if len(fields) > 0 {
			return fields
		}
		return nil
	}
	return value
}

// One object that the schema lets through and the type can't read would end the watch of every client, and with it all
// renewals of everybody.
func TestWhateverTheSchemaAcceptsTheTypesCanRead(t *testing.T) {
	w := newWire(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			accepted := 0
			object := stored(t, k.object(t, "decoded", ""))
			rapid.Check(t, func(t *rapid.T) {
				var data []byte
				var err error
				if rapid.IntRange(0, 3).Draw(t, "status") == 0 {
					data, err = w.patchStatus(context.Background(), k, object.GetName(), k.draw(t, "status", map[string]any{}))
				} else {
					var base map[string]any
					if err := yaml.Unmarshal([]byte(k.base), &base); err != nil {
						t.Fatal(err)
					}
					data, err = w.create(context.Background(), k, k.wrap("drawn", k.draw(t, "spec", base)))
				}
				if err != nil {
					t.Fatal(err)
				}
				if data == nil {
					return
				}
				accepted++
				if err := decode(data); err != nil {
					t.Fatalf("accepted, but unreadable: %v\n%s", err, data)
				}
			})
			if accepted < 10 {
				t.Errorf("only %d objects were accepted: the test shows little", accepted)
			}
		})
	}
}

// draw sets one to three fields of the document (spec or status) to values of its schema, or to what is none.
func (k *kind) draw(t *rapid.T, document string, fields map[string]any) map[string]any {
	schema := k.schema.Properties[document]
	names := slices.Sorted(maps.Keys(schema.Properties))
	for range rapid.IntRange(1, 3).Draw(t, "fields") {
		name := rapid.SampledFrom(names).Draw(t, "field")
		fields[name] = drawValue(t, schema.Properties[name], name)
	}
	return fields
}

var (
	oddities = []any{
		nil, true, "", "x", -1, 1.5, json.Number("1.0"), json.Number("1e0"), json.Number("9007199254740993"),
		json.Number("9223372036854775808"), json.Number("1e300"),
		[]any{},
		[]any{nil},
		map[string]any{},
		map[string]any{"x": nil},
	}
	integers = []any{
		0, 1, 2, 8, -1, json.Number("1.0"), json.Number("1e0"), json.Number("8.0"), json.Number("2147483648"),
		json.Number("9223372036854775807"), json.Number("9223372036854775808"), json.Number("0.5"),
	}
	texts = []string{
		"a", "a", "hello.example.com", "*.example.com", "10.0.0.1", "fd00::1", "10.0.0.0/8", "spiffe://example.com/ns/a/sa/b", "a@b",
		"24h", "1h30m", "999999h999999m999999s", "99999999h", "90d", "1.5h", "-1h", "1h1h", "2 days", "{namespace}", "system:x",
		"ü", "\u2028", "\u0000", "\U0010ffff", strings.Repeat("a", 64), strings.Repeat("f", 52) + "aaaaaaaaaaaa", "null", "{}",
	}
	times = []string{
		"2026-01-02T03:04:05Z", "2026-01-02T03:04:05+01:00", "2026-01-02T03:04:05.999999999Z", "2026-01-02T03:04:05", "2026-01-02",
		"2026-01-02t03:04:05z", "2026-01-02 03:04:05Z", "2016-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "99999-01-01T00:00:00Z",
		"2026-02-30T00:00:00Z", "2026-01-02T03:04:05,5Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:05+25:00", "2026-01-02T03:04Z",
		"",
	}
)

// drawValue follows the schema mostly, so that much is accepted.
func drawValue(t *rapid.T, s apiextensionsv1.JSONSchemaProps, label string) any {
	if rapid.IntRange(0, 15).Draw(t, label+" is odd") == 0 {
		return rapid.SampledFrom(oddities).Draw(t, label)
	}
	switch {
	case len(s.Enum) > 0:
		return rapid.SampledFrom(s.Enum).Draw(t, label)
	case s.Format == "date-time":
		return rapid.SampledFrom(times).Draw(t, label)
	case s.Type == "integer":
		return rapid.SampledFrom(integers).Draw(t, label)
	case s.Type == "array":
		list := []any{}
		for range rapid.IntRange(0, 2).Draw(t, label+" length") {
			list = append(list, drawValue(t, *s.Items.Schema, label))
		}
		return list
	case s.Type == "object":
		return drawObject(t, s, label)
	}
	return rapid.SampledFrom(texts).Draw(t, label)
}

func drawObject(t *rapid.T, s apiextensionsv1.JSONSchemaProps, label string) map[string]any {
	object := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(s.Required, name) || rapid.Bool().Draw(t, name+" is there") {
			object[name] = drawValue(t, s.Properties[name], name)
		}
	}
	if s.AdditionalProperties != nil {
		for range rapid.IntRange(0, 2).Draw(t, label+" size") {
			key := rapid.SampledFrom([]string{"a", "a/b", "example.com/team", "x y", "", "mtls-operator.io/x"}).Draw(t, "key")
			object[key] = drawValue(t, *s.AdditionalProperties.Schema, label)
		}
	}
	return object
}

// Values that stopped caches of other operators, each in a place that has its type, whether they are accepted or not.
func TestNastyValuesAreRefusedOrReadable(t *testing.T) {
	w := newWire(t)
	for _, k := range kinds {
		object := stored(t, k.object(t, "nasty", ""))
		for _, n := range k.nodes() {
			for _, value := range nasty(n.schema) {
				document, field := at(n.path, value)
				if field == "" || field == "spec" || field == "status" {
					continue
				}
				fields, _ := document.(map[string]any)
				var data []byte
				var err error
				if status, found := fields["status"]; found {
					data, err = w.patchStatus(t.Context(), k, object.GetName(), status)
				} else {
					spec := k.object(t, "nasty-value", "").Object["spec"].(map[string]any)
					maps.Copy(spec, fields["spec"].(map[string]any))
					data, err = w.create(t.Context(), k, k.wrap("nasty-value", spec))
				}
				if err == nil && data != nil {
					err = decode(data)
				}
				if err != nil {
					t.Errorf("%s %s: %v: %v", k.name, field, value, err)
				}
			}
		}
	}
}

// nasty are the values for the type of the schema.
func nasty(s apiextensionsv1.JSONSchemaProps) []any {
	all := slices.Clone(oddities)
	switch {
	case s.Type == "integer":
		all = append(all, integers...)
	case s.Type == "string" && s.Format == "":
		for _, text := range texts {
			all = append(all, text)
		}
	case s.Type == "string":
		for _, text := range times {
			all = append(all, text)
		}
	}
	return all
}

func TestAStoredObjectOfEachKindIsListedByTheTypedClient(t *testing.T) {
	for _, k := range kinds {
		stored(t, k.object(t, "listed", ""))
	}
	for _, list := range []client.ObjectList{&v1alpha1.MTLSAuthorityList{}, &v1alpha1.MTLSCertificateList{}} {
		if err := cluster.List(t.Context(), list); err != nil {
			t.Error(err)
		}
	}
	for _, k := range kinds {
		var status int
		request := newWire(t).Get().Namespace(namespace).Resource(k.plural).Name("listed").Do(t.Context()).StatusCode(&status)
		if request.Error() != nil || status != http.StatusOK {
			t.Errorf("%s: %d %v", k.name, status, request.Error())
		}
	}
}
