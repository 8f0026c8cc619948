package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// addRoot has whoever owns a Secret put another root into it.
func (r *rotating) addRoot(name string, ca *madeCA) {
	r.t.Helper()
	r.editSecret(name, func(s *corev1.Secret) { s.Data["ca.crt"] = append(s.Data["ca.crt"], ca.certificatePEM()...) })
}

func TestARootOfATenantIsNotTakenForALostOne(t *testing.T) {
	r := newRotating(t, "a", "b")
	theirs := makeCA(t, "theirs", nil, nil)
	r.later(time.Minute)
	r.addRoot("a", theirs)
	r.loseKey("my-ca-ca-1")
	r.round()
	r.wantRoots("my-ca, my-ca G2")
	r.wantConditionOfLost()

	r.addRoot("a", theirs)
	r.annotate(v1alpha1.AdoptRootAnnotation, "no fingerprint, "+strings.ToUpper(pki.Fingerprint(theirs.certificate)))
	r.round()
	if got := r.roots("b"); !strings.Contains(got, "theirs") || !strings.Contains(got, "my-ca, my-ca G2") {
		t.Errorf("with the root that a person named it trusts %q", got)
	}
	for range 3 {
		r.later(6 * time.Minute)
		r.round()
	}
	r.wantIssuer("my-ca G2")
	r.wantRoots("my-ca G2")
	r.wantStage(v1alpha1.StageStable, "")
}

func (r *rotating) wantConditionOfLost() {
	r.t.Helper()
	r.wantReady(r.authority, "False", v1alpha1.ReasonCALost, "the CA's key is gone")
	r.wantCondition(r.authority, v1alpha1.ConditionStalled, "False", v1alpha1.ReasonProgressing, "")
}

// The root of an authority that signs nothing but other authorities is found with these.
func TestALostRootIsFoundWithTheAuthoritiesBelow(t *testing.T) {
	f := newFamily(t)
	f.later(time.Minute)
	f.loseKey("root-ca-1")
	f.reconcileAuthority(f.parent)
	f.reconcileAuthority(f.parent)
	f.wantReady(f.parent, "False", v1alpha1.ReasonCALost, "")
	f.round()
	f.wantRoots("root, root G2")
	f.wantIssuer("my-ca")
	f.soundLeaf("a")
	for range 6 {
		f.later(6 * time.Minute)
		f.generation()
		f.soundLeaf("a")
	}
	f.wantRoots("root G2")
	f.wantIssuer("my-ca G2")
	f.wantReady(f.parent, "True", v1alpha1.ReasonSigning, "generation 2 signs")
}

func TestALostIntermediateIsReplaced(t *testing.T) {
	f := newFamily(t)
	f.later(time.Minute)
	f.loseKey("my-ca-ca-1")
	for range 4 {
		f.generation()
		f.wantRoots("root")
		f.soundLeaf("a")
		f.later(6 * time.Minute)
	}
	f.wantIssuer("my-ca G2")
	f.wantStage(v1alpha1.StageStable, "")
}

// A backup of the authority's namespace from before its last rotation is restored. Certificates elsewhere know the newer CA.
func TestAnAuthorityFromBeforeTheLastRotationIsRestored(t *testing.T) {
	w := newWorld(t)
	home := w.namespace
	authority := w.authority("my-ca", forAll)
	w.namespace = w.newNamespace("", nil)
	r := &rotating{world: w, authority: authority}
	r.certificates = append(r.certificates, w.issued("web", func(c *v1alpha1.MTLSCertificate) {
		c.Spec.AuthorityRef.Namespace, c.Spec.DNSNames, c.Spec.ServiceName = home, nil, "web"
	}))
	elsewhere := w.namespace
	w.namespace = home
	old := w.secret("my-ca-ca-1")
	w.namespace = elsewhere
	r.ask("now")
	r.finish()
	r.wantIssuer("my-ca G2")
	leaf := w.secret("web")

	w.namespace = home
	saved := w.takeBackup()
	saved.secrets = []corev1.Secret{*old}
	w.restore(saved)
	w.namespace = elsewhere
	r.authority = &saved.authorities[0]
	r.later(time.Minute)
	r.round()
	r.wantConditionOfLost()
	r.wantRoots("my-ca, my-ca G2, my-ca G3")
	r.wantIssuer("my-ca G2")
	w.wantOnlyChanged(leaf, "ca.crt")
	w.namespace = home
	if at := w.secret("my-ca-ca-1").Annotations; at[v1alpha1.WithdrawnForAnnotation] != v1alpha1.WithdrawnOutdated {
		t.Errorf("the old CA isn't withdrawn: %v", at)
	}
	w.namespace = elsewhere
	for range 3 {
		r.later(6 * time.Minute)
		r.round()
	}
	r.wantIssuer("my-ca G3")
	r.wantRoots("my-ca G3")
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 3 signs")
	r.wantStage(v1alpha1.StageStable, "")
	r.wantNoWrites(func() { r.round() })
}

