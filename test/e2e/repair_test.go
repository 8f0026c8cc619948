//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// repair is what people do to Secrets, objects and namespaces, by mistake or not.
func repair() types.Feature {
	feature, s := newFeature("repair", "repair")
	tenant := &scene{namespace: "repair-tenant"}
	return feature.
		WithSetup("certificates", s.step(func(t *testing.T) { s.makeServers(t, 4) })).
		Assess("a deleted Secret is made again", s.step(s.deletedSecret)).
		Assess("an edited Secret is put right", s.step(s.editedSecret)).
		Assess("a foreign Secret in its place is left alone", s.step(s.foreignSecret)).
		Assess("an authority in use stays, foreground deletion or not", s.step(s.deletedAuthority)).
		Assess("a namespace goes though others use its authority", s.step(func(t *testing.T) { s.deletedNamespace(t, tenant) })).
		Assess("applying the manifests again re-issues nothing", s.step(func(t *testing.T) {
			kubectl(t, "", "apply", "-k", manifests("default"))
			kubectl(t, "", "apply", "--server-side", "--force-conflicts", "-k", manifests("crd"))
			s.waitReady(t, "mcert/server-1")
			wantBystandersUntouched(t)
		})).
		Feature()
}

func (s *scene) deletedSecret(t *testing.T) {
	before := s.serial(t, "server-0")
	s.kubectl(t, "delete", "secret", "server-0")
	s.awaitSerialOtherThan(t, "server-0", before)
	s.waitReady(t, "mcert/server-0")
}

func (s *scene) editedSecret(t *testing.T) {
	before := s.secret(t, "server-1")
	s.kubectl(t, "label", "secret", "server-1", v1alpha1.GenerationLabel+"-")
	await(t, "the label being put back", soon, func(ctx context.Context) error {
		secret := &corev1.Secret{}
		if err := cluster.Get(ctx, s.name("server-1"), secret); err != nil {
			return err
		}
		if secret.Labels[v1alpha1.GenerationLabel] == "" {
			return errors.New("it isn't there")
		}
		return nil
	})
	if after := s.secret(t, "server-1"); !bytes.Equal(after.Data["tls.crt"], before.Data["tls.crt"]) {
		t.Error("a lost label is no reason to issue anew")
	}
	serial := s.serial(t, "server-1")
	s.kubectl(t, "patch", "secret", "server-1", "--type=merge", "--patch", `{"data":{"tls.crt":"bm9uc2Vuc2U="}}`)
	s.awaitSerialOtherThan(t, "server-1", serial)
	s.waitReady(t, "mcert/server-1")
}

// foreignSecret replaces a Secret before the operator can make its own again: which of the two is first is a race that
// is tried until it is won.
func (s *scene) foreignSecret(t *testing.T) {
	foreign := func() *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "server-2"},
			StringData: map[string]string{"theirs": "untouched"},
		}
	}
	await(t, "a foreign Secret in the place of server-2", soon, func(ctx context.Context) error {
		if err := client.IgnoreNotFound(cluster.Delete(ctx, foreign())); err != nil {
			return err
		}
		return cluster.Create(ctx, foreign())
	})
	s.awaitCondition(t, &v1alpha1.MTLSCertificate{}, "server-2", v1alpha1.ConditionReady, metav1.ConditionFalse,
		v1alpha1.ReasonSecretConflict)
	if secret := s.secret(t, "server-2"); len(secret.Data) != 1 || len(secret.Labels)+len(secret.Annotations) > 0 {
		t.Errorf("the foreign Secret was changed: %v %v", secret.Labels, secret.Annotations)
	}
	s.kubectl(t, "delete", "secret", "server-2")
	s.waitReady(t, "mcert/server-2")
}

func (s *scene) deletedAuthority(t *testing.T) {
	for _, cascade := range []string{"background", "foreground"} {
		s.kubectl(t, "delete", "mca", "ca", "--cascade="+cascade, "--wait=false")
		s.awaitCondition(t, &v1alpha1.MTLSAuthority{}, "ca", v1alpha1.ConditionStalled, metav1.ConditionTrue,
			v1alpha1.ReasonInUse)
		s.renew(t, "server-3")
	}
	if secret := s.secret(t, "ca-ca-1"); len(secret.Data["tls.key"]) == 0 || secret.DeletionTimestamp != nil {
		t.Errorf("the CA's Secret is going: deleted at %s, %d bytes of key", secret.DeletionTimestamp, len(secret.Data["tls.key"]))
	}
	s.kubectl(t, "delete", "mcert", "--all", "--timeout", soon.String())
	s.kubectl(t, "wait", "--for=delete", "mca/ca", "secret/ca-ca-1", "--timeout", soon.String())
	s.makeServers(t, 2)
}

// deletedNamespace has the authority's namespace deleted while another one uses it.
func (s *scene) deletedNamespace(t *testing.T, tenant *scene) {
	owner := &scene{namespace: "repair-owner"}
	for _, namespace := range []string{owner.namespace, tenant.namespace} {
		createNamespace(t, namespace)
		deleteNamespaceAtTheEnd(t, namespace)
	}
	owner.apply(t, "apiVersion: mtls-operator.io/v1alpha1\nkind: MTLSAuthority\nmetadata: {name: shared}\n"+
		"spec: {allowedNamespaces: {from: All}}")
	tenant.apply(t, "apiVersion: mtls-operator.io/v1alpha1\nkind: MTLSCertificate\nmetadata: {name: guest}\n"+
		"spec: {authorityRef: {name: shared, namespace: repair-owner}, usages: [Server], dnsNames: [a.repair-tenant.svc]}")
	tenant.waitReady(t, "mcert/guest")
	before := tenant.issued(t)

	kubectl(t, "", "delete", "namespace", owner.namespace, "--timeout", soon.String())
	tenant.awaitCondition(t, &v1alpha1.MTLSCertificate{}, "guest", v1alpha1.ConditionReady, metav1.ConditionFalse,
		v1alpha1.ReasonAuthorityNotPermitted)
	if now := tenant.issued(t); now["guest"] != before["guest"] {
		t.Error("the Secret of the guest didn't stay")
	}
}
