package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const (
	ecdsaP256 v1alpha1.KeyType = "ECDSAP256"
	rsa2048   v1alpha1.KeyType = "RSA2048"
)

// scenario is what a contender goes through on a server of its own: steps, one after the other.
type scenario struct {
	name          string
	n, namespaces int
	operators     int // that share the namespaces
	key           v1alpha1.KeyType
	steps         []step
	plotted       bool
}

// step is one measurement. The floor takes part in those that it can do.
type step struct {
	name  string // empty: that of the scenario
	floor bool
	run   func(context.Context, *bench, int) (figures, error)
	// profiled: what is done here is worth knowing.
	profiled bool
}

var (
	issue = step{floor: true, profiled: true, run: func(ctx context.Context, b *bench, n int) (figures, error) {
		return b.issue(ctx, n)
	}}
	alone = step{name: "one at a time", floor: true, run: func(ctx context.Context, b *bench, _ int) (figures, error) {
		return b.alone(ctx, 100)
	}}
	idle = step{name: "at rest", run: func(ctx context.Context, b *bench, _ int) (figures, error) {
		return b.idle(ctx, time.Minute)
	}}
	restart = step{name: "restart", run: func(ctx context.Context, b *bench, _ int) (figures, error) {
		return b.restart(ctx)
	}}
	replan = step{name: "another look", profiled: true, run: func(ctx context.Context, b *bench, _ int) (figures, error) {
		return b.replan(ctx)
	}}
	rotate = step{name: "CA rotation", profiled: true, run: func(ctx context.Context, b *bench, _ int) (figures, error) {
		return b.rotate(ctx)
	}}
	wave = step{name: "renewal", profiled: true, run: func(ctx context.Context, b *bench, n int) (figures, error) {
		return b.wave(ctx, n)
	}}
)

// scenarios for numbers of certificates. RSA keys take long to make, and that is all there is to learn from them.
func (o *options) scenarios() []scenario {
	var all []scenario
	add := func(n, namespaces int, key v1alpha1.KeyType, title string, steps ...step) *scenario {
		name := fmt.Sprintf("%d %s in %d namespaces%s", n, key, namespaces, title)
		all = append(all, scenario{name: name, n: n, namespaces: namespaces, operators: 1, key: key, steps: steps})
		return &all[len(all)-1]
	}
	if o.scale > 0 {
		fill := issue
		fill.floor = false // it keeps nothing, so there is nothing to learn from it
		add(o.scale, o.namespaces, ecdsaP256, "", fill, idle, restart, replan)
		add(o.scale, o.namespaces, ecdsaP256, ", two operators", fill, idle, restart).operators = 2
		return all
	}
	for _, n := range o.sizes {
		add(n, o.namespaces, ecdsaP256, "", issue, alone, idle, restart, rotate).plotted = true
	}
	largest := slices.Max(o.sizes)
	add(min(largest, 1000), o.namespaces, rsa2048, "", issue)
	add(largest, 1, ecdsaP256, "", issue)
	add(largest, o.namespaces, ecdsaP256, ", short-lived", wave)
	return all
}

// measure a contender.
func (s scenario) measure(ctx context.Context, root string, c contender, all *results) error {
	takesPart := func(st step) bool { return st.floor || c.name != "floor" }
	if !slices.ContainsFunc(s.steps, takesPart) {
		return nil
	}
	b, err := s.begin(ctx, root, c)
	if err != nil {
		return err
	}
	defer b.end()
	for _, st := range s.steps {
		if !takesPart(st) {
			continue
		}
		what := s.name
		if st.name != "" {
			what += ", " + st.name
		}
		finish := func() error { return nil }
		if st.profiled {
			finish = b.profile(ctx, what)
		}
		f, err := st.run(ctx, b, s.n)
		if err := errors.Join(err, finish()); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		if s.plotted && st.name == "" {
			f[plotted] = float64(s.n)
		}
		all.add(what, c.name, f)
	}
	return nil
}
