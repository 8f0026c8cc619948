package v1alpha1_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

func enum(t *testing.T, schema apiextensionsv1.JSONSchemaProps) []string {
	t.Helper()
	var values []string
	for _, raw := range schema.Enum {
		var value string
		if err := json.Unmarshal(raw.Raw, &value); err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
	}
	return values
}

func words[T ~string](values []T) []string {
	var all []string
	for _, value := range values {
		all = append(all, string(value))
	}
	return all
}

// An algorithm is one row of a table in internal/pki and one word in the schema.
func TestTheWordsOfTheSchemaAreThoseOfTheTables(t *testing.T) {
	want := map[string][]string{
		".spec.privateKey.type":     words(pki.KeyTypes()),
		".spec.privateKey.encoding": words([]pki.KeyEncoding{pki.EncodingPKCS8, pki.EncodingPKCS1}),
		".spec.usages[*]":           words([]pki.Usage{pki.UsageServer, pki.UsageClient}),
	}
	found := 0
	for _, k := range kinds {
		for _, n := range k.nodes() {
			if table, known := want[n.path]; known {
				found++
				if diff := cmp.Diff(table, enum(t, n.schema)); diff != "" {
					t.Errorf("%s%s (-table +schema):\n%s", k.name, n.path, diff)
				}
			}
		}
	}
	if found != 4 { // privateKey.type is in both kinds
		t.Errorf("%d fields found, want 4", found)
	}
}

// Without a status, tools that follow kstatus take an object that the operator has never seen for a finished one.
func TestANewObjectSaysThatNobodyHasSeenIt(t *testing.T) {
	for _, k := range kinds {
		object := stored(t, k.object(t, "new", ""))
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"observedGeneration": int64(-1)}, object.Object["status"]); diff != "" {
			t.Errorf("%s: status (-want +got):\n%s", k.name, diff)
		}
	}
}

// Whoever may make an object may not speak for the operator.
func TestAStatusThatComesWithANewObjectIsDropped(t *testing.T) {
	for _, k := range kinds {
		object := k.object(t, "new", "")
		object.Object["status"] = map[string]any{"observedGeneration": int64(1), "expires": "2026-01-02T03:04:05Z"}
		if err := cluster.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"observedGeneration": int64(-1)}, object.Object["status"]); diff != "" {
			t.Errorf("%s: status (-want +got):\n%s", k.name, diff)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := &v1alpha1.MTLSCertificate{Spec: v1alpha1.MTLSCertificateSpec{
		AuthorityRef: v1alpha1.AuthorityRef{Name: "ca"},
		Usages:       []v1alpha1.Usage{v1alpha1.UsageClient},
		CommonName:   "my-client",
	}}
	want := c.Spec
	want.Duration = "2160h"
	want.PrivateKey = v1alpha1.PrivateKey{
		Type: v1alpha1.KeyTypeDefault, RotationPolicy: v1alpha1.RotationAlways, Encoding: v1alpha1.EncodingPKCS8,
	}
	want.Reload = v1alpha1.ReloadWatch
	want.DeletionPolicy = v1alpha1.DeletionDelete
	c.Namespace, c.Name = namespace, "defaults"
	if err := cluster.Create(t.Context(), c, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c.Spec); diff != "" {
		t.Errorf("certificate (-want +got):\n%s", diff)
	}

	// Fields of own authorities have no defaults: they would be refused with imported.
	a := &v1alpha1.MTLSAuthority{Spec: v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "a"}}}
	wantAuthority := a.Spec
	a.Namespace, a.Name = namespace, "defaults"
	if err := cluster.Create(t.Context(), a, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantAuthority, a.Spec); diff != "" {
		t.Errorf("authority (-want +got):\n%s", diff)
	}
}
