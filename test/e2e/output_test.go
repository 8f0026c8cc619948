//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// shortly is for what should be there already, but for an event on its way.
const shortly = 20 * time.Second

// output is what kubectl shows of objects in every state, kept in testdata/output and read there by people.
func output() types.Feature {
	feature, s := newFeature("output", "output")
	platform, full := &scene{namespace: "output-platform"}, &scene{namespace: "output-full"}
	return feature.
		Assess("objects come to every state", s.step(func(t *testing.T) { s.bringAbout(t, platform, full) })).
		Assess("states are shown", s.step(s.statesAreShown)).
		Assess("mistakes are explained", s.step(s.mistakesAreExplained)).
		WithTeardown("namespaces", func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			kubectl(t, "", "delete", "namespace", platform.namespace, full.namespace, "--ignore-not-found", "--wait=false")
			return ctx
		}).
		Feature()
}

// bringAbout makes the objects and waits until each says what it is named after.
func (s *scene) bringAbout(t *testing.T, platform, full *scene) {
	createNamespace(t, platform.namespace)
	createNamespace(t, full.namespace)
	kubectl(t, "", "apply", "-f", "testdata/output_secrets.yaml")
	await(t, "quota", soon, func(ctx context.Context) error {
		quota := &corev1.ResourceQuota{}
		if err := cluster.Get(ctx, full.name("no-secrets"), quota); err != nil || len(quota.Status.Hard) > 0 {
			return err
		}
		return errors.New("it isn't in force")
	})
	s.createPair(t, "my-pair")
	kubectl(t, "", "apply", "-f", "testdata/output_authorities.yaml")
	s.waitReady(t, "mca/my-ca", "mca/imported", "mca/short-lived", "mca/in-use", "mca/rotating", "mca/blocked", "mca/lost")
	platform.waitReady(t, "mca/shared", "mca/closed")
	kubectl(t, "", "apply", "-f", "testdata/output_certificates.yaml")
	s.waitReady(t, "mcert/server", "mcert/client", "mcert/renewed", "mcert/from-shared", "mcert/of-in-use", "mcert/of-lost",
		"mcert/of-rotating", "mcert/of-blocked")
	platform.waitReady(t, "mcert/of-in-use")
	s.disturb(t)
	s.awaitStates(t, full)
}

// createPair makes a CA as README says everybody did once.
func (s *scene) createPair(t *testing.T, secret string) {
	t.Helper()
	folder := t.TempDir()
	certificate, key := filepath.Join(folder, "ca.crt"), filepath.Join(folder, "ca.key")
	command := exec.CommandContext(t.Context(), "openssl", "req", "-new", "-x509", "-nodes", "-days", "365",
		"-subj", "/CN=my-ca", "-keyout", key, "-out", certificate)
	if code, says := run(t, command); code != 0 {
		t.Fatal(says)
	}
	s.kubectl(t, "create", "secret", "tls", secret, "--cert", certificate, "--key", key)
}

// disturb does to objects that are Ready what people do.
func (s *scene) disturb(t *testing.T) {
	s.renew(t, "renewed")
	s.kubectl(t, "delete", "mca", "in-use", "--wait=false")
	s.kubectl(t, "patch", "mca", "rotating", "--type=merge", "--patch", `{"spec":{"privateKey":{"type":"RSA2048"}}}`)
	s.kubectl(t, "patch", "mca", "blocked", "--type=merge", "--patch",
		`{"spec":{"nameConstraints":{"excluded":{"dnsDomains":["old.example.com"]}}}}`)
	// The finalizer first: with it the Secret would only be marked, which is another state.
	s.kubectl(t, "patch", "secret", "lost-ca-1", "--type=merge", "--patch", `{"metadata":{"finalizers":null}}`)
	s.kubectl(t, "delete", "secret", "lost-ca-1")
}

