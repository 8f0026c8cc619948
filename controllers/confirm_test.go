package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// beside are names that no generation of my-ca can have.
var beside = []string{
	"zzz", "my-ca-ca-1-backup", "my-ca-ca-0", "my-ca-ca-01", "other-ca-x",
	"my-ca-ca-9007199254740993", "my-ca-ca-9223372036854775807",
}

// A copy of a CA's Secret, or one that somebody planted, has no label that the cache selects. It isn't a CA that the cache
// missed: nothing waits for it, neither the first CA nor the next.
func TestASecretBesideTheGenerationsHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	for _, name := range beside {
		w.check(w.admin.Create(w.ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: w.namespace, Name: name, Labels: map[string]string{v1alpha1.AuthorityLabel: "my-ca"},
			},
			Type: v1alpha1.AuthoritySecretType,
		}))
	}
	before := w.secretVersions()
	r := &rotating{world: w, authority: w.authority("my-ca")}
	w.wantReady(r.authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
	r.ask("now")
	if again := w.reconcileAuthority(r.authority).RequeueAfter; again <= conflictDelay {
		t.Errorf("it looks again after %s", again)
	}
	r.wantStage(v1alpha1.StageDistributing, "")
	after := w.secretVersions()
	for _, name := range beside {
		if after[name] != before[name] {
			t.Errorf("Secret %s was written", name)
		}
	}
	for _, name := range []string{"my-ca-ca-1", "my-ca-ca-2"} {
		if after[name] == "" {
			t.Errorf("there is no Secret %s", name)
		}
	}
	w.deleteAuthority(r.authority)
	w.reconcileAuthority(r.authority)
	w.wantGone(r.authority)
}

// The same Secrets with all labels are in the cache. They must not stand for a generation that isn't.
func TestAGenerationThatTheCacheMissesIsNoticedBesideOthers(t *testing.T) {
	w := newWorld(t)
	authority := w.authority("my-ca")
	first := w.secret("my-ca-ca-1")
	for sentence, c := range map[string]struct {
		cached map[int64]*corev1.Secret
		stale  bool
	}{
		"it is there":              {map[int64]*corev1.Secret{1: first}, false},
		"the cache is empty":       {nil, true},
		"the cache has another":    {map[int64]*corev1.Secret{2: first}, true},
		"the cache has it and one": {map[int64]*corev1.Secret{1: first, 2: first}, false},
	} {
		err := w.authorities.confirmGenerations(w.ctx, &authorityPass{authority: authority, secrets: c.cached})
		if apierrors.IsConflict(err) != c.stale || !c.stale && err != nil {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

// Whatever a label or a name says, a number can be added to.
func TestNumbersOfGenerations(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "9007199254740992": 1 << 53, // the highest
		"9007199254740993": 0, "9223372036854775807": 0, "99999999999999999999": 0, "0": 0, "-1": 0, "": 0, "x": 0,
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.GenerationLabel: text}}}
		if got := generationNumber(secret); got != want {
			t.Errorf("label %q is number %d, want %d", text, got, want)
		}
		name, number := parseGenerationName("my-ca-ca-" + text)
		if number != want || (name == "my-ca") != (want > 0) {
			t.Errorf("name my-ca-ca-%s is number %d of %q, want %d", text, number, name, want)
		}
	}
}

// A CA without a number that can be read isn't used, also when its name says the same.
func TestAGenerationWithoutANumber(t *testing.T) {
	for name, label := range map[string]string{"my-ca-ca-0": "0", "my-ca-ca-9223372036854775807": "9223372036854775807"} {
		w := newWorld(t)
		planted := plantedCA(w.namespace, "my-ca", 1, makeCA(t, "theirs", nil, nil))
		planted.Name, planted.Labels[v1alpha1.GenerationLabel] = name, label
		authority := w.authority("my-ca", func(*v1alpha1.MTLSAuthority) { w.create(planted) })
		w.wantReady(authority, "False", v1alpha1.ReasonCALost, name+"|"+v1alpha1.GenerationLabel)
	}
}
