package controllers

import (
	"crypto/x509"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// stalledRow is something that a person must do about an authority that can sign.
type stalledRow struct {
	sentence string
	reason   string
	spec     func(*v1alpha1.MTLSAuthority) // from the start
	act      func(*world, *v1alpha1.MTLSAuthority)
	undo     func(*world, *v1alpha1.MTLSAuthority)
	message  string // parts, separated by "|"
}

// stalledRows has every reason of Stalled that goes with Ready=True, of authority "ca" that signs; Secret "walk-through"
// has a CA made elsewhere, Secret "another" another one.
var stalledRows = []stalledRow{
	{
		sentence: "the imported pair breaks", reason: v1alpha1.ReasonImportedInvalid,
		spec: imports("walk-through"),
		act: func(w *world, _ *v1alpha1.MTLSAuthority) {
			w.editSecret("walk-through", func(s *corev1.Secret) { s.Data["tls.key"] = w.secret("another").Data["tls.key"] })
		},
		undo:    func(w *world, _ *v1alpha1.MTLSAuthority) { w.copyData("ca-ca-1", "walk-through") },
		message: `Secret "walk-through": tls.key|goes on signing`,
	},
	{
		sentence: "the imported pair becomes one that ends soon", reason: v1alpha1.ReasonImportedTooShort,
		spec: imports("walk-through"),
		act: func(w *world, _ *v1alpha1.MTLSAuthority) {
			short := makeCA(w.t, "short", nil, func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(2159 * time.Hour) })
			w.editSecret("walk-through", func(s *corev1.Secret) { s.Data = short.secret() })
		},
		undo:    func(w *world, _ *v1alpha1.MTLSAuthority) { w.copyData("ca-ca-1", "walk-through") },
		message: `Secret "walk-through" holds a CA that ends at|before the present one|lives longer`,
	},
	{
		sentence: "programs can't tell the imported pair from the present one", reason: v1alpha1.ReasonImportedClash,
		spec: imports("walk-through"),
		act: func(w *world, _ *v1alpha1.MTLSAuthority) {
			present := w.leaf("ca-ca-1")
			twin := makeCA(w.t, present.Subject.CommonName, nil, func(c *x509.Certificate) { c.SubjectKeyId = present.SubjectKeyId })
			w.editSecret("walk-through", func(s *corev1.Secret) { s.Data = twin.secret() })
		},
		undo:    func(w *world, _ *v1alpha1.MTLSAuthority) { w.copyData("ca-ca-1", "walk-through") },
		message: `Secret "walk-through": two CAs with different keys are named "CN=maker-of-walk-through"|another commonName`,
	},
	{
		sentence: "the spec of a CA that signs becomes invalid", reason: v1alpha1.ReasonInvalidSpec,
		act: func(w *world, a *v1alpha1.MTLSAuthority) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) {
				a.Spec.NameConstraints = &v1alpha1.NameConstraints{
					Permitted: &v1alpha1.NameConstraintSet{EmailAddresses: []string{"@@"}},
				}
			})
		},
		undo: func(w *world, a *v1alpha1.MTLSAuthority) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) { a.Spec.NameConstraints = nil })
		},
		message: `spec.nameConstraints.permitted.emailAddresses[0]|"@@"`,
	},
	{
		sentence: "somebody says something with an annotation that can't be read", reason: v1alpha1.ReasonInvalidAnnotation,
		act: func(w *world, a *v1alpha1.MTLSAuthority) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) { a.Annotations[v1alpha1.CompromisedAnnotation] = "true" })
		},
		undo: func(w *world, a *v1alpha1.MTLSAuthority) {
			edit(w, a, func(a *v1alpha1.MTLSAuthority) { delete(a.Annotations, v1alpha1.CompromisedAnnotation) })
		},
		message: `mtls-operator.io/compromised: "true" says nothing|such as 1,2`,
	},
	{
		sentence: "the authority is deleted while a certificate refers to it", reason: v1alpha1.ReasonInUse,
		act: func(w *world, a *v1alpha1.MTLSAuthority) {
			w.check(w.admin.Delete(w.ctx, a))
			w.seesDeletion(a)
		},
		message: `held while MTLSCertificates refer to it ("hello" in this namespace)|Delete them|another authority`,
	},
}

// copyData makes the data of one Secret that of another.
func (w *world) copyData(from, to string) {
	w.t.Helper()
	w.editSecret(to, func(s *corev1.Secret) { s.Data = w.secret(from).Data })
}

// seesDeletion waits until the operator's cache sees that an authority is being deleted.
func (w *world) seesDeletion(authority *v1alpha1.MTLSAuthority) {
	w.t.Helper()
	w.eventually("the cache sees the deletion", func() bool {
		cached := &v1alpha1.MTLSAuthority{}
		return w.client.Get(w.ctx, keyOf(authority), cached) != nil || cached.DeletionTimestamp != nil
	})
}

func TestEveryReasonToActOnAnAuthorityThatSigns(t *testing.T) {
	for _, row := range stalledRows {
		t.Run(row.sentence, func(t *testing.T) {
			w := newWorld(t)
			for _, name := range []string{"walk-through", "another"} {
				w.authority("maker-of-" + name)
				w.check(w.admin.Create(w.ctx, &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
					Data:       w.secret("maker-of-" + name + "-ca-1").Data,
				}))
			}
			authority := w.authority("ca", func(a *v1alpha1.MTLSAuthority) {
				if row.spec != nil {
					row.spec(a)
				}
			})
			w.wantCondition(authority, "Stalled", "False", v1alpha1.ReasonProgressing, "nobody needs to act")
			w.wantNoWrites(func() { w.reconcileAuthority(authority) })
			// It is older than a deletion of the authority, or it couldn't hold it.
			certificate := w.certificate("hello", func(c *v1alpha1.MTLSCertificate) { c.Spec.AuthorityRef.Name = "ca" })
			row.act(w, authority)
			before := w.secretVersions()

			w.reconcileAuthority(authority)

			w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			w.wantCondition(authority, "Stalled", "True", row.reason, row.message)
			w.wantOneEvent("Warning "+row.reason, row.message)
			w.wantNoWrites(func() { w.reconcileAuthority(authority) })
			w.wantVersions(before)

			w.reconcileCertificate(certificate)
			w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
			w.soundLeaf("hello")
			if row.undo == nil {
				return
			}
			row.undo(w, authority)
			w.reconcileAuthority(authority)
			w.wantCondition(authority, "Stalled", "False", v1alpha1.ReasonProgressing, "")
			w.wantNoWrites(func() { w.reconcileAuthority(authority) })
		})
	}
}