// awaitStates waits for what disturb and the manifests bring about.
func (s *scene) awaitStates(t *testing.T, full *scene) {
	isNot := func(s *scene, object client.Object, states map[string]string) {
		for name, reason := range states {
			s.awaitCondition(t, object, name, v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
		}
	}
	isNot(s, &v1alpha1.MTLSCertificate{}, map[string]string{
		"authority-not-found":     v1alpha1.ReasonAuthorityNotFound,
		"authority-not-permitted": v1alpha1.ReasonAuthorityNotPermitted,
		"authority-not-ready":     v1alpha1.ReasonAuthorityNotReady,
		"authority-expiring":      v1alpha1.ReasonAuthorityExpiring,
		"denied-name":             v1alpha1.ReasonDenied,
		"denied-duration":         v1alpha1.ReasonDenied,
		"name-constraint":         v1alpha1.ReasonNameConstraintViolation,
		"secret-conflict":         v1alpha1.ReasonSecretConflict,
		"invalid-spec":            v1alpha1.ReasonInvalidSpec,
		"of-lost":                 v1alpha1.ReasonAuthorityNotReady,
	})
	isNot(s, &v1alpha1.MTLSAuthority{}, map[string]string{
		"secret-not-found": v1alpha1.ReasonImportedSecretNotFound,
		"not-a-ca":         v1alpha1.ReasonImportedInvalid,
		"lost":             v1alpha1.ReasonCALost,
		"crowded":          v1alpha1.ReasonCASecretConflict,
		"invalid-spec":     v1alpha1.ReasonInvalidSpec,
	})
	isNot(full, &v1alpha1.MTLSCertificate{}, map[string]string{"rejected": v1alpha1.ReasonSecretRejected})
	isNot(full, &v1alpha1.MTLSAuthority{}, map[string]string{"rejected": v1alpha1.ReasonCASecretRejected})
	authority, isStalled := &v1alpha1.MTLSAuthority{}, v1alpha1.ConditionStalled
	s.awaitCondition(t, authority, "in-use", isStalled, metav1.ConditionTrue, v1alpha1.ReasonInUse)
	s.awaitStage(t, "rotating", v1alpha1.StageDistributing)
	s.awaitStage(t, "blocked", v1alpha1.StageDistributing)
}

func (s *scene) statesAreShown(t *testing.T) {
	for _, c := range []shown{
		{file: "get", command: "get mtls"},
		{file: "get-authorities-wide", command: "get mca -o wide"},
		{file: "get-certificates-wide", command: "get mcert -o wide"},
		{file: "get-events", command: "get events"},
		{file: "get-full", command: "get mtls,events -n output-full"},
		{file: "certificate-server", command: "describe mcert server"},
		{file: "certificate-client", command: "describe mcert client"},
		{file: "certificate-renewed", command: "describe mcert renewed"},
		{file: "certificate-from-shared", command: "describe mcert from-shared"},
		{file: "certificate-authority-not-found", command: "describe mcert authority-not-found"},
		{file: "certificate-authority-not-permitted", command: "describe mcert authority-not-permitted"},
		{file: "certificate-authority-not-ready", command: "describe mcert authority-not-ready"},
		{file: "certificate-authority-expiring", command: "describe mcert authority-expiring"},
		{file: "certificate-denied-name", command: "describe mcert denied-name"},
		{file: "certificate-denied-duration", command: "describe mcert denied-duration"},
		{file: "certificate-name-constraint", command: "describe mcert name-constraint"},
		{file: "certificate-secret-conflict", command: "describe mcert secret-conflict"},
		{file: "certificate-secret-rejected", command: "describe mcert rejected -n output-full"},
		{file: "certificate-invalid-spec", command: "describe mcert invalid-spec"},
		{file: "certificate-of-lost", command: "describe mcert of-lost"},
		{file: "authority", command: "describe mca my-ca"},
		{file: "authority-imported", command: "describe mca imported"},
		{file: "authority-secret-not-found", command: "describe mca secret-not-found"},
		{file: "authority-not-a-ca", command: "describe mca not-a-ca"},
		{file: "authority-in-use", command: "describe mca in-use"},
		{file: "authority-rotating", command: "describe mca rotating"},
		{file: "authority-blocked", command: "describe mca blocked"},
		{file: "authority-lost", command: "describe mca lost"},
		{file: "authority-crowded", command: "describe mca crowded"},
		{file: "authority-rejected", command: "describe mca rejected -n output-full"},
		{file: "authority-invalid-spec", command: "describe mca invalid-spec"},
		{file: "wait", command: "wait --for=condition=Ready mca/my-ca mcert/server mcert/client"},
		{file: "wait-timeout", command: "wait --for=condition=Ready --timeout=1s mcert/denied-name"},
		{file: "wait-stalled", command: "wait --for=condition=Stalled mcert/denied-name"},
		{file: "explain-authority", command: "explain mca.spec"},
		{file: "explain-certificate", command: "explain mcert.spec"},
	} {
		t.Run(c.file, func(t *testing.T) { s.wantShown(t, c) })
	}
}

// certificateOf is an MTLSCertificate with that spec.
func certificateOf(spec string) string {
	return "apiVersion: mtls-operator.io/v1alpha1\nkind: MTLSCertificate\nmetadata: {name: web}\nspec:" + spec
}

func (s *scene) mistakesAreExplained(t *testing.T) {
	for _, c := range []shown{
		{file: "apply-defaults", command: "create --dry-run=server -o yaml -f -", input: certificateOf(`
  authorityRef: {name: my-ca}
  usages: [Server]
  serviceName: web`)},
		{file: "apply-without-names", command: "apply -f -", input: certificateOf(`
  authorityRef: {name: my-ca}
  usages: [Server]`)},
		{file: "apply-bad-durations", command: "apply -f -", input: certificateOf(`
  authorityRef: {name: my-ca}
  usages: [Server]
  serviceName: web
  duration: 90d
  renewBefore: 10s`)},
		{file: "apply-bad-names", command: "apply -f -", input: certificateOf(`
  authorityRef: {name: my-ca}
  usages: [Server]
  dnsNames: [Web.example.com, 10.0.0.1]
  ipAddresses: [10.0.0.0/8]
  uris: [web]`)},
		{file: "apply-bad-usage", command: "apply -f -", input: certificateOf(`
  authorityRef: {name: my-ca}
  usages: [server]
  serviceName: web`)},
		{file: "apply-name-of-a-ca", command: "apply -f -", input: certificateOf(`
  authorityRef: {name: my-ca}
  usages: [Server]
  serviceName: web
  secretName: web-ca-1`)},
		{file: "apply-unknown-field", command: "apply -f -", input: certificateOf(`
  issuerRef: {name: my-ca}
  usages: [Server]
  dnsName: web`)},
		{file: "apply-another-secret", command: "apply -f -", input: `
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSCertificate
metadata: {name: client}
spec: {authorityRef: {name: my-ca}, usages: [Client], commonName: my-client, secretName: another}`},
		{file: "apply-two-kinds-of-authority", command: "apply -f -", input: `
apiVersion: mtls-operator.io/v1alpha1
kind: MTLSAuthority
metadata: {name: web}
spec: {selfSigned: {}, imported: {secretName: pair}, duration: 10m}`},
	} {
		t.Run(c.file, func(t *testing.T) { s.wantShown(t, c) })
	}
}