// What comes back after it was retired is trusted by nobody, and left for a person to delete.
func TestARetiredCAThatIsRestoredIsTrustedByNobody(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	w.later(-13*time.Minute + 3*time.Second) // the API server stamps Secrets with the real time: the CA is retired in 3 s
	r := &rotating{world: w, authority: w.authority("my-ca")}
	r.certificates = append(r.certificates, w.issued("a"))
	old := w.secret("my-ca-ca-1")
	r.ask("now")
	r.finish()
	w.eventually("the CA was retired in the past", func() bool { return time.Since(began) > 5*time.Second })
	w.create(anew(old))
	r.round()
	r.wantReady(r.authority, "True", v1alpha1.ReasonSigning,
		`generation 2 signs|Secret "my-ca-ca-1" holds a CA that was retired: it is trusted by nobody, and can be deleted`)
	r.wantRoots("my-ca G2")
	r.wantIssuer("my-ca G2")
	r.wantNoWrites(func() { r.round() })
	r.restart()
	r.round()
	r.wantRoots("my-ca G2")

	r.check(r.admin.Delete(r.ctx, w.secret("my-ca-ca-1")))
	r.eventually("the cache sees that the Secret is deleted", func() bool {
		secret := &corev1.Secret{}
		return r.client.Get(r.ctx, keyOf(old), secret) != nil || secret.DeletionTimestamp != nil
	})
	r.round()
	if r.exists("my-ca-ca-1") {
		t.Error("whoever deletes it waits for ever for its finalizer")
	}
}

// plantedRows are Secrets that somebody makes who may make Secrets, in the hope that their CA is trusted.
var plantedRows = map[string]func(r *rotating, planted *corev1.Secret){
	"one that may sign": func(*rotating, *corev1.Secret) {},
	"one that is to sign": func(_ *rotating, planted *corev1.Secret) {
		planted.Annotations = nil
	},
	"one with a signature of nobody": func(_ *rotating, planted *corev1.Secret) {
		planted.Annotations[v1alpha1.EndorsedByAnnotation] = "MEUCIQDd"
	},
	"one with the signature for another": func(r *rotating, planted *corev1.Secret) {
		planted.Annotations[v1alpha1.EndorsedByAnnotation] = r.secret("my-ca-ca-2").Annotations[v1alpha1.EndorsedByAnnotation]
	},
	"one without a key": func(_ *rotating, planted *corev1.Secret) {
		planted.Annotations[v1alpha1.CauseAnnotation] = v1alpha1.CauseLost
		delete(planted.Data, "tls.key")
	},
	"one that replaces a lost one": func(_ *rotating, planted *corev1.Secret) {
		planted.Annotations[v1alpha1.CauseAnnotation] = v1alpha1.CauseLost
	},
	"one that has the number of another one under another name": func(_ *rotating, planted *corev1.Secret) {
		planted.Name, planted.Labels[v1alpha1.GenerationLabel] = "z-"+planted.Name, "2"
	},
	"one that says that the others are retired": func(_ *rotating, planted *corev1.Secret) {
		planted.Annotations[v1alpha1.RetiredAnnotation] = "<=2"
	},
}

func TestAPlantedCAIsNeverTrustedAndNeverSigns(t *testing.T) {
	for sentence, change := range plantedRows {
		for _, number := range []int{3, 999} {
			t.Run(sentence, func(t *testing.T) {
				r := newRotating(t, "a")
				r.ask("now")
				r.round()
				planted := plantedCA(r.namespace, "my-ca", number, makeCA(t, "theirs", nil, nil))
				change(r, planted)
				r.create(planted)
				for range 4 {
					r.round()
					if roots := r.roots("a"); strings.Contains(roots, "theirs") {
						t.Fatalf("it is trusted: %q", roots)
					}
					r.later(6 * time.Minute)
				}
				r.wantIssuer("my-ca G2")
				r.wantRoots("my-ca G2")
				r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 2 signs|"+planted.Name+`" isn't used`)
				if r.secret(planted.Name).ResourceVersion != planted.ResourceVersion {
					t.Error("it was written")
				}
				if len(r.authority.Status.Generations) != 1 {
					t.Errorf("status tells of %v", r.authority.Status.Generations)
				}
				r.annotate(v1alpha1.RotateRequestedAtAnnotation, "again") // past the number that is taken
				for range 3 {
					r.round()
					r.later(6 * time.Minute)
				}
				r.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "")
				if issuer := r.issuerOf("a"); !strings.HasPrefix(issuer, "my-ca G") || issuer == "my-ca G2" || issuer == "my-ca G999" {
					t.Errorf("it was issued by %q", issuer)
				}
			})
		}
	}
}
