package plan_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// mintOf an imported pair.
func mintOf(number int64, pair plan.ImportedPair) plan.Step {
	return plan.Step{
		Kind: plan.StepMint, Number: number, Cause: v1alpha1.CauseImported, CauseID: pair.Issuer.Fingerprint(),
	}
}

// take is what the operator does with that step.
func (s *scene) take(step plan.Step, now time.Time) {
	s.all = append(s.all, plan.Generation{
		Number: step.Number, Issuer: s.Imported.Issuer, Made: now, Cause: step.Cause, CauseID: step.CauseID, SpecHash: s.Wish.Hash,
	})
	s.Highest = step.Number
}

func TestAnImportedPairThatIsReplacedIsTheNextCA(t *testing.T) {
	s := importing(t)
	if got := s.at(today); got.Step.Kind != "" || got.Stalled.Reason != "" || !got.Due.IsZero() {
		t.Errorf("it is the one that signs, and %+v is done, %v, due %s", got.Step, got.Stalled, got.Due)
	}
	pair := s.swap(t)
	wantStep(t, s.at(today), mintOf(2, pair))
	s.take(mintOf(2, pair), today)
	if got := s.at(today); got.Step.Kind != "" || got.Stage != v1alpha1.StageDistributing {
		t.Errorf("it is the next one, and %+v is done, stage %s", got.Step, got.Stage)
	}
}

// Two quick swaps cost one distribution: the one in between is given up, and the newest is the next.
func TestAPairThatIsSwappedTwice(t *testing.T) {
	s := importing(t)
	s.take(mintOf(2, s.swap(t)), today)
	third := s.swap(t)
	now := today.Add(time.Minute)
	wantStep(t, s.at(now), withdrawal(2, "Superseded"))
	s.of(2).Withdrawn, s.of(2).WithdrawnFor = now, v1alpha1.WithdrawnSuperseded
	wantStep(t, s.at(now), plan.Step{Kind: plan.StepRetire, Number: 2})
	s.of(1).Retired, s.of(1).RetiredAt = plan.NewNumbers(2), now
	wantStep(t, s.at(now), plan.Step{Kind: plan.StepDelete, Number: 2})
	s.all = s.all[:1]
	if got := s.at(now); got.Step.Kind != "" || !got.Next.Equal(now.Add(delay)) {
		t.Errorf("not a delay after the last one: %+v, next %s", got.Step, got.Next)
	}
	wantStep(t, s.at(now.Add(delay)), mintOf(3, third))
}

func TestAPairThatIsSwappedBack(t *testing.T) {
	first := func(s *scene) { s.Imported = plan.ImportedPair{Issuer: s.of(1).Issuer} }
	t.Run("before the other one signs: that is given up", func(t *testing.T) {
		s := importing(t)
		s.take(mintOf(2, s.swap(t)), today)
		first(s)
		wantStep(t, s.at(today), withdrawal(2, "Superseded"))
	})
	t.Run("after the other one signs: it gets a new number, and nobody waits for roots that all have", func(t *testing.T) {
		s := importing(t)
		s.of(1).Issuer = newCA(t, year, noon).Issuer()
		s.take(mintOf(2, s.swap(t)), begun)
		s.of(2).Activated = signs
		first(s)
		now := signs.Add(delay)
		wantStep(t, s.at(now), mintOf(3, s.Imported))
		s.take(mintOf(3, s.Imported), now)
		for i := range s.Consumers { // who holds the root of 1 holds that of 3
			s.Consumers[i].Holds, s.Consumers[i].BundleSince = []int64{1, 2, 3}, delivered
		}
		wantStep(t, s.at(now), plan.Step{Kind: plan.StepActivate, Number: 3})
		s.Held = nil
		if got := s.at(now); !got.NextStepAt.Equal(now.Add(90 * time.Second)) {
			t.Errorf("just seen by this process: next step at %s", got.NextStepAt)
		}
	})
}

func TestAPairThatCanNotBeTheNextCA(t *testing.T) {
	secret := `spec.imported.secretName: Secret "corp-ca"`
	for sentence, c := range map[string]struct {
		edit            func(testing.TB, *scene)
		reason, message string
	}{
		"since it ends before the present one, and soon": {func(t testing.TB, s *scene) {
			s.Imported = pairOf(newCA(t, 90*day, noon))
		}, "ImportedTooShort", secret + " holds a CA that ends at 2027-02-22T12:00:00Z, before the present one"},
		"since it is the compromised one": {func(_ testing.TB, s *scene) {
			s.Orders.Compromised = plan.NewNumbers(1)
		}, "ImportedInvalid", secret + " still holds a CA that is compromised"},
		"since it has the name and the key identifier of the present one": {
			clash, "ImportedClash", "verifiers take one for the other",
		},
		"since it isn't there, and the present one's Secret was deleted": {func(_ testing.TB, s *scene) {
			s.Imported, s.of(1).Deleting = plan.ImportedPair{Missing: true}, true
		}, "ImportedSecretNotFound", "doesn't exist in this namespace"},
		"since it is broken, and the present one's Secret was deleted": {func(_ testing.TB, s *scene) {
			s.Imported, s.of(1).Deleting = plan.ImportedPair{Problem: "tls.crt: x"}, true
		}, "ImportedInvalid", secret + ": tls.crt: x"},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := importing(t)
			c.edit(t, s)
			got := s.at(today)
			wantStep(t, got, plan.Step{})
			wantVerdict(t, "stalled", got.Stalled, c.reason, c.message)
		})
	}
}

