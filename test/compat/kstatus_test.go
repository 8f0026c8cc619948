package compat

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// newStatus is what the schema says of an object that nobody has seen yet.
func newStatus(t *testing.T, plural string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "mtls-operator.io_"+plural+".yaml"))
	check(t, err)
	var crd map[string]any
	check(t, yaml.Unmarshal(data, &crd))
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	check(t, err)
	version, _ := versions[0].(map[string]any)
	value, found, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema", "properties", "status", "default")
	check(t, err)
	if !found {
		t.Fatalf("%s have no default status", plural)
	}
	generation, _ := value["observedGeneration"].(float64)
	value["observedGeneration"] = int64(generation)
	return value
}

func conditions(ready, stalled string) []any {
	return []any{
		map[string]any{"type": "Ready", "status": ready, "reason": "Any", "message": "any"},
		map[string]any{"type": "Stalled", "status": stalled, "reason": "Any", "message": "any"},
	}
}

// Helm, Flux and kpt wait for what kstatus calls Current, and give up at what it calls Failed.
func TestKstatusIsToldTheTruth(t *testing.T) {
	for sentence, c := range map[string]struct {
		observed   int64 // 0: the default of the schema
		conditions []any
		want       status.Status
	}{
		"nobody has seen a new object":        {0, nil, status.InProgressStatus},
		"ready":                               {2, conditions("True", "False"), status.CurrentStatus},
		"ready before it was changed":         {1, conditions("True", "False"), status.InProgressStatus},
		"waits for something":                 {2, conditions("False", "False"), status.InProgressStatus},
		"nothing happens until a person acts": {2, conditions("False", "True"), status.FailedStatus},
	} {
		for kind, plural := range map[string]string{"MTLSAuthority": "mtlsauthorities", "MTLSCertificate": "mtlscertificates"} {
			t.Run(kind+" "+sentence, func(t *testing.T) {
				value := newStatus(t, plural)
				if c.observed > 0 {
					value = map[string]any{"observedGeneration": c.observed, "conditions": c.conditions}
				}
				result, err := status.Compute(&unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "mtls-operator.io/v1alpha1", "kind": kind,
					"metadata": map[string]any{"name": "a", "namespace": "b", "generation": int64(2)},
					"status":   value,
				}})
				check(t, err)
				if result.Status != c.want {
					t.Errorf("kstatus says %s (%s), want %s", result.Status, result.Message, c.want)
				}
			})
		}
	}
}
