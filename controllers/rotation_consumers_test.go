package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// Who lost the roots is waited for, whatever happened to its Secret: it is expected, not found.
func TestASecretThatIsMeddledWithIsWaitedFor(t *testing.T) {
	for sentence, meddle := range map[string]func(*rotating){
		"its label is removed": func(r *rotating) {
			r.editSecret("a", func(s *corev1.Secret) { delete(s.Labels, v1alpha1.GenerationLabel) })
		},
		"it is deleted": func(r *rotating) { r.removeSecret("a") },
		"it doesn't say any more whose it is": func(r *rotating) {
			r.editSecret("a", func(s *corev1.Secret) { delete(s.Annotations, v1alpha1.IssuedByAnnotation) })
		},
		"the next root is taken out of it": func(r *rotating) {
			r.editSecret("a", func(s *corev1.Secret) { s.Data["ca.crt"] = r.secret("my-ca-ca-1").Data["ca.crt"] })
		},
		"its time is forged to the future": func(r *rotating) {
			r.editSecret("a", func(s *corev1.Secret) {
				s.Data["ca.crt"] = r.secret("my-ca-ca-1").Data["ca.crt"]
				s.Annotations[v1alpha1.BundleSinceAnnotation] = "2099-01-01T00:00:00Z"
			})
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := newRotating(t, "a", "b")
			r.ask("now")
			r.round()
			r.wantStage(v1alpha1.StageDistributing, "2/2")
			meddle(r)
			r.later(6 * time.Minute)
			r.reconcileAuthority(r.authority)
			r.wantStage(v1alpha1.StageDistributing, "1/2")
			r.later(time.Hour)
			r.reconcileAuthority(r.authority)
			r.wantStage(v1alpha1.StageDistributing, "1/2")

			r.round()
			r.round() // the first puts the label back
			r.wantRoots("my-ca, my-ca G2")
			r.wantIssuer("my-ca")
			r.later(89 * time.Second)
			r.round()
			r.wantIssuer("my-ca") // it had the roots, but for how long nobody saw it
			r.later(4 * time.Minute)
			r.round()
			r.wantIssuer("my-ca G2")
			r.later(6 * time.Minute)
			r.round()
			r.wantRoots("my-ca G2")
			r.wantStage(v1alpha1.StageStable, "")
		})
	}
}

// Another process may have written a Secret that this one's cache has not.
func TestACacheThatIsBehindHoldsTheStepsThatCannotBeTakenBack(t *testing.T) {
	r := newRotating(t, "a")
	r.ask("now")
	r.round()
	r.later(6 * time.Minute)
	pass := &authorityPass{authority: r.authority, memory: r.rotations.of(keyOf(r.authority))}
	decision, err := r.authorities.decide(r.ctx, pass)
	r.check(err)
	if decision.Step.Kind != "Activate" {
		t.Fatalf("the step is %+v", decision.Step)
	}
	r.authorities.Client = outdated{r.authorities.Client}
	if err := r.authorities.act(r.ctx, pass, decision); !apierrors.IsConflict(err) {
		t.Errorf("a generation signs although a Secret may not have its root: %v", err)
	}
	if r.secret("my-ca-ca-2").Annotations[v1alpha1.ActivatedAtAnnotation] != "" {
		t.Error("it was written")
	}
}

// outdated is a cache that has old versions of all Secrets.
type outdated struct{ client.Client }

func (b outdated) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if err := b.Client.List(ctx, list, options...); err != nil {
		return err
	}
	return meta.EachListItem(list, func(item runtime.Object) error {
		if secret, ok := item.(*corev1.Secret); ok {
			secret.ResourceVersion = "1"
		}
		return nil
	})
}

