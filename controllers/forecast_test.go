package controllers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAForecastTellsTheNextRotationAndWritesNothing(t *testing.T) {
	r := newRotating(t, "a")
	made := r.clock.Now()
	r.requests.reset()

	moments, err := r.authorities.forecast(r.ctx, client.ObjectKeyFromObject(r.authority), 8760*time.Hour)
	r.check(err)

	var steps []string
	for _, moment := range moments {
		if step := moment.Plan.Step; step.Kind != "" {
			after := moment.At.Sub(made).Round(time.Minute)
			steps = append(steps, fmt.Sprintf("%s %d after %s", step.Kind, step.Number, after))
		}
	}
	want := []string{
		"Mint 2 after 5840h0m0s", "Activate 2 after 5840h5m0s", "Retire 1 after 5840h10m0s", "Delete 1 after 5840h10m0s",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("the steps are %q, want %q", steps, want)
	}
	if writes := r.requests.writes(); len(writes) > 0 {
		t.Errorf("a forecast writes: %v", writes)
	}
}
