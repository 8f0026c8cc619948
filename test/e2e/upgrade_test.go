//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/types"
)

const operatorNamespace = "mtls-system"

// upgrade installs the operator of the commit before, and then this one over it.
func upgrade() types.Feature {
	feature, s := newFeature("an upgrade", "upgrade")
	return feature.
		WithSetup("operator of the commit before", s.step(func(t *testing.T) {
			must(t, install(t.Context(), filepath.Join(previous, "config", "default"), "mtls-operator/manager:previous"))
			beginBystanding(t)
		})).
		Assess("to this operator works as README says", s.step(func(t *testing.T) {
			must(t, install(t.Context(), manifests("default"), "mtls-operator/manager:dev"))
			s.apply(t, "apiVersion: mtls-operator.io/v1alpha1\nkind: MTLSAuthority\nmetadata: {name: ca}\n---\n"+server("one"))
			s.waitReady(t, "mca/ca", "mcert/one")
		})).
		Assess("re-issues nothing", s.step(wantBystandersUntouched)).
		Feature()
}

// install is what README says, and the wait for its end.
func install(ctx context.Context, folder, image string) error {
	for _, args := range [][]string{
		{"apply", "-k", folder},
		{
			"wait", "--for=condition=Established", "--timeout", soon.String(),
			"crd/mtlsauthorities.mtls-operator.io", "crd/mtlscertificates.mtls-operator.io",
		},
		{"--namespace", operatorNamespace, "rollout", "status", "deployment/mtls-operator", "--timeout", soon.String()},
	} {
		if _, err := tryKubectl(ctx, "", args...); err != nil {
			return err
		}
	}
	runs, err := tryKubectl(ctx, "", "--namespace", operatorNamespace, "get", "deployment", "mtls-operator",
		"--output", "jsonpath={.spec.template.spec.containers[*].image}")
	if err == nil && runs != image {
		err = fmt.Errorf("the operator runs %q, want %q", runs, image)
	}
	return err
}

// server is the YAML of a certificate of authority ca.
func server(name string) string {
	return fmt.Sprintf("apiVersion: mtls-operator.io/v1alpha1\nkind: MTLSCertificate\nmetadata: {name: %s}\n"+
		"spec: {authorityRef: {name: ca}, usages: [Server], dnsNames: [%s]}\n", name, name)
}

// makeServers makes authority ca and certificates server-0, server-1, … of it.
func (s *scene) makeServers(t *testing.T, count int) []string {
	t.Helper()
	yaml := []string{"apiVersion: mtls-operator.io/v1alpha1\nkind: MTLSAuthority\nmetadata: {name: ca}\n"}
	var objects []string
	for i := range count {
		name := fmt.Sprintf("server-%d", i)
		yaml, objects = append(yaml, server(name)), append(objects, "mcert/"+name)
	}
	s.apply(t, strings.Join(yaml, "---\n"))
	s.waitReady(t, append(objects, "mca/ca")...)
	return objects
}
