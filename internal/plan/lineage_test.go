package plan_test

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// rolesOf writes a lineage in one line: the roles of the live ones, then the dead, then the refused.
func rolesOf(l plan.Lineage) string {
	numbers := func(all []plan.Generation) []int64 {
		var found []int64
		for _, g := range all {
			found = append(found, g.Number)
		}
		return found
	}
	signer, _ := l.Signer()
	next, _ := l.Next()
	return fmt.Sprintf("live %d signer %d next %d retiring %d dead %d refused %d", numbers(l.Live), signer.Number, next.Number,
		numbers(l.Retiring()), numbers(l.Dead), numbers(l.Refused))
}

func TestTheRolesOfGenerations(t *testing.T) {
	signed := func(number int64) plan.Generation { return plan.Generation{Number: number, Activated: noon} }
	withdrawn := func(g plan.Generation) plan.Generation { g.Withdrawn = noon; return g }
	keyless := func(g plan.Generation) plan.Generation { g.Keyless = true; return g }
	broken := func(g plan.Generation) plan.Generation { g.Problem = "x"; return g }
	retired := func(g plan.Generation, numbers ...int64) plan.Generation {
		g.Retired = plan.NewNumbers(numbers...)
		return g
	}
	two := plan.Generation{Number: 2}
	for sentence, c := range map[string]struct {
		all  []plan.Generation
		want string
	}{
		"none":      {nil, "live [] signer 0 next 0 retiring [] dead [] refused []"},
		"one signs": {[]plan.Generation{signed(1)}, "live [1] signer 1 next 0 retiring [] dead [] refused []"},
		"one waits to sign": {
			[]plan.Generation{two, signed(1)}, "live [1 2] signer 1 next 2 retiring [] dead [] refused []",
		},
		"the newest signs": {
			[]plan.Generation{signed(3), signed(1), signed(2)}, "live [1 2 3] signer 3 next 0 retiring [1 2] dead [] refused []",
		},
		"a next beside one that goes": {
			[]plan.Generation{signed(1), signed(2), {Number: 3}}, "live [1 2 3] signer 2 next 3 retiring [1] dead [] refused []",
		},
		"two next: the newer one is": {
			[]plan.Generation{signed(1), two, {Number: 3}}, "live [1 2 3] signer 1 next 3 retiring [2] dead [] refused []",
		},
		"one that never signed is late": {
			[]plan.Generation{{Number: 1}, signed(2)}, "live [1 2] signer 2 next 0 retiring [1] dead [] refused []",
		},
		"one withdrawn before it signed": {
			[]plan.Generation{signed(1), withdrawn(two)}, "live [1] signer 1 next 0 retiring [] dead [2] refused []",
		},
		"one withdrawn that signed: the one before it signs again": {
			[]plan.Generation{signed(1), withdrawn(signed(2))}, "live [1 2] signer 1 next 0 retiring [2] dead [] refused []",
		},
		"a next after a withdrawn one": {
			[]plan.Generation{signed(1), withdrawn(signed(2)), {Number: 3}},
			"live [1 2 3] signer 1 next 3 retiring [2] dead [] refused []",
		},
		"all withdrawn": {
			[]plan.Generation{withdrawn(signed(1))}, "live [1] signer 0 next 0 retiring [1] dead [] refused []",
		},
		"one without a key": {[]plan.Generation{keyless(signed(1))}, "live [1] signer 0 next 0 retiring [1] dead [] refused []"},
		"never one without": {
			[]plan.Generation{signed(1), keyless(two)}, "live [1 2] signer 1 next 0 retiring [2] dead [] refused []",
		},
		"a next for a lost one": {
			[]plan.Generation{keyless(signed(1)), two}, "live [1 2] signer 0 next 2 retiring [1] dead [] refused []",
		},
		"a broken one": {
			[]plan.Generation{signed(1), broken(signed(2))}, "live [1] signer 1 next 0 retiring [] dead [] refused [2]",
		},
		"one that retired": {
			[]plan.Generation{signed(1), retired(signed(2), 1)}, "live [2] signer 2 next 0 retiring [] dead [1] refused []",
		},
		"one that retired, as another recorded": {
			[]plan.Generation{signed(1), retired(signed(2), 1), signed(3)},
			"live [2 3] signer 3 next 0 retiring [2] dead [1] refused []",
		},
		"a broken one retires nothing": {
			[]plan.Generation{signed(1), broken(retired(signed(2), 1))}, "live [1] signer 1 next 0 retiring [] dead [] refused [2]",
		},
		"one that is being deleted, while it lasts": {
			[]plan.Generation{signed(1), {Number: 2, Activated: noon, Deleting: true}},
			"live [1 2] signer 2 next 0 retiring [1] dead [] refused []",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			slices.Reverse(c.all) // in any order
			if got := rolesOf(plan.NewLineage(c.all)); got != c.want {
				t.Errorf("got\n%s, want\n%s", got, c.want)
			}
		})
	}
}

func TestALineageIsFoundBy(t *testing.T) {
	l := plan.NewLineage([]plan.Generation{
		{Number: 3, Activated: noon, Retired: plan.NewNumbers(1, 6)},
		{Number: 1},
		{Number: 2, Activated: noon},
		{Number: 9, Problem: "x"},
	})
	if got, found := l.Find(2); !found || got.Number != 2 {
		t.Errorf("generation 2 is %v, found %t", got, found)
	}
	for _, number := range []int64{0, 1, 4, 9} {
		if _, found := l.Find(number); found {
			t.Errorf("%d is found, and is dead, refused or isn't there", number)
		}
	}
	if beside := l.Beside(3); len(beside) != 1 || beside[0].Number != 2 || len(l.Live) != 2 {
		t.Errorf("beside 3 is %v", beside)
	}
}

