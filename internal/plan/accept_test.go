package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

const ourName = "pki/my-ca"

// family is the generations of an authority with their keys, to be planted among.
type family struct {
	testing.TB

	cas map[int64]*pki.Authority
	all []plan.Generation
}

func newFamily(t testing.TB) *family { return &family{TB: t, cas: map[int64]*pki.Authority{}} }

// add a generation that signed, as the operator or somebody else made it.
func (f *family) add(number int64, edits ...func(*plan.Generation)) *family {
	f.Helper()
	ca := newCA(f, year, noon)
	f.cas[number] = ca
	g := plan.Generation{Number: number, Issuer: ca.Issuer(), Activated: noon, Cause: v1alpha1.CauseDue}
	for _, edit := range edits {
		edit(&g)
	}
	f.all = append(f.all, g)
	return f
}

// endorsedBy one of the family, as a generation with a number of an authority.
func (f *family) endorsedBy(by int64, authority string, number int64) func(*plan.Generation) {
	return func(g *plan.Generation) {
		f.Helper()
		signature, err := f.cas[by].Endorse(pki.Endorsement{
			Authority: authority, Number: number, Fingerprint: g.Issuer.Fingerprint(),
		})
		if err != nil {
			f.Fatal(err)
		}
		g.EndorsedBy = signature
	}
}

// known are the fingerprints of some of the family.
func (f *family) known(numbers ...int64) map[int64]string {
	known := map[int64]string{}
	for _, g := range f.all {
		if slices.Contains(numbers, g.Number) {
			known[g.Number] = g.Issuer.Fingerprint()
		}
	}
	return known
}

func unsigned(g *plan.Generation) { g.Activated = time.Time{} }

func lostCause(g *plan.Generation) { g.Cause = v1alpha1.CauseLost }

func noKey(g *plan.Generation) { g.Keyless, g.Cause = true, v1alpha1.CauseLost }

func gone(g *plan.Generation) { g.Withdrawn, g.WithdrawnFor = noon, v1alpha1.WithdrawnOutdated }

func unusable(g *plan.Generation) { g.Problem = "tls.crt: is missing" }

func TestAGenerationIsAcceptedWhen(t *testing.T) {
	for sentence, c := range map[string]struct {
		family func(*family)
		known  []int64
	}{
		"it is the first, and nothing is known of the authority": {func(f *family) { f.add(1) }, nil},
		"status knows it": {func(f *family) { f.add(1).add(2) }, []int64{1, 2}},
		"the one before it endorsed it": {func(f *family) {
			f.add(1).add(2, f.endorsedBy(1, ourName, 2), unsigned)
		}, []int64{1}},
		"one long before it endorsed it": {func(f *family) {
			f.add(1).add(7, f.endorsedBy(1, ourName, 7))
		}, []int64{1}},
		"each endorsed the next, and status knows the first": {func(f *family) {
			f.add(1).add(2, f.endorsedBy(1, ourName, 2)).add(3, f.endorsedBy(2, ourName, 3))
		}, []int64{1}},
		"each endorsed the next, and nothing is known: a restored authority": {func(f *family) {
			f.add(4).add(5, f.endorsedBy(4, ourName, 5)).add(6, f.endorsedBy(5, ourName, 6), unsigned)
		}, nil},
		"what endorsed it is known only by status, and is newer than others": {func(f *family) {
			f.add(2).add(3, f.endorsedBy(2, ourName, 3))
		}, []int64{2}},
		"keys were lost, and it takes their place": {
			func(f *family) { f.add(1, noKey).add(2, lostCause, unsigned) }, []int64{1, 2},
		},
		"keys were lost, and nothing is left": {func(f *family) { f.add(2, lostCause, unsigned) }, []int64{2}},
		"the one before it may never sign again, and it takes its place": {func(f *family) {
			f.add(1, gone).add(3, lostCause, unsigned)
		}, []int64{1, 3}},
		"the lost one between them is kept without its key": {func(f *family) {
			f.add(1, gone).add(2, noKey).add(3, lostCause, unsigned)
		}, []int64{1, 2, 3}},
	} {
		t.Run(sentence, func(t *testing.T) { wantAccepted(t, c.family, c.known, nil) })
	}
}

// wantAccepted fails unless exactly some of the family are refused.
func wantAccepted(t *testing.T, build func(*family), known, refused []int64) {
	t.Helper()
	f := newFamily(t)
	build(f)
	slices.Reverse(f.all) // in any order
	for _, g := range plan.Accept(ourName, f.all, f.known(known...)) {
		if is := g.Problem != ""; is != slices.Contains(refused, g.Number) {
			t.Errorf("generation %d is refused: %t: %s", g.Number, is, g.Problem)
		}
	}
}

