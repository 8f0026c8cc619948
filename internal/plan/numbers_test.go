package plan_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func TestNumbersAreReadFrom(t *testing.T) {
	for sentence, c := range map[string]struct{ text, want string }{
		"nothing":                         {"", ""},
		"one number":                      {"7", "7"},
		"a list in any order with spaces": {" 7, 3 ,5", "3,5,7"},
		"the same number twice":           {"3,3", "3"},
		"all up to one":                   {"<=5", "<=5"},
		"all up to one, and more":         {"<=5,7", "<=5,7"},
		"numbers that follow":             {"3,4,5,7,8", "3-5,7-8"},
		"numbers that follow the first":   {"1,2,3", "<=3"},
		"the first alone":                 {"1", "<=1"},
		"a range":                         {"3-5", "3-5"},
		"ranges that touch and overlap":   {"8-9,3-5,6-8", "3-9"},
		"several limits":                  {"<=2,<=4", "<=4"},
		"no numbers at all":               {"x,<=,-1,0,<=0,1.5,0x2,<=-3,-,3-,-3,5-3,<=2-3,1 2", ""},
		"numbers among what is none":      {"x,4,,y", "4"},
		"a number too large":              {"99999999999999999999,2", "2"},
		"the largest number":              {"<=9223372036854775807,9223372036854775807", "<=9223372036854775807"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := plan.ParseNumbers(c.text).String(); got != c.want {
				t.Errorf("%q is %q, want %q", c.text, got, c.want)
			}
		})
	}
}

func TestASetOfNumbers(t *testing.T) {
	largest := int64(math.MaxInt64)
	set := plan.NewNumbers(largest, 3, -1, 0).With(largest-1, 1)
	for number, want := range map[int64]bool{-1: false, 0: false, 1: true, 2: false, 3: true, 4: false, largest: true} {
		if got := set.Has(number); got != want {
			t.Errorf("%s has %d: %t", set, number, got)
		}
	}
	if set.Max() != largest || set.Empty() {
		t.Errorf("the highest of %s is %d, empty %t", set, set.Max(), set.Empty())
	}
	if none := (plan.Numbers{}); none.Max() != 0 || !none.Empty() || none.String() != "" {
		t.Errorf("the empty set is %q, its highest %d", none, none.Max())
	}
}

// Thousands of generations that were given up one after the other, while the first one signs: an annotation holds 256 KiB.
func TestManyNumbersStayShort(t *testing.T) {
	var set plan.Numbers
	for number := range int64(10_000) {
		set = set.With(number + 2)
	}
	if got := set.String(); got != "2-10001" {
		t.Errorf("it is %q", got)
	}
}

func TestSetsOfNumbersAreSets(t *testing.T) {
	numbers := rapid.SliceOfN(rapid.Int64Range(-2, 20), 0, 20)
	rapid.Check(t, func(t *rapid.T) {
		one, other := numbers.Draw(t, "one"), numbers.Draw(t, "other")
		set, text := plan.NewNumbers(one...), plan.NewNumbers(one...).String()
		both := set.Union(plan.NewNumbers(other...))
		for number := range int64(22) {
			isIn, isInBoth := slices.Contains(one, number), slices.Contains(slices.Concat(one, other), number)
			if number > 0 && set.Has(number) != isIn || number > 0 && both.Has(number) != isInBoth || set.Has(0) {
				t.Fatalf("%d: %v is %s, with %v %s", number, one, set, other, both)
			}
		}
		if got := plan.ParseNumbers(text).String(); got != text {
			t.Fatalf("%s is read as %s", text, got)
		}
		if want := max(0, slices.Max(append([]int64{0}, one...))); set.Max() != want || set.Empty() != (want == 0) {
			t.Fatalf("the highest of %s is %d, empty %t", set, set.Max(), set.Empty())
		}
		if set.String() != text || set.With(other...).String() != both.String() {
			t.Fatalf("%s was changed, or with %v isn't %s", text, other, both)
		}
	})
}

// Whatever a person writes, it is read without a panic, and what is read can be written.
func TestAnyTextIsReadAsNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`([<=, 0-9x-]{0,9},?){0,4}`)).Draw(t, "text")
		set := plan.ParseNumbers(text)
		if again := plan.ParseNumbers(set.String()); again.String() != set.String() || again.Max() != set.Max() {
			t.Fatalf("%q is %s, which is read as %s", text, set, again)
		}
	})
}
