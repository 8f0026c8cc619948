//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/types"
)

const retained = `
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSCertificate
metadata: {name: retained}
spec: {authorityRef: {name: ca}, usages: [Server], dnsNames: [retained], deletionPolicy: Retain}
`

// uninstall does what README says and looks for what is left of us anywhere in the cluster.
func uninstall() types.Feature {
	feature, s := newFeature("uninstalling", "uninstall")
	return feature.
		WithSetup("certificates", s.step(func(t *testing.T) {
			s.makeServers(t, 2)
			s.apply(t, retained)
			s.waitReady(t, "mcert/retained")
		})).
		Assess("finds what nobody touched as it was", s.step(wantBystandersUntouched)).
		Assess("finds an operator that was never forbidden anything", s.step(wantNothingForbidden)).
		Assess("works as README says", s.step(func(t *testing.T) {
			kubectl(t, "", "delete", "mcert,mca", "--all", "--all-namespaces", "--timeout", soon.String())
			kubectl(t, "", "delete", "-k", manifests("default"), "--timeout", soon.String())
		})).
		Assess("leaves what README says it leaves", s.step(func(t *testing.T) { s.wantNothingLeftBut(t, "retained") })).
		WithTeardown("bystander", s.step(func(t *testing.T) {
			kubectl(t, "", "delete", "namespace", bystander.namespace, "--wait=false")
		})).
		Feature()
}

// wantNothingLeftBut checks every kind of object that the API server knows for traces of the operator.
func (s *scene) wantNothingLeftBut(t *testing.T, secret string) {
	t.Helper()
	await(t, "nothing being left", soon, func(ctx context.Context) error {
		left, err := traces(ctx)
		if want := "secrets " + s.namespace + "/" + secret; err == nil && !slices.Equal(left, []string{want}) {
			err = fmt.Errorf("there is %q, want only %q", left, want)
		}
		return err
	})
	left := s.secret(t, secret)
	if len(left.Finalizers) > 0 || len(left.OwnerReferences) > 0 {
		t.Errorf("nobody can let the Secret go: finalizers %v, owners %v", left.Finalizers, left.OwnerReferences)
	}
	if issued := bystander.issued(t); len(issued) > 0 {
		t.Errorf("%d Secrets are left in namespace %s", len(issued), bystander.namespace)
	}
}

// traces of the operator: objects that are named after it or speak of its API group.
func traces(ctx context.Context) ([]string, error) {
	kinds, err := tryKubectl(ctx, "", "api-resources", "--verbs=list", "--output=name")
	if err != nil {
		return nil, err
	}
	var found []string
	for kind := range strings.FieldsSeq(kinds) {
		if strings.HasPrefix(kind, "events") {
			continue // the API server drops them after an hour
		}
		list, err := tryKubectl(ctx, "", "get", kind, "--all-namespaces", "--output",
			`go-template={{range .items}}{{.metadata.namespace}}/{{.metadata.name}} {{printf "%q" .}}{{"\n"}}{{end}}`)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(list) {
			name, _, _ := strings.Cut(line, " ")
			if strings.Contains(name, "mtls-operator") || strings.Contains(name, operatorNamespace) ||
				strings.Contains(line, "mtls-operator.io") {
				found = append(found, kind+" "+name)
			}
		}
	}
	return found, nil
}