func TestAGenerationIsRefusedWhen(t *testing.T) {
	for sentence, c := range map[string]struct {
		family  func(*family)
		known   []int64
		refused []int64
	}{
		"nobody endorsed it":           {func(f *family) { f.add(1).add(2) }, []int64{1}, []int64{2}},
		"it waits to sign, unendorsed": {func(f *family) { f.add(1).add(2, unsigned) }, []int64{1}, []int64{2}},
		"its number is lower":          {func(f *family) { f.add(1).add(2) }, []int64{2}, []int64{1}},
		"it has a lower number and a newer one's endorsement": {func(f *family) {
			f.add(2).add(1, f.endorsedBy(2, ourName, 1))
		}, []int64{2}, []int64{1}},
		"the endorsement is for another number": {func(f *family) {
			f.add(1).add(3, f.endorsedBy(1, ourName, 2))
		}, []int64{1}, []int64{3}},
		"the endorsement is for another authority": {func(f *family) {
			f.add(1).add(2, f.endorsedBy(1, "shop/my-ca", 2))
		}, []int64{1}, []int64{2}},
		"the CA of another authority endorsed it": {func(f *family) {
			f.add(1)
			own := f.cas[1]
			f.cas[1] = newCA(f, year, noon)
			f.add(2, f.endorsedBy(1, ourName, 2))
			f.cas[1] = own
		}, []int64{1}, []int64{2}},
		"it endorsed itself": {func(f *family) {
			f.add(1).add(2, func(g *plan.Generation) { f.endorsedBy(2, ourName, 2)(g) })
		}, []int64{1}, []int64{2}},
		"the endorsement is of another certificate": {func(f *family) {
			f.add(1).add(2, f.endorsedBy(1, ourName, 2))
			f.all[1].Issuer = newCA(f, year, noon).Issuer()
		}, []int64{1}, []int64{2}},
		"the one that endorsed it isn't accepted": {func(f *family) {
			f.add(1).add(2).add(3, f.endorsedBy(2, ourName, 3))
		}, []int64{1}, []int64{2, 3}},
		"the one that endorsed it is broken": {func(f *family) {
			f.add(1).add(2, f.endorsedBy(1, ourName, 2))
			unusable(&f.all[0])
			f.add(3)
		}, []int64{3}, []int64{1, 2}},
		"it says that keys were lost, and one signs": {func(f *family) {
			f.add(1).add(2, lostCause, unsigned)
		}, []int64{1}, []int64{2}},
		"it says that keys were lost, and an older one signs": {func(f *family) {
			f.add(1).add(2, gone, f.endorsedBy(1, ourName, 2)).add(3, lostCause)
		}, []int64{1, 2}, []int64{3}},
		"it says that its own key was lost, and one signs": {func(f *family) {
			f.add(1).add(2, noKey)
		}, []int64{1}, []int64{2}},
		"keys were lost, and it only says so": {
			func(f *family) { f.add(1, noKey).add(2, lostCause) }, []int64{1}, []int64{2},
		},
		"keys were lost, and it says that it signs": {func(f *family) { f.add(1, noKey).add(2) }, []int64{1}, []int64{2}},
		"it is another's with a known certificate": {func(f *family) {
			f.add(1).add(2, noKey)
			f.all[1].Issuer = f.all[0].Issuer
		}, []int64{1}, []int64{2}},
		"it is the second and nothing is known": {func(f *family) { f.add(1).add(2) }, nil, []int64{2}},
		"nothing is known and it never signed":  {func(f *family) { f.add(1, unsigned) }, nil, []int64{1}},
		"it is broken, whatever is known":       {func(f *family) { f.add(1, unusable) }, []int64{1}, []int64{1}},
	} {
		t.Run(sentence, func(t *testing.T) { wantAccepted(t, c.family, c.known, c.refused) })
	}
}

func TestWhyAGenerationIsRefused(t *testing.T) {
	f := newFamily(t).add(1).add(2).add(3, unusable)
	got := plan.Accept(ourName, f.all, f.known(1))
	if want := `no earlier CA of MTLSAuthority "pki/my-ca" endorsed it`; !strings.Contains(got[1].Problem, want) {
		t.Errorf("it says %q, want %q", got[1].Problem, want)
	}
	if got[2].Problem != "tls.crt: is missing" {
		t.Errorf("the problem there was became %q", got[2].Problem)
	}
	if f.all[1].Problem != "" {
		t.Error("what was given was changed")
	}
}

// A planted Secret neither signs nor is trusted, and doesn't stop the rotation it was planted for.
func TestAPlantedGenerationIsOfNoEffect(t *testing.T) {
	f := newFamily(t).add(1).add(2)
	l := plan.NewLineage(plan.Accept(ourName, f.all, f.known(1)))
	if got := rolesOf(l); got != "live [1] signer 1 next 0 retiring [] dead [] refused [2]" {
		t.Error(got)
	}
	if l.Bundle().Contains(f.cas[2].Issuer().Certificate()) {
		t.Error("it is trusted")
	}
}

// After a backup from before the last rotation: the old CA may not sign, and what takes its place is accepted in the next
// pass, or there would be one more with every pass.
func TestWhatTakesThePlaceOfAnOutdatedCAIsAccepted(t *testing.T) {
	f := newFamily(t).add(1, gone).add(3, lostCause, unsigned)
	l := plan.NewLineage(plan.Accept(ourName, f.all, f.known(1, 3)))
	if got := rolesOf(l); got != "live [1 3] signer 0 next 3 retiring [1] dead [] refused []" {
		t.Error(got)
	}
}