// clash replaces the CA and the pair by two of the same name without key identifiers.
func clash(t testing.TB, s *scene) {
	t.Helper()
	one, other := newKey(t), newKey(t)
	s.of(1).Issuer = imported(t, one, withoutKeyID(t, one, noon.Add(year))).Issuer()
	s.Imported = pairOf(imported(t, other, withoutKeyID(t, other, noon.Add(year))))
}

// withoutKeyID is a root as OpenSSL makes it when it is asked for the least.
func withoutKeyID(t testing.TB, key *ecdsa.PrivateKey, end time.Time) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0).SetBytes([]byte(rand.Text()[:16])), Subject: pkix.Name{CommonName: "my-ca"},
		NotBefore: noon.Add(-10 * year), NotAfter: end, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		SubjectKeyId: []byte("the same"),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Everybody gets the new certificate of the CA, and no certificate is issued again: what was signed verifies under both.
func TestAPairThatWasRenewedWithItsKey(t *testing.T) {
	key := newKey(t)
	leafCluster := newCluster(t, imported(t, key, withoutKeyID(t, key, noon.Add(95*day))), wishOf(t))
	leafCluster.pass(noon)
	leaf := leafCluster.leaf()
	s := importing(t)
	s.of(1).Issuer = leafCluster.in.Issuer
	s.Imported = pairOf(imported(t, key, withoutKeyID(t, key, noon.Add(900*day))))
	wantStep(t, s.at(begun), mintOf(2, s.Imported))
	s.take(mintOf(2, s.Imported), begun)
	s.at(begun)
	for i := range s.Consumers {
		s.Consumers[i].Holds, s.Consumers[i].BundleSince = []int64{1, 2}, delivered
		s.Consumers[i].Leaf = leafOn(s.Lineage.On(leaf), noon)
	}
	got := s.at(opensA.Add(-1))
	if got.Stage != v1alpha1.StageDistributing || !got.NextStepAt.Equal(opensA) || len(got.Reissue) > 0 {
		t.Errorf("stage %s, next step at %s, %d to issue again", got.Stage, got.NextStepAt, len(got.Reissue))
	}
	wantStep(t, s.at(opensA), plan.Step{Kind: plan.StepActivate, Number: 2})
	s.of(2).Activated = opensA
	got = s.at(opensA)
	if got.Stage != v1alpha1.StageRetiring || len(got.Reissue) > 0 {
		t.Errorf("then stage %s, %d to issue again", got.Stage, len(got.Reissue))
	}
	wantStep(t, got, plan.Step{Kind: plan.StepRetire, Number: 1})
}

// Going back from a CA with the same key: nothing has to be issued again either, and the withdrawn one can go.
func TestAPairThatWasRenewedWithItsKeyIsGivenUpAgain(t *testing.T) {
	key := newKey(t)
	cluster := newCluster(t, imported(t, key, withoutKeyID(t, key, noon.Add(95*day))), wishOf(t))
	cluster.pass(noon)
	s := importing(t)
	s.of(1).Issuer = cluster.in.Issuer
	s.Imported = pairOf(imported(t, key, withoutKeyID(t, key, noon.Add(900*day))))
	s.take(mintOf(2, s.Imported), begun)
	s.of(2).Activated, s.of(2).Withdrawn, s.of(2).WithdrawnFor = signs, signs.Add(delay), v1alpha1.WithdrawnAborted
	s.at(signs)
	for i := range s.Consumers {
		s.Consumers[i].Leaf = leafOn(s.Lineage.On(cluster.leaf()), noon)
	}
	wantStep(t, s.at(signs.Add(delay)), plan.Step{
		Kind: plan.StepRetire, Number: 2, AbortedCauses: []string{"ImportedPairChanged:" + s.Imported.Issuer.Fingerprint()},
	})
}

// A pair of ten years that has 300 days left is as good as any other.
func TestAnOldPairIsNotGivenUpAtOnce(t *testing.T) {
	key := newKey(t)
	s := importing(t)
	s.Imported = pairOf(imported(t, key, withoutKeyID(t, key, noon.Add(300*day))))
	s.take(mintOf(2, s.Imported), today)
	wantStep(t, s.at(today), plan.Step{})
}

// The pair in the Secret is the one that others have, after the authority went back to the CA before it, or gave it up.
func TestACompromisedPairIsNotImportedAgain(t *testing.T) {
	for sentence, signed := range map[string]time.Time{"that signed": signs, "that never signed": {}} {
		t.Run(sentence, func(t *testing.T) {
			s := importing(t)
			s.take(mintOf(2, s.swap(t)), begun)
			s.of(2).Activated, s.of(2).Withdrawn, s.of(2).WithdrawnFor = signed, signs.Add(delay), v1alpha1.WithdrawnCompromised
			s.Orders.Compromised = plan.NewNumbers(2)
			retire := plan.Step{Kind: plan.StepRetire, Number: 2, AbortedCauses: []string{"Compromised:" + s.of(2).CauseID}}
			wantStep(t, s.at(signs.Add(day)), retire)
			s.of(1).Retired, s.of(1).AbortedCauses = plan.NewNumbers(2), retire.AbortedCauses
			s.all = s.all[:1]
			wantStep(t, s.at(signs.Add(day)), plan.Step{})
			s.of(1).Deleting = true // whatever the reason for another one is
			got := s.at(signs.Add(day))
			wantStep(t, got, plan.Step{})
			wantVerdict(t, "stalled", got.Stalled, "ImportedInvalid", "compromised")
		})
	}
}
