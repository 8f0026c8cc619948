package controllers

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// deleteAuthority as a person does. Its pass isn't made.
func (w *world) deleteAuthority(authority *v1alpha1.MTLSAuthority) {
	w.t.Helper()
	w.check(w.admin.Delete(w.ctx, authority))
	w.seesDeletion(authority)
}

// wantGone checks that an authority went, and its CA with it.
func (w *world) wantGone(authority *v1alpha1.MTLSAuthority) {
	w.t.Helper()
	err := w.admin.Get(w.ctx, keyOf(authority), authority)
	if client.IgnoreNotFound(err) != nil || err == nil {
		w.t.Fatalf("the authority is still there, with finalizers %q; error: %v", authority.Finalizers, err)
	}
	secrets := &corev1.SecretList{}
	w.check(w.admin.List(w.ctx, secrets, client.InNamespace(authority.Namespace),
		client.MatchingLabels{v1alpha1.AuthorityLabel: authority.Name}))
	if len(secrets.Items) > 0 {
		w.t.Errorf("the authority went and left Secret %q", secrets.Items[0].Name)
	}
}

func TestAnAuthorityThatNobodyRefersToGoesWithItsCA(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	w.deleteAuthority(authority)
	w.requests.reset()
	w.reconcileAuthority(authority)
	w.wantGone(authority)
	w.wantWrites("DELETE secrets", "PATCH secrets", "PATCH mtlsauthorities")
}

func TestAnAuthorityInUseGoesOnUntilNobodyRefersToIt(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca", forAll)
	var users []*v1alpha1.MTLSCertificate
	for i := range 7 {
		users = append(users, w.issued(fmt.Sprintf("user-%d", i)))
	}
	other := w.newNamespace("", nil)
	for i := range 2 {
		users = append(users, w.issued(fmt.Sprintf("tenant-%d", i), func(c *v1alpha1.MTLSCertificate) {
			c.Namespace, c.Spec.AuthorityRef.Namespace = other, w.namespace
			c.Spec.DNSNames = []string{"web." + other + ".svc"}
		}))
	}
	w.told.take()
	w.deleteAuthority(authority)
	w.reconcileAuthority(authority)
	message := `"user-0", "user-1", "user-2", "user-3", "user-4", 2 more in this namespace, 2 in other namespaces|renewing`
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	w.wantCondition(authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonInUse, message)
	w.wantOneEvent("Warning "+v1alpha1.ReasonInUse, message)
	w.wantNoWrites(func() { w.reconcileAuthority(authority) })

	before := w.soundLeaf("user-6")
	w.renewalDue(users[6])
	w.reconcileCertificate(users[6])
	if after := w.soundLeaf("user-6"); after.Equal(before) || !bytes.Equal(after.RawIssuer, before.RawIssuer) {
		t.Error("an authority that is held doesn't renew")
	}

	w.authority("another")
	for i, user := range users {
		w.reconcileAuthority(authority)
		w.wantCondition(authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonInUse, "")
		if i == 0 { // a certificate leaves by referring to another authority, too
			edit(w, user, func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "another" })
			continue
		}
		w.removeCertificate(user)
	}
	w.reconcileAuthority(authority)
	w.wantGone(authority)
}

func TestWhatDoesNotHoldAnAuthority(t *testing.T) {
	for what, holds := range map[string]func(*world, *v1alpha1.MTLSAuthority){
		"a certificate that it doesn't permit": func(w *world, _ *v1alpha1.MTLSAuthority) {
			other := w.newNamespace("", nil)
			w.certificate("web", func(c *v1alpha1.MTLSCertificate) {
				c.Namespace, c.Spec.AuthorityRef.Namespace = other, w.namespace
			})
		},
		"a certificate that it permits no longer": func(w *world, authority *v1alpha1.MTLSAuthority) {
			edit(w, authority, forAll)
			other := w.newNamespace("", nil)
			w.issued("web", func(c *v1alpha1.MTLSCertificate) {
				c.Namespace, c.Spec.AuthorityRef.Namespace = other, w.namespace
				c.Spec.DNSNames = []string{"web." + other}
			})
			edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Spec.AllowedNamespaces = nil })
		},
		"a certificate of an authority of the same name elsewhere": func(w *world, _ *v1alpha1.MTLSAuthority) {
			w.certificate("web", func(c *v1alpha1.MTLSCertificate) {
				c.Namespace = w.newNamespace("", nil)
			})
		},
		"a certificate that is being deleted": func(w *world, _ *v1alpha1.MTLSAuthority) {
			certificate := w.issued("web", func(c *v1alpha1.MTLSCertificate) { c.Finalizers = []string{"example.com/slow"} })
			w.check(w.client.Delete(w.ctx, certificate))
			w.t.Cleanup(func() {
				patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
				_ = w.admin.Patch(w.t.Context(), certificate, patch)
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			authority := w.authority("my-ca")
			holds(w, authority)
			w.deleteAuthority(authority)
			w.reconcileAuthority(authority)
			w.wantGone(authority)
		})
	}
}

