package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// What people write is read as they meant it, or told.
func TestOrdersAreReadOrTold(t *testing.T) {
	fingerprint := strings.Repeat("0a", 32)
	for sentence, c := range map[string]struct {
		annotation, value, unread string
		want                      plan.Orders
	}{
		"one":              {v1alpha1.AbortAnnotation, "2", "", plan.Orders{Abort: plan.NewNumbers(2)}},
		"two, with spaces": {v1alpha1.CompromisedAnnotation, " 1 , 3", "", plan.Orders{Compromised: plan.NewNumbers(1, 3)}},
		"none":             {v1alpha1.IgnoreBlockersAnnotation, "", "", plan.Orders{}},
		"a fingerprint":    {v1alpha1.AdoptRootAnnotation, fingerprint, "", plan.Orders{AdoptRoots: []string{fingerprint}}},
		"as openssl tells": {
			v1alpha1.AdoptRootAnnotation, strings.TrimSuffix(strings.Repeat("0A:", 32), ":"), "",
			plan.Orders{AdoptRoots: []string{fingerprint}},
		},
		"a request": {v1alpha1.RotateRequestedAtAnnotation, "now, please", "", plan.Orders{Rotate: "now, please"}},
		"what is no number": {
			v1alpha1.CompromisedAnnotation, "true", `compromised: "true" says nothing: write the numbers of CAs`,
			plan.Orders{},
		},
		"one, and no number": {
			v1alpha1.IgnoreBlockersAnnotation, "2,all", `ignore-blockers: "all"`,
			plan.Orders{IgnoreBlockers: plan.NewNumbers(2)},
		},
		"a range":            {v1alpha1.AbortAnnotation, "<=99", `abort: "<=99"`, plan.Orders{}},
		"zero":               {v1alpha1.AbortAnnotation, "0", `abort: "0"`, plan.Orders{}},
		"half a fingerprint": {v1alpha1.AdoptRootAnnotation, fingerprint[:32], "adopt-root: ", plan.Orders{}},
		"no fingerprint": {
			v1alpha1.AdoptRootAnnotation, strings.Repeat("x", 1000), "xxx\" says nothing: write the SHA-256",
			plan.Orders{},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := plan.NewOrders(map[string]string{c.annotation: c.value})
			if !strings.Contains(got.Unread, c.unread) || c.unread == "" && got.Unread != "" || len(got.Unread) > 200 {
				t.Errorf("it is told %q, want %q", got.Unread, c.unread)
			}
			got.Unread = ""
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(plan.Numbers{}), cmp.Comparer(func(a, b plan.Numbers) bool {
				return a.String() == b.String()
			})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Nothing that a person asks for is ignored without a word.
func TestWhatIsAskedForInVainIsTold(t *testing.T) {
	for sentence, c := range map[string]struct {
		edit func(*scene)
		says string
	}{
		"it can't be read": {func(s *scene) { s.Orders.Unread = "annotation x" }, "annotation x"},
		"there is no such CA": {
			func(s *scene) { s.Orders.Compromised = plan.NewNumbers(2) },
			"compromised: there is no CA 2, the newest is 1",
		},
		"there isn't one yet": {
			func(s *scene) { s.Orders.Abort = plan.NewNumbers(3) },
			"abort: there is no CA 3, the newest is 1",
		},
		"there is no other CA": {
			func(s *scene) { s.Orders.Abort = plan.NewNumbers(1) },
			"abort: CA 1 signs, and there is no other to go back to",
		},
		"its CA isn't made here": {
			func(s *scene) { s.Orders.Rotate, s.Wish.ImportedSecret = "now", "pair" },
			`put another pair into Secret "pair"`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := stable(t)
			c.edit(s)
			got := s.at(today)
			wantVerdict(t, "stalled", got.Stalled, v1alpha1.ReasonInvalidAnnotation, c.says)
			if got.Step.Kind != "" {
				t.Errorf("%+v is done", got.Step)
			}
		})
	}
}