func TestACertificateThatIsMadeDuringARotation(t *testing.T) {
	for stage, c := range map[v1alpha1.RotationStage]struct {
		reach         func(*rotating)
		issuer, roots string
	}{
		v1alpha1.StageDistributing: {func(r *rotating) { r.round() }, "my-ca", "my-ca, my-ca G2"},
		v1alpha1.StageReissuing: {func(r *rotating) {
			r.round()
			r.later(6 * time.Minute)
			r.reconcileAuthority(r.authority)
		}, "my-ca G2", "my-ca, my-ca G2"},
		v1alpha1.StageRetiring: {func(r *rotating) {
			r.round()
			r.later(6 * time.Minute)
			r.round()
		}, "my-ca G2", "my-ca, my-ca G2"},
		v1alpha1.StageStable: {func(r *rotating) { r.finish() }, "my-ca G2", "my-ca G2"},
	} {
		t.Run(string(stage), func(t *testing.T) {
			r := newRotating(t, "a")
			r.ask("now")
			c.reach(r)
			r.check(r.admin.Get(r.ctx, keyOf(r.authority), r.authority))
			if got := r.authority.Status.Rotation.Stage; got != stage {
				t.Fatalf("the stage is %s", got)
			}
			young := r.issued("young") // in one pass
			if issuer, roots := r.issuerOf("young"), r.roots("young"); issuer != c.issuer || roots != c.roots {
				t.Errorf("it was issued by %q and trusts %q", issuer, roots)
			}
			r.soundLeaf("young")
			r.wantQuiet(young)
			r.certificates = append(r.certificates, young)
			for range 4 {
				r.later(6 * time.Minute)
				r.round()
			}
			r.wantIssuer("my-ca G2")
			r.wantRoots("my-ca G2")
			r.wantStage(v1alpha1.StageStable, "")
		})
	}
}

// Else a rotation would never end where certificates come all the time.
func TestNewCertificatesDoNotHoldUpARotation(t *testing.T) {
	r := newRotating(t, "a")
	r.ask("now")
	r.round()
	made := r.secret("my-ca-ca-2").CreationTimestamp
	for i := 0; len(r.certificates) < 3; i++ {
		young := r.issued(fmt.Sprintf("young-%d", i))
		if young.CreationTimestamp.After(made.Time) {
			r.certificates = append(r.certificates, young)
		} else {
			r.removeCertificate(young)
			r.removeSecret(young.Name)
		}
		r.later(time.Second)
	}
	r.later(2 * time.Minute)
	r.round() // sees all of them hold it
	r.later(2 * time.Minute)
	young := r.issued("last")
	r.certificates = append(r.certificates, young)
	r.later(time.Minute)
	r.round()
	r.wantStage(v1alpha1.StageRetiring, "")
	r.wantIssuer("my-ca G2")
}

// Those that end first come first, and no more at a time than the API server takes easily.
func TestCertificatesAreIssuedAgainInBatches(t *testing.T) {
	w := newWorld(t)
	r := &rotating{world: w, authority: w.authority("my-ca")}
	w.authorities.batch = 2
	for i := range 5 {
		r.certificates = append(r.certificates, w.issued(fmt.Sprintf("c-%d", i), func(c *v1alpha1.MTLSCertificate) {
			c.Spec.Duration = v1alpha1.Duration(fmt.Sprintf("%dh", 500-i))
		}))
	}
	r.ask("now")
	r.round()
	r.later(6 * time.Minute)
	for _, want := range []int{5, 3, 1} {
		r.reconcileAuthority(r.authority)
		for i, certificate := range r.certificates { // also those that it isn't the turn of
			r.reconcileCertificate(certificate)
			issuer := "my-ca"
			if i >= want-2 {
				issuer = "my-ca G2"
			}
			if got := r.issuerOf(certificate.Name); got != issuer {
				t.Fatalf("%s was issued by %q, want %q", certificate.Name, got, issuer)
			}
		}
		r.later(6 * time.Second)
	}
	r.reconcileAuthority(r.authority)
	r.wantStage(v1alpha1.StageRetiring, "")
	for range 5 {
		if event := <-w.turns; event.Object.GetNamespace() != w.namespace {
			t.Errorf("%v is woken", event.Object)
		}
	}
	if len(w.turns) > 0 {
		t.Errorf("%d more are woken", len(w.turns))
	}
}
