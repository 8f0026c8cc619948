package main

import (
	"context"
	"slices"
	"time"
)

// shortest is the shortest life of a certificate: it is renewed after two thirds of it.
const shortest = 10 * time.Minute

// wave lets n certificates that were made together become due together, and measures how late each was renewed.
func (b *bench) wave(ctx context.Context, n int) (figures, error) {
	b.load.duration = shortest
	if _, err := b.load.make(ctx, n); err != nil {
		return nil, err
	}
	if err := b.load.await(ctx, shortest/2); err != nil {
		return nil, err
	}
	before, err := b.sample(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.load.until(ctx, shortest, "certificates being renewed", func() (done, of int) {
		return len(b.load.renewed), b.load.made
	}); err != nil {
		return nil, err
	}
	f, err := b.use(ctx, before, n)
	if err != nil {
		return nil, err
	}
	late, took := b.load.lateness()
	f[seconds], f[p50], f[p99] = took.Seconds(), percentile(late, 50), percentile(late, 99)
	return f, b.load.verify(ctx)
}

// lateness of renewals in seconds, sorted, and the time from the first to the last.
func (l *load) lateness() (sorted []float64, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first, last time.Time
	for name, renewed := range l.renewed {
		sorted = append(sorted, renewed.Sub(l.due[name]).Seconds())
		if first.IsZero() || renewed.Before(first) {
			first = renewed
		}
		if renewed.After(last) {
			last = renewed
		}
	}
	slices.Sort(sorted)
	return sorted, last.Sub(first)
}
