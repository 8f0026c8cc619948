package controllers

import (
	"bytes"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// without returns the backup without the Secret with this name, and that Secret.
func (b backup) without(name string) (backup, *corev1.Secret) {
	at := slices.IndexFunc(b.secrets, func(s corev1.Secret) bool { return s.Name == name })
	secret := b.secrets[at].DeepCopy()
	b.secrets = slices.Delete(b.secrets, at, at+1)
	return b, secret
}

// wantMark checks which object an authority says that its CA was made for.
func (w *world) wantMark(authority *v1alpha1.MTLSAuthority, want string) {
	w.t.Helper()
	w.check(w.admin.Get(w.ctx, keyOf(authority), authority))
	if got := authority.Annotations["mtls-operator.io/made-for"]; got != want {
		w.t.Errorf("its CA was made for %q, want %q", got, want)
	}
	if !slices.Contains(authority.Finalizers, v1alpha1.AuthorityFinalizer) {
		w.t.Errorf("finalizers are %q", authority.Finalizers)
	}
}

// backedUp are the backups in which an authority must be known again.
var backedUp = map[string]struct {
	spec  func(*world, *v1alpha1.MTLSAuthority)
	strip func(*v1alpha1.MTLSAuthority)
}{
	"its finalizer is in the backup": {},
	"the backup tool strips finalizers": {
		strip: func(a *v1alpha1.MTLSAuthority) { a.Finalizers = nil },
	},
	"it was imported, and the pair is still there": {spec: func(w *world, a *v1alpha1.MTLSAuthority) {
		w.check(w.admin.Create(w.ctx, w.pairSecret("elsewhere")))
		imports("elsewhere")(a)
	}},
	"it was imported, the pair is there and finalizers are stripped": {spec: func(w *world, a *v1alpha1.MTLSAuthority) {
		w.check(w.admin.Create(w.ctx, w.pairSecret("elsewhere")))
		imports("elsewhere")(a)
	}, strip: func(a *v1alpha1.MTLSAuthority) { a.Finalizers = nil }},
}

func TestAnAuthorityThatIsRestoredBeforeItsSecretWaitsForIt(t *testing.T) {
	for sentence, c := range backedUp {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			authority := w.authority("my-ca", func(a *v1alpha1.MTLSAuthority) {
				if c.spec != nil {
					c.spec(w, a)
				}
			})
			w.wantMark(authority, plan.MadeFor(authority))
			mark := plan.MadeFor(authority)
			certificate := w.issued("web")
			before := w.allSecrets()
			saved, generation := w.takeBackup().without("my-ca-ca-1")
			if c.strip != nil {
				c.strip(&saved.authorities[0])
			}
			w.restore(saved)

			w.reconcileAuthority(authority)
			const says = `restored from a backup|"my-ca-ca-1"|labels and annotations|remove annotation mtls-operator.io/made-for`
			w.wantReady(authority, "False", v1alpha1.ReasonCALost, says)
			w.wantCondition(authority, "Stalled", "True", v1alpha1.ReasonCALost, says)
			w.wantOneEvent("Warning "+v1alpha1.ReasonCALost, says)
			w.wantNoSecret("my-ca-ca-1")
			w.wantMark(authority, mark)
			w.wantNoWrites(func() { w.reconcileAuthority(authority) })
			w.reconcileCertificate(certificate)
			w.wantReady(certificate, "False", v1alpha1.ReasonAuthorityNotReady, "restored|keeps its certificate")

			w.create(anew(generation))
			w.requests.reset()
			w.reconcileAuthority(authority)
			w.wantWrites("PATCH mtlsauthorities", "PATCH mtlsauthorities/status")
			w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			w.wantCondition(authority, "Stalled", "False", v1alpha1.ReasonProgressing, "")
			w.wantMark(authority, plan.MadeFor(authority))
			w.reconcileCertificate(certificate)
			w.wantReady(certificate, "True", v1alpha1.ReasonIssued, "")
			w.wantSameData(before)
			w.wantNoWrites(func() { w.reconcileAuthority(authority) })
		})
	}
}

// restoredAlone is an authority that was restored without its Secret, and has been looked at.
func (w *world) restoredAlone() (authority *v1alpha1.MTLSAuthority, lost *corev1.Secret) {
	w.t.Helper()
	authority = w.authority("my-ca")
	saved, lost := w.takeBackup().without("my-ca-ca-1")
	w.restore(saved)
	w.reconcileAuthority(authority)
	w.wantReady(authority, "False", v1alpha1.ReasonCALost, "restored")
	return authority, lost
}

