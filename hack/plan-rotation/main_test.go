package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func TestEveryStepAndEveryBlockerHasALine(t *testing.T) {
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	blocked := plan.RotationPlan{
		Stage: "Distributing", Message: "waits for Pod shop/web",
		Blockers: []plan.Blocker{{Kind: "Pod", Namespace: "shop", Name: "web", Message: "restart it"}},
	}
	mint := plan.Step{Kind: plan.StepMint, Number: 2, Cause: "RenewalDue"}
	var out strings.Builder
	err := write(&out, []plan.Moment{
		{At: noon, Plan: plan.RotationPlan{Stage: "Stable", Due: noon.Add(time.Hour)}},
		{At: noon.Add(time.Hour), Plan: plan.RotationPlan{Stage: "Stable", Step: mint}},
		{At: noon.Add(2 * time.Hour), Plan: blocked},
		{At: noon.Add(3 * time.Hour), Plan: blocked}, // nothing new
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `AT                    STAGE         STEP     WHAT
2026-11-25T12:00:00Z  Stable        -        the next generation is made at 2026-11-25T13:00:00Z
2026-11-25T13:00:00Z  Stable        Mint 2   RenewalDue
2026-11-25T14:00:00Z  Distributing  -        waits for Pod shop/web
                                    blocked  Pod shop/web: restart it
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
