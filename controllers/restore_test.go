package controllers

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// backup is a namespace as a backup tool keeps it: without status, and restored with other UIDs.
type backup struct {
	secrets      []corev1.Secret
	authorities  []v1alpha1.MTLSAuthority
	certificates []v1alpha1.MTLSCertificate
}

// takeBackup saves everything and then loses it.
func (w *world) takeBackup() backup {
	w.t.Helper()
	authorities, certificates := &v1alpha1.MTLSAuthorityList{}, &v1alpha1.MTLSCertificateList{}
	w.check(w.admin.List(w.ctx, authorities, client.InNamespace(w.namespace)))
	w.check(w.admin.List(w.ctx, certificates, client.InNamespace(w.namespace)))
	saved := backup{w.allSecrets(), authorities.Items, certificates.Items}
	w.stop() // with the operator running, deleting an authority would be its end
	for _, object := range saved.objects() {
		gone := object.DeepCopyObject().(client.Object)
		w.check(w.admin.Patch(w.ctx, gone, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
		w.check(w.admin.Delete(w.ctx, gone))
	}
	for i := range saved.authorities {
		saved.authorities[i].Status = v1alpha1.MTLSAuthorityStatus{}
	}
	for i := range saved.certificates {
		saved.certificates[i].Status = v1alpha1.MTLSCertificateStatus{}
	}
	return saved
}

// objects in the order in which backup tools restore them: what others need comes first.
func (b backup) objects() []client.Object {
	var all []client.Object
	for i := range b.secrets {
		all = append(all, &b.secrets[i])
	}
	for i := range b.authorities {
		all = append(all, &b.authorities[i])
	}
	for i := range b.certificates {
		all = append(all, &b.certificates[i])
	}
	return all
}

func (w *world) restore(b backup) {
	w.t.Helper()
	for _, object := range b.objects() {
		w.check(w.admin.Create(w.ctx, anew(object)))
	}
	w.restart()
}

// anew takes from an object what the API server gave it.
func anew(object client.Object) client.Object {
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetCreationTimestamp(metav1.Time{})
	object.SetManagedFields(nil)
	return object
}

func TestWhatIsRestoredFromABackupIsUsedAsItIs(t *testing.T) {
	for order, passes := range map[string]func(w *world, a *v1alpha1.MTLSAuthority, c *v1alpha1.MTLSCertificate){
		"the authority is looked at first": func(w *world, a *v1alpha1.MTLSAuthority, c *v1alpha1.MTLSCertificate) {
			w.reconcileAuthority(a)
			w.reconcileCertificate(c)
		},
		"the certificate is looked at first": func(w *world, a *v1alpha1.MTLSAuthority, c *v1alpha1.MTLSCertificate) {
			w.reconcileCertificate(c)
			w.reconcileAuthority(a)
		},
	} {
		t.Run(order, func(t *testing.T) {
			w := newWorld(t)
			w.check(w.admin.Create(w.ctx, w.pairSecret("elsewhere")))
			imported := w.authority("imported", importing("elsewhere"))
			authority := w.authority("my-ca")
			certificate := w.issued("web")
			w.requestRenewal(certificate, "once")
			w.reconcileCertificate(certificate)
			before := w.allSecrets()

			w.restore(w.takeBackup())
			w.told.take()
			passes(w, authority, certificate)
			w.reconcileAuthority(imported)

			w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			w.wantReady(imported, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
			w.wantCondition(authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
			w.wantCondition(imported, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
			w.wantSameData(before)
			if events := w.told.take(); len(events) > 0 {
				t.Errorf("a restored namespace has news: %q", events)
			}
			if owner := metav1.GetControllerOf(w.secret("web")); owner == nil || owner.UID != certificate.UID {
				t.Errorf("the Secret is owned by %v, which the garbage collector doesn't find", owner)
			}
			w.wantQuiet(certificate)
			w.wantNoWrites(func() { w.reconcileAuthority(authority); w.reconcileAuthority(imported) })

			w.deleteAuthority(authority) // the finalizers were restored, too
			w.reconcileAuthority(authority)
			w.wantCondition(authority, v1alpha1.ConditionStalled, "True", v1alpha1.ReasonInUse, `"web"`)
		})
	}
}

// wantSameData checks that the Secrets are the same but for what identifies them.
func (w *world) wantSameData(before []corev1.Secret) {
	w.t.Helper()
	after := w.allSecrets()
	if len(after) != len(before) {
		w.t.Fatalf("there are %d Secrets, want %d", len(after), len(before))
	}
	for i := range before {
		for key, value := range before[i].Data {
			if !bytes.Equal(after[i].Data[key], value) {
				w.t.Errorf("%s of Secret %q changed", key, before[i].Name)
			}
		}
	}
}
