package main

import (
	"context"
	"fmt"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// figures by name, see columns.
type figures map[string]float64

// bench is a contender at work on a server of its own, with who gives it work.
type bench struct {
	server *server
	worker *running
	load   *load
}

// begin starts all of it.
func begin(ctx context.Context, root string, c contender, namespaces int, key v1alpha1.KeyType) (_ *bench, err error) {
	s, err := newServer(ctx, root)
	if err != nil {
		return nil, err
	}
	b := &bench{server: s}
	defer func() {
		if err != nil {
			b.end()
		}
	}()
	if b.load, err = newLoad(ctx, s, namespaces, key); err != nil {
		return nil, err
	}
	b.worker, err = c.start(ctx, s)
	return b, err
}

func (b *bench) end() {
	if b.worker != nil {
		b.worker.stop()
	}
	b.server.stop()
}

// sample is what was used until a moment.
type sample struct {
	at       time.Time
	cpu      [3]time.Duration // of the contender, the API server and etcd
	requests counts
}

func (b *bench) sample(ctx context.Context) (sample, error) {
	now := sample{at: time.Now()}
	for i, p := range []*process{b.worker.process, b.server.api, b.server.etcd} {
		used, err := p.cpu()
		if err != nil {
			return sample{}, err
		}
		now.cpu[i] = used
	}
	var err error
	now.requests, err = b.server.requests(ctx)
	return now, err
}

// use is what happened since a sample, per certificate.
func (b *bench) use(ctx context.Context, before sample, n int) (figures, error) {
	after, err := b.sample(ctx)
	if err != nil {
		return nil, err
	}
	per := float64(n)
	f := figures{}
	for i, name := range []string{cpuOwn, cpuAPI, cpuEtcd} {
		f[name] = float64((after.cpu[i] - before.cpu[i]).Microseconds()) / 1000 / per
	}
	requests := after.requests.since(before.requests)
	f[writes], f[reads] = requests.writes()/per, requests.reads()/per
	for request, count := range requests {
		f[requestPrefix+request] = count / per
	}
	return f, nil
}

// issue n certificates as fast as it goes.
func (b *bench) issue(ctx context.Context, n int) (figures, error) {
	_, stored, err := b.server.stored(ctx)
	if err != nil {
		return nil, err
	}
	before, err := b.sample(ctx)
	if err != nil {
		return nil, err
	}
	began, err := b.load.make(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := b.load.await(ctx, time.Duration(n)*time.Second/5+time.Minute); err != nil {
		return nil, err
	}
	f, err := b.use(ctx, before, n)
	if err != nil {
		return nil, err
	}
	latencies, last := b.load.latencies(nil)
	f[rate] = float64(n) / last.Sub(began).Seconds()
	f[p50], f[p99] = percentile(latencies, 50), percentile(latencies, 99)
	if _, f[peak], err = b.worker.memory(); err != nil {
		return nil, err
	}
	dirty, clean, err := b.server.stored(ctx)
	if err != nil {
		return nil, err
	}
	f[bytesDirty], f[bytesClean] = (dirty-stored)/float64(n), (clean-stored)/float64(n)
	return f, b.load.verify(ctx)
}

// alone makes one certificate after the other, each when there is nothing else to do.
func (b *bench) alone(ctx context.Context, n int) (figures, error) {
	names, err := b.load.trickle(ctx, n, 200*time.Millisecond)
	if err != nil {
		return nil, err
	}
	if err := b.load.await(ctx, time.Minute); err != nil {
		return nil, err
	}
	latencies, _ := b.load.latencies(names)
	return figures{p50: percentile(latencies, 50), p99: percentile(latencies, 99)}, b.load.verify(ctx)
}

// idle is what the operator uses when there is nothing to do.
func (b *bench) idle(ctx context.Context, how time.Duration) (figures, error) {
	before, err := b.sample(ctx)
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, how); err != nil {
		return nil, err
	}
	after, err := b.sample(ctx)
	if err != nil {
		return nil, err
	}
	requests := after.requests.since(before.requests)
	f := figures{
		idleCPU: 100 * (after.cpu[0] - before.cpu[0]).Seconds() / after.at.Sub(before.at).Seconds(),
		writes:  requests.writes(), reads: requests.reads(),
	}
	f[settled], _, err = b.worker.memory()
	return f, err
}

// restart the operator, and time it until it has looked at everything.
func (b *bench) restart(ctx context.Context) (figures, error) {
	b.worker.stop()
	before, err := b.server.requests(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if b.worker, err = b.worker.start(ctx, b.server); err != nil {
		return nil, err
	}
	if err := poll(ctx, 5*time.Minute, "the operator having looked at everything", func() (bool, error) {
		made, left, err := b.worker.passes(ctx)
		return made >= float64(b.load.made) && left == 0, err
	}); err != nil {
		return nil, err
	}
	took := time.Since(began)
	used, err := b.worker.cpu()
	if err != nil {
		return nil, err
	}
	requests, err := b.server.requests(ctx)
	if err != nil {
		return nil, err
	}
	f := figures{seconds: took.Seconds(), cpuOwn: float64(used.Milliseconds()), writes: requests.since(before).writes()}
	_, f[peak], err = b.worker.memory()
	return f, err
}

// wait unless ctx ends.
func wait(ctx context.Context, how time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait: %w", context.Cause(ctx))
	case <-time.After(how):
		return nil
	}
}