func TestACertificateMadeAfterTheDeletionDoesNotHoldAnAuthority(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	user := w.issued("user")
	w.deleteAuthority(authority)
	w.check(w.admin.Get(w.ctx, keyOf(authority), authority))
	late := w.certificateMadeAfter(authority, "late", func(*v1alpha1.MTLSCertificate) {})
	w.wantReady(late, "False", v1alpha1.ReasonAuthorityNotReady, "it is being deleted")
	w.wantNoSecret("late")
	w.reconcileAuthority(authority)
	w.wantCondition(authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonInUse, `("user" in this namespace)`)
	w.removeCertificate(user)
	w.reconcileAuthority(authority)
	w.wantGone(authority)
}

func TestANamespaceThatIsDeletedIsNotHeld(t *testing.T) {
	w := newWorld(t)
	elsewhere := w.newNamespace("", nil)
	authority := w.authority("my-ca", forAll, func(a *v1alpha1.MTLSAuthority) { a.Namespace = elsewhere })
	user := w.issued("web", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.AuthorityRef.Namespace, c.Spec.DNSNames = elsewhere, []string{"web." + w.namespace + ".svc"}
	})
	before := w.secret("web")
	w.check(w.admin.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: elsewhere}}))
	w.deleteAuthority(authority) // the namespace controller does
	w.reconcileAuthority(authority)
	w.wantGone(authority)

	w.eventually("the cache sees that the authority is gone", func() bool {
		return w.client.Get(w.ctx, keyOf(authority), &v1alpha1.MTLSAuthority{}) != nil
	})
	w.reconcileCertificate(user)
	w.wantReady(user, "False", v1alpha1.ReasonAuthorityNotPermitted, elsewhere+"|keeps its certificate, valid until")
	w.wantUntouched(before)
}

func TestDeletingTheSecretOfACAIsARequestAndNotItsEnd(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	w.check(w.client.Delete(w.ctx, w.secret("my-ca-ca-1")))
	w.reconcileAuthority(authority)
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	w.wantCondition(authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "nobody needs to act")
	rotation := authority.Status.Rotation
	if rotation.Stage != v1alpha1.StageDistributing || rotation.Reason != v1alpha1.CauseDeleted {
		t.Errorf("the rotation is %+v, want one because of the deletion", rotation)
	}
	for range 2 { // a process that has the key, and one that doesn't
		w.issued("web")
		w.soundLeaf("web")
		w.removeSecret("web")
		w.removeCertificate(&v1alpha1.MTLSCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"}})
		w.restart()
	}
	w.deleteAuthority(authority)
	w.reconcileAuthority(authority)
	w.wantGone(authority)
}

func TestALostCAIsReplacedAndIsUsedAgainWhenItsSecretIsRestored(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	web := w.issued("web")
	leaf, backup := w.secret("web"), w.secret("my-ca-ca-1")
	w.loseGeneration("my-ca-ca-1")
	for _, process := range []string{"the same", "a new one"} {
		w.reconcileAuthority(authority)
		w.wantReady(authority, "False", v1alpha1.ReasonCALost, "the CA's key is gone|kubectl apply")
		w.wantCondition(authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "goes on by itself")
		all := authority.Status.Generations
		if len(all) != 2 || all[0].Role != v1alpha1.RoleRetiring || all[1].Role != v1alpha1.RoleNext {
			t.Errorf("process %s tells of %v", process, all)
		}
		w.renewalDue(web)
		w.reconcileCertificate(web)
		w.wantReady(web, "False", v1alpha1.ReasonAuthorityNotReady, "apply it|keeps its certificate")
		w.wantOnlyChanged(leaf, "ca.crt")
		w.reconcileAuthority(authority) // sees who has the roots
		w.wantNoWrites(func() { w.reconcileAuthority(authority); w.reconcileCertificate(web) })
		w.restart()
	}
	w.editSecret("my-ca-ca-1", func(s *corev1.Secret) { // as kubectl apply does
		s.Data, s.Annotations, s.Immutable = backup.Data, backup.Annotations, backup.Immutable
	})
	w.reconcileAuthority(authority)
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	w.wantCondition(authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
	w.reconcileCertificate(web) // it was due all the time
	w.wantReady(web, "True", v1alpha1.ReasonIssued, "")
	issuer, err := pki.ParseIssuer(backup.Data["tls.crt"], nil)
	w.check(err)
	if !issuer.Issued(w.soundLeaf("web")) {
		t.Error("the restored CA didn't sign the renewed certificate")
	}
}

func TestTheLabelsOfACAArePutBack(t *testing.T) {
	for _, label := range []string{v1alpha1.AuthorityLabel, v1alpha1.GenerationLabel} {
		w := newWorld(t)
		authority := w.authority("my-ca")
		before := w.secret("my-ca-ca-1")
		w.editSecret("my-ca-ca-1", func(s *corev1.Secret) { delete(s.Labels, label) })
		w.told.take()
		w.reconcileAuthority(authority) // puts it back
		w.reconcileAuthority(authority)
		w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
		after := w.secret("my-ca-ca-1")
		if diff := cmp.Diff(before.Labels, after.Labels); diff != "" || after.UID != before.UID {
			t.Errorf("labels (-before +after):\n%s", diff)
		}
		w.wantOnlyChanged(before)
		if events := w.told.take(); len(events) > 0 {
			t.Errorf("nothing was lost, and yet: %q", events)
		}
	}
}
