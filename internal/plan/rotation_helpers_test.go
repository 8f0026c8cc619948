package plan_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// The rotations of the tests: generation 1 signs since noon and ends 100 days later, generation 2 is made at begun and signs
// from signs on. Everybody has its roots one minute after it was made, and its certificates one minute after it signs.
const (
	caLife = 100 * day
	delay  = 5 * time.Minute // the propagation delay
)

var (
	begun     = noon.Add(10 * day)
	delivered = begun.Add(time.Minute)
	signs     = begun.Add(time.Hour)
	reissued  = signs.Add(time.Minute)
	due       = noon.Add(1600 * time.Hour) // two thirds of the life of generation 1
	// tooLate to wait is when a tenth of its life is left, or what the longest certificates are renewed before their end
	// and four delays; these are of 30 days, and it isn't in the first half of the time that is left from due on.
	tooLate = noon.Add(2000 * time.Hour)
)

// scene is an authority and its consumers in the middle of a rotation.
type scene struct {
	plan.RotationInput

	all []plan.Generation
}

// at plans the rotation at a time.
func (s *scene) at(now time.Time) plan.RotationPlan {
	s.Lineage = plan.NewLineage(s.all)
	return plan.Rotation(s.RotationInput, now)
}

// of a number, to be changed.
func (s *scene) of(number int64) *plan.Generation {
	return &s.all[slices.IndexFunc(s.all, func(g plan.Generation) bool { return g.Number == number })]
}

// cart is one of the two consumers, to be changed.
func (s *scene) cart() *plan.Consumer { return &s.Consumers[0] }

// leafOn is a certificate of a generation that its consumer has since a time.
func leafOn(number int64, since time.Time) *plan.ConsumerLeaf {
	return &plan.ConsumerLeaf{On: number, Ends: noon.Add(90 * day), Since: since, RenewBefore: 30 * day}
}

func consumerOf(name string, leaf *plan.ConsumerLeaf) plan.Consumer {
	return plan.Consumer{
		ConsumerRef: plan.ConsumerRef{Kind: plan.ConsumerSecret, Namespace: "shop", Name: name},
		Born:        noon, Holds: []int64{1}, BundleSince: noon, Current: true, Reload: v1alpha1.ReloadWatch, Leaf: leaf,
	}
}

// generationOf an own CA, made at a time.
func generationOf(t testing.TB, number int64, cause, id string, made time.Time) plan.Generation {
	t.Helper()
	return plan.Generation{
		Number: number, SecretName: "my-ca-ca-" + string(rune('0'+number)), Issuer: newCA(t, caLife, made).Issuer(), Made: made,
		Cause: cause, CauseID: id, SpecHash: authorityWish(t, v1alpha1.MTLSAuthoritySpec{}).Hash,
	}
}

// stable is an authority with one generation. Everybody was looked at for an hour, and there are no pods.
func stable(t testing.TB) *scene {
	t.Helper()
	first := generationOf(t, 1, v1alpha1.CauseInitial, "", noon)
	first.Activated, first.SecretUID = noon, "secret-1"
	s := &scene{all: []plan.Generation{first}, RotationInput: plan.RotationInput{
		Wish:      authorityWish(t, v1alpha1.MTLSAuthoritySpec{}),
		Highest:   1,
		Consumers: []plan.Consumer{consumerOf("cart", leafOn(1, noon)), consumerOf("web", leafOn(1, noon))},
		Pods:      []plan.PodView{},
		Held:      map[plan.Gate]time.Duration{},
	}}
	for number := range int64(9) {
		s.Held[plan.Gate{Opens: plan.StepActivate, Number: number}] = time.Hour
		s.Held[plan.Gate{Opens: plan.StepRetire, Number: number}] = time.Hour
	}
	s.Lineage = plan.NewLineage(s.all)
	return s
}

// distributing has a generation 2 that was asked for, and everybody has its roots.
func distributing(t testing.TB) *scene {
	t.Helper()
	s := stable(t)
	s.Orders.Rotate = "please"
	next := generationOf(t, 2, v1alpha1.CauseRequested, "please", begun)
	next.RotateServed = "please"
	s.all, s.Highest = append(s.all, next), 2
	for i := range s.Consumers {
		s.Consumers[i].Holds, s.Consumers[i].BundleSince = []int64{1, 2}, delivered
	}
	s.Lineage = plan.NewLineage(s.all)
	return s
}

// reissuing: generation 2 signs, and nobody has a certificate of it.
func reissuing(t testing.TB) *scene {
	t.Helper()
	s := distributing(t)
	s.of(2).Activated = signs
	s.Lineage = plan.NewLineage(s.all)
	return s
}

// retiring: generation 2 signs, and everybody has a certificate of it.
func retiring(t testing.TB) *scene {
	t.Helper()
	s := reissuing(t)
	for i := range s.Consumers {
		s.Consumers[i].Leaf = leafOn(2, reissued)
	}
	return s
}

// pairOf reads a CA that was made elsewhere with the key, as an imported pair.
func pairOf(ca *pki.Authority) plan.ImportedPair { return plan.ImportedPair{Issuer: ca.Issuer()} }

func wantStep(t testing.TB, got plan.RotationPlan, want plan.Step) {
	t.Helper()
	if diff := cmp.Diff(want, got.Step); diff != "" {
		t.Errorf("%s: %s\n%s", got.Stage, got.Message, diff)
	}
}

// rootCA may sign CAs, and lives for a year.
func rootCA(t testing.TB) *pki.Authority {
	t.Helper()
	return signedCA(t, "root", nil, year, noon)
}

// intermediate is a CA of 100 days that another one signed at noon.
func intermediate(t testing.TB, parent *pki.Authority) pki.Issuer {
	t.Helper()
	return signedCA(t, "my-ca", parent, caLife, noon).Issuer()
}

func signedCA(t testing.TB, name string, parent *pki.Authority, life time.Duration, now time.Time,
) *pki.Authority {
	t.Helper()
	fields := pki.AuthorityFields{
		Subject: pki.Subject{CommonName: name}, KeyType: pki.KeyECDSAP256, Duration: life, Generation: 1,
	}
	if parent == nil {
		fields.MaxPathLength = 1
	}
	request, err := pki.NewAuthorityRequest(fields)
	if err != nil {
		t.Fatal(err)
	}
	sign := pki.SelfSign
	if parent != nil {
		sign = parent.SignAuthority
	}
	ca, err := sign(request, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// shorten the life of the parent, so that the child ends with it.
func (f *family) shorten(s *scene) {
	f.Helper()
	f.cas[1] = signedCA(f, "root", nil, caLife, noon)
	s.of(1).Issuer = intermediate(f, f.cas[1])
	s.Parent.Signer = f.cas[1].Issuer()
}

var errWish = errors.New("duration: x")
