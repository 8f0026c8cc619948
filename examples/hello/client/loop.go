package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// loop makes a request with every tick until ctx ends or the count is reached, and prints the tally so far with every
// report. A request under way when ctx ends is finished and counted: cut off, it would look like a failure.
func (c *client) loop(ctx context.Context, ticks, reports <-chan time.Time, stdout io.Writer) *tally {
	counted := newTally()
	for c.count == 0 || counted.requests < c.count {
		select {
		case <-ctx.Done():
			return counted
		case <-reports:
			fmt.Fprintln(stdout, "progress", counted)
		case <-ticks:
			counted.add(c.request(context.WithoutCancel(ctx)))
		}
	}
	return counted
}

// tally counts results.
type tally struct {
	requests, failed             int
	serverSerials, clientSerials map[string]bool
	failures                     map[string]int
}

func newTally() *tally {
	return &tally{serverSerials: map[string]bool{}, clientSerials: map[string]bool{}, failures: map[string]int{}}
}

func (t *tally) add(r result) {
	t.requests++
	if r.server != "" {
		t.serverSerials[r.server] = true
	}
	if r.client != "" {
		t.clientSerials[r.client] = true
	}
	if r.err != nil {
		t.failed++
		t.failures[explain(r.err)]++
	}
}

// String is the tally in one line of key=value pairs; of the serial numbers it tells how many different ones were seen.
func (t *tally) String() string {
	return fmt.Sprintf("requests=%d failed=%d serverSerials=%d clientSerials=%d",
		t.requests, t.failed, len(t.serverSerials), len(t.clientSerials))
}

// summarize prints one line for each distinct failure and, last, the tally. It returns an error if any request failed,
// and also if none was made: a run that tried nothing showed nothing.
func (t *tally) summarize(stdout io.Writer) error {
	for _, text := range slices.Sorted(maps.Keys(t.failures)) {
		fmt.Fprintf(stdout, "failures=%d error=%q\n", t.failures[text], text)
	}
	fmt.Fprintln(stdout, t)
	switch {
	case t.failed > 0:
		return fmt.Errorf("%d of %d requests failed", t.failed, t.requests)
	case t.requests == 0:
		return fmt.Errorf("no request was made: the loop ended before its first --interval passed")
	}
	return nil
}
