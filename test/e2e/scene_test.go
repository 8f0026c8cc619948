//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/klient/wait"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// soon is the deadline for what should take seconds. It is long because the machines that run this are busy.
const soon = 2 * time.Minute

// scene is a namespace, under the restricted Pod Security Standard, in which a feature plays.
type scene struct {
	namespace string
	failed    bool
}

// newFeature returns a feature that plays in a namespace of its own.
func newFeature(name, namespace string) (*features.FeatureBuilder, *scene) {
	s := &scene{namespace: namespace}
	return features.New(name).WithSetup("namespace", s.step(func(t *testing.T) {
		createNamespace(t, namespace)
		deleteNamespaceAtTheEnd(t, namespace)
	})), s
}

// createNamespace waits for one of a run before to be gone.
func createNamespace(t *testing.T, name string) {
	t.Helper()
	await(t, "namespace "+name, soon, func(ctx context.Context) error {
		return cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
		}})
	})
}

// deleteNamespaceAtTheEnd of the feature, also when it fails.
func deleteNamespaceAtTheEnd(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, err := tryKubectl(ctx, "", "delete", "namespace", name, "--ignore-not-found", "--wait=false"); err != nil {
			t.Error(err)
		}
	})
}

// step is f for e2e-framework. It is left out when a step before it failed: what it builds on isn't there.
func (s *scene) step(f func(t *testing.T)) features.Func {
	return func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		if s.failed {
			t.Skip("a step before failed")
		}
		defer func() { s.failed = t.Failed() }()
		f(t)
		return ctx
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kubectl runs kubectl against the cluster as a user would and returns what it printed. Input, if any, is its stdin.
func kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	output, err := tryKubectl(t.Context(), input, args...)
	must(t, err)
	return output
}

// tryKubectl is kubectl that may fail: the error says what kubectl said.
func tryKubectl(ctx context.Context, input string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "kubectl", append([]string{"--context", inCluster}, args...)...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// kubectl is kubectl in the namespace of the scene.
func (s *scene) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return kubectl(t, "", append([]string{"--namespace", s.namespace}, args...)...)
}

// apply applies YAML in the namespace of the scene.
func (s *scene) apply(t *testing.T, yaml string) {
	t.Helper()
	kubectl(t, yaml, "--namespace", s.namespace, "apply", "-f", "-")
}

// waitReady waits until objects, such as "mca/my-ca", are Ready.
func (s *scene) waitReady(t *testing.T, objects ...string) {
	t.Helper()
	s.kubectl(t, append([]string{"wait", "--for=condition=Ready", "--timeout", soon.String()}, objects...)...)
}

// await asks until there is no error, or fails with the last one.
func await(t *testing.T, what string, limit time.Duration, ask func(ctx context.Context) error) {
	t.Helper()
	if err := tryAwait(t.Context(), limit, ask); err != nil {
		t.Fatalf("%s: not within %s: %v", what, limit, err)
	}
}

// tryAwait is await that may fail.
func tryAwait(ctx context.Context, limit time.Duration, ask func(ctx context.Context) error) error {
	var last error
	err := wait.For(func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		if last == nil || ctx.Err() == nil { // at the end of time, what was wrong before it says more
			last = err
		}
		return err == nil, nil
	}, wait.WithContext(ctx), wait.WithTimeout(limit), wait.WithInterval(200*time.Millisecond), wait.WithImmediate())
	if err != nil {
		return errors.Join(last, err)
	}
	return nil
}

func (s *scene) name(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: s.namespace, Name: name}
}

func (s *scene) certificate(t *testing.T, name string) *v1alpha1.MTLSCertificate {
	t.Helper()
	certificate := &v1alpha1.MTLSCertificate{}
	must(t, cluster.Get(t.Context(), s.name(name), certificate))
	return certificate
}

func (s *scene) secret(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	must(t, cluster.Get(t.Context(), s.name(name), secret))
	return secret
}

// serial of the certificate that status tells of.
func (s *scene) serial(t *testing.T, certificate string) string {
	t.Helper()
	issued := s.certificate(t, certificate).Status.Certificate
	if issued == nil {
		t.Fatalf("MTLSCertificate %s has none yet", certificate)
	}
	return issued.SerialNumber
}

// awaitCondition waits for a condition of an MTLSAuthority or MTLSCertificate with that status and reason.
func (s *scene) awaitCondition(t *testing.T, object client.Object, name, condition string, status metav1.ConditionStatus,
	reason string,
) *metav1.Condition {
	t.Helper()
	var found *metav1.Condition
	await(t, fmt.Sprintf("%s of %s being %s, %s", condition, name, status, reason), soon, func(ctx context.Context) error {
		if err := cluster.Get(ctx, s.name(name), object); err != nil {
			return err
		}
		found = meta.FindStatusCondition(conditionsOf(object), condition)
		if found == nil || found.Status != status || found.Reason != reason {
			return fmt.Errorf("it is %+v", found)
		}
		return nil
	})
	return found
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch object := object.(type) {
	case *v1alpha1.MTLSAuthority:
		return object.Status.Conditions
	case *v1alpha1.MTLSCertificate:
		return object.Status.Conditions
	}
	return nil
}

// renew asks for a renewal and returns the serial number of the new certificate.
func (s *scene) renew(t *testing.T, certificate string) string {
	t.Helper()
	before := s.serial(t, certificate)
	s.kubectl(t, "annotate", "--overwrite", "mcert", certificate,
		v1alpha1.RenewRequestedAtAnnotation+"="+time.Now().Format(time.RFC3339Nano))
	return s.awaitSerialOtherThan(t, certificate, before)
}

func (s *scene) awaitSerialOtherThan(t *testing.T, certificate, before string) string {
	t.Helper()
	var after string
	await(t, "a new certificate "+certificate, soon, func(ctx context.Context) error {
		found := &v1alpha1.MTLSCertificate{}
		if err := cluster.Get(ctx, s.name(certificate), found); err != nil {
			return err
		}
		if after = found.Status.Certificate.SerialNumber; after == before {
			return fmt.Errorf("it still has serial number %s", before)
		}
		return nil
	})
	return after
}