// Whoever may create Secrets could use up the numbers by one Secret with the highest, if that counted.
func TestTheNewestNumber(t *testing.T) {
	planted := plan.Generation{Number: 1<<63 - 1, Problem: "not endorsed"}
	near := []plan.Generation{{Number: 4, Problem: "x"}, {Number: 5, Problem: "x"}, {Number: 7, Problem: "x"}}
	l := plan.NewLineage(append(near, planted, plan.Generation{Number: 3, Activated: noon, Retired: plan.NewNumbers(1)}))
	if l.Newest() != 3 || l.Free(l.Newest()) != 6 || l.Free(6) != 8 {
		t.Errorf("newest %d, free after it %d, after 6 %d; want 3, 6, 8", l.Newest(), l.Free(l.Newest()), l.Free(6))
	}
	if l = plan.NewLineage(nil); l.Newest() != 0 || l.Free(0) != 1 {
		t.Errorf("without any: newest %d, free %d", l.Newest(), l.Free(0))
	}
	dead := plan.Generation{Number: 5, Withdrawn: noon}
	if l = plan.NewLineage([]plan.Generation{{Number: 3, Retired: plan.NewNumbers(4)}, dead}); l.Newest() != 5 {
		t.Errorf("newest is %d, want the dead 5", l.Newest())
	}
}

func TestTheBundleIsTheRootsOfAllThatLive(t *testing.T) {
	issuer := func() pki.Issuer { return newCA(t, year, noon).Issuer() }
	one, two, dead, broken := issuer(), issuer(), issuer(), issuer()
	l := plan.NewLineage([]plan.Generation{
		{Number: 1, Activated: noon, Issuer: one, Withdrawn: noon},
		{Number: 2, Issuer: two, SignedBy: "pki/root"},
		{Number: 3, Issuer: dead, Withdrawn: noon},
		{Number: 4, Issuer: broken, Problem: "x"},
		{Number: 5, Issuer: one, Keyless: true},
	})
	if got, want := l.Bundle().Hash(), one.Bundle().Union(two.Bundle()).Hash(); got != want {
		t.Errorf("it holds %d roots, want those of 1 and 2", l.Bundle().Len())
	}
	if got := l.BundleBeside(above("root")); got.Hash() != one.Bundle().Hash() {
		t.Errorf("beside those of its parent it holds %d roots, want one", got.Len())
	}
	if got := l.BundleBeside(above("other")); got.Len() != 2 {
		t.Errorf("beside those of another authority it holds %d roots, want two", got.Len())
	}
}

// A CA whose authority was deleted and made anew is no CA of the new one: its root stays until it is replaced.
func TestARootOfAnAuthorityThatWasMadeAnewStays(t *testing.T) {
	l := plan.NewLineage([]plan.Generation{{
		Number: 1, Activated: noon, Issuer: newCA(t, year, noon).Issuer(), SignedBy: "pki/root", SignedByUID: "before",
	}})
	now, restored := above("root"), above("root")
	now.UID, restored.UID = "now", "now"
	restored.Annotations = map[string]string{v1alpha1.MadeForAnnotation: "pki/root/before"}
	if got := l.BundleBeside(now); got.Len() != 1 {
		t.Errorf("of another one of that name it holds %d roots", got.Len())
	}
	if got := l.BundleBeside(restored); got.Len() != 0 {
		t.Errorf("of the one that was restored it holds %d roots", got.Len())
	}
}

func above(name string) *metav1.ObjectMeta { return &metav1.ObjectMeta{Namespace: "pki", Name: name} }

func TestACertificateIsOn(t *testing.T) {
	c := running(t)
	leaf, issuer, other := c.leaf(), c.in.Issuer, newCA(t, year, noon).Issuer()
	signed := func(number int64, i pki.Issuer) plan.Generation {
		return plan.Generation{Number: number, Activated: noon, Issuer: i}
	}
	gone := func(g plan.Generation) plan.Generation { g.Withdrawn = noon; return g }
	keyless := func(g plan.Generation) plan.Generation { g.Keyless, g.Cause = true, v1alpha1.CauseLost; return g }
	for sentence, c := range map[string]struct {
		all  []plan.Generation
		want int64
	}{
		"none of none":                          {nil, 0},
		"none that didn't sign it":              {[]plan.Generation{signed(1, other)}, 0},
		"the one that signed it":                {[]plan.Generation{signed(1, issuer), signed(2, other)}, 1},
		"the newer of two with its key":         {[]plan.Generation{signed(1, issuer), signed(2, issuer)}, 2},
		"the next of two with its key":          {[]plan.Generation{signed(1, issuer), {Number: 2, Issuer: issuer}}, 2},
		"none that is dead":                     {[]plan.Generation{gone(plan.Generation{Number: 1, Issuer: issuer})}, 0},
		"the one that signs again with its key": {[]plan.Generation{signed(1, issuer), gone(signed(2, issuer))}, 1},
		"one that was withdrawn":                {[]plan.Generation{signed(1, other), gone(signed(2, issuer))}, 2},
		"the newer of two that were withdrawn":  {[]plan.Generation{gone(signed(1, issuer)), gone(signed(2, issuer))}, 2},
		"one whose key was lost":                {[]plan.Generation{keyless(signed(1, issuer)), signed(2, other)}, 1},
		"not a copy without its key":            {[]plan.Generation{signed(1, issuer), keyless(signed(9, issuer))}, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := plan.NewLineage(c.all).On(leaf); got != c.want {
				t.Errorf("it is on %d, want %d", got, c.want)
			}
		})
	}
}
