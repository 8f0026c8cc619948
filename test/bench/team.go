package main

import (
	"context"
	"errors"
	"time"
)

// team is the processes of a contender: one for everything, or one for each share of the namespaces.
type team []*running

// startAll starts a contender's processes, one for each share; a share of no namespaces is all there are.
func (c contender) startAll(ctx context.Context, s *server, shares [][]string) (team, error) {
	all := make(team, 0, len(shares))
	for _, share := range shares {
		r, err := c.start(ctx, s, share)
		if r != nil {
			all = append(all, r)
		}
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// again starts new processes after those were stopped.
func (t team) again(ctx context.Context) (team, error) {
	shares := make([][]string, 0, len(t))
	for _, r := range t {
		shares = append(shares, r.namespaces)
	}
	return t[0].startAll(ctx, t[0].server, shares)
}

func (t team) stop() {
	for _, r := range t {
		r.stop()
	}
}

// cpu is the time that all have used until now.
func (t team) cpu() (time.Duration, error) {
	var sum time.Duration
	var failed error
	for _, r := range t {
		used, err := r.cpu()
		sum, failed = sum+used, errors.Join(failed, err)
	}
	return sum, failed
}

// memory of the one that has most, in MiB.
func (t team) memory() (now, peak float64, err error) {
	for _, r := range t {
		rNow, rPeak, rErr := r.memory()
		now, peak, err = max(now, rNow), max(peak, rPeak), errors.Join(err, rErr)
	}
	return now, peak, err
}

// passes that all have made, and those that all have to make.
func (t team) passes(ctx context.Context) (made, left float64, err error) {
	for _, r := range t {
		rMade, rLeft, rErr := r.passes(ctx)
		made, left, err = made+rMade, left+rLeft, errors.Join(err, rErr)
	}
	return made, left, err
}

// quiet is how long there has to be next to nothing to do for all to be done.
const quiet = 500 * time.Millisecond

// settle waits until there is nothing to do and all is done, and returns when that began and what CPU time had been used by
// then. It is seen by the CPU time: to ask for metrics of thousands of certificates is work in itself, and done once at the end.
func (t team) settle(ctx context.Context, limit time.Duration, what string, done func() (bool, error),
) (since time.Time, used time.Duration, err error) {
	err = poll(ctx, limit, what, func() (bool, error) {
		now, err := t.cpu()
		switch {
		case err != nil:
			return false, err
		case now-used > time.Second/ticks:
			since, used = time.Now(), now
			return false, nil
		case time.Since(since) < quiet:
			return false, nil
		}
		isDone, err := done()
		if !isDone {
			since = time.Now()
		}
		return isDone, err
	})
	return since, used, err
}
