package plan_test

import (
	"math"
	"testing"

	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// Whatever others say the highest number is, the next one is a number.
func TestAFreeNumberIsANumber(t *testing.T) {
	refused := func(numbers ...int64) []plan.Generation {
		var all []plan.Generation
		for _, number := range numbers {
			all = append(all, plan.Generation{Number: number, Problem: "x"})
		}
		return all
	}
	for sentence, c := range map[string]struct {
		all         []plan.Generation
		above, want int64
	}{
		"the first":                     {nil, 0, 1},
		"one that others don't have":    {refused(1, 2, 4), 0, 3},
		"the last":                      {nil, plan.MaxNumber - 1, plan.MaxNumber},
		"none above the last":           {nil, plan.MaxNumber, plan.MaxNumber},
		"none above the last of others": {refused(plan.MaxNumber-1, plan.MaxNumber), plan.MaxNumber - 2, plan.MaxNumber},
		"none after the highest int64":  {nil, math.MaxInt64, plan.MaxNumber},
		"none when others have that":    {refused(math.MaxInt64, math.MaxInt64-1), math.MaxInt64 - 2, plan.MaxNumber},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := plan.NewLineage(c.all).Free(c.above); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}