func TestARestoredAuthorityMakesANewCAWhenItIsToldTo(t *testing.T) {
	w := newWorld(t)
	authority, lost := w.restoredAlone()
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { delete(a.Annotations, v1alpha1.MadeForAnnotation) })
	w.requests.reset()
	w.reconcileAuthority(authority)
	w.wantWrites("PATCH mtlsauthorities", "POST secrets", "PATCH mtlsauthorities/status")
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	w.wantMark(authority, plan.MadeFor(authority))
	if bytes.Equal(w.secret("my-ca-ca-1").Data["tls.key"], lost.Data["tls.key"]) {
		t.Error("where does it have the lost key from?")
	}
	w.wantNoWrites(func() { w.reconcileAuthority(authority) })
}

func TestARestoredAuthorityWithoutItsCACanBeDeleted(t *testing.T) {
	w := newWorld(t)
	authority, _ := w.restoredAlone()
	w.deleteAuthority(authority)
	w.reconcileAuthority(authority)
	w.wantGone(authority)
}

func TestARestoredCAThatLostItsLabelsIsTaken(t *testing.T) {
	w := newWorld(t)
	authority, lost := w.restoredAlone()
	lost.Labels = nil
	w.check(w.admin.Create(w.ctx, anew(lost)))
	w.reconcileAuthority(authority) // puts them back
	w.reconcileAuthority(authority)
	w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	w.wantMark(authority, plan.MadeFor(authority))
}

// A person may make another authority out of the YAML of one that exists.
func TestACopyOfAnAuthorityMakesItsOwnCA(t *testing.T) {
	for sentence, change := range map[string]func(*world, *v1alpha1.MTLSAuthority){
		"with another name": func(_ *world, a *v1alpha1.MTLSAuthority) { a.Name = "copy" },
		"with another name and without finalizers": func(_ *world, a *v1alpha1.MTLSAuthority) {
			a.Name, a.Finalizers = "copy", nil
		},
		"in another namespace": func(w *world, a *v1alpha1.MTLSAuthority) { a.Namespace = w.newNamespace("", nil) },
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			authority := w.authority("my-ca")
			copied := authority.DeepCopy()
			copied.Status = v1alpha1.MTLSAuthorityStatus{}
			change(w, copied)
			w.create(anew(copied))
			w.requests.reset()
			w.reconcileAuthority(copied)
			w.wantWrites("PATCH mtlsauthorities", "POST secrets", "PATCH mtlsauthorities/status")
			w.wantReady(copied, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			w.wantMark(copied, plan.MadeFor(copied))
			if copied.Status.Generations[0].FingerprintSHA256 == authority.Status.Generations[0].FingerprintSHA256 {
				t.Error("it has the other's CA")
			}
			w.wantNoWrites(func() { w.reconcileAuthority(copied) })
		})
	}
}

// An authority from before there was the annotation, or one that kubectl replace took it from.
func TestAnAuthorityThatLostItsMarkGetsItBackAndKeepsItsCA(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	before := w.secret("my-ca-ca-1")
	edit(w, authority, func(a *v1alpha1.MTLSAuthority) { a.Annotations = nil })
	w.requests.reset()
	w.reconcileAuthority(authority)
	w.wantWrites("PATCH mtlsauthorities")
	w.wantMark(authority, plan.MadeFor(authority))
	w.wantUntouched(before)
	w.wantNoWrites(func() { w.reconcileAuthority(authority) })
}

func TestOtherAnnotationsOfAnAuthorityAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca", func(a *v1alpha1.MTLSAuthority) {
		a.Annotations, a.Finalizers = map[string]string{"note": "x"}, []string{"example.com/theirs"}
	})
	w.wantMark(authority, plan.MadeFor(authority))
	if authority.Annotations["note"] != "x" || !slices.Contains(authority.Finalizers, "example.com/theirs") {
		t.Errorf("annotations %v, finalizers %q", authority.Annotations, authority.Finalizers)
	}
}

// marked as another object of its namespace and name: as it comes out of a backup.
func marked(namespace, name string) func(*v1alpha1.MTLSAuthority) {
	return func(a *v1alpha1.MTLSAuthority) {
		other := &metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "of-another"}
		a.Annotations = map[string]string{v1alpha1.MadeForAnnotation: plan.MadeFor(other)}
	}
}
