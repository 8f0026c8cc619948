package main

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// figures by name, see columns.
type figures map[string]float64

// bench is a contender at work on a server of its own, with who gives it work.
type bench struct {
	server  *server
	workers team
	load    *load
}

// begin starts all of it.
func (s scenario) begin(ctx context.Context, root string, c contender) (_ *bench, err error) {
	server, err := newServer(ctx, root)
	if err != nil {
		return nil, err
	}
	b := &bench{server: server}
	defer func() {
		if err != nil {
			b.end()
		}
	}()
	if b.load, err = newLoad(ctx, server, s); err != nil {
		return nil, err
	}
	b.workers, err = c.startAll(ctx, server, b.load.shares())
	return b, err
}

func (b *bench) end() {
	b.workers.stop()
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
	for i, p := range []interface{ cpu() (time.Duration, error) }{b.workers, b.server.api, b.server.etcd} {
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
	if _, f[peak], err = b.workers.memory(); err != nil {
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
	f[settled], _, err = b.workers.memory()
	return f, err
}

// restart the operator, and time it until it has looked at everything.
func (b *bench) restart(ctx context.Context) (figures, error) {
	b.workers.stop()
	before, err := b.server.requests(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if b.workers, err = b.workers.again(ctx); err != nil {
		return nil, err
	}
	idle, used, err := b.workers.settle(ctx, 10*time.Minute, "the operator having looked at everything", func() (bool, error) {
		made, left, err := b.workers.passes(ctx)
		return made >= float64(b.load.made) && left == 0, err
	})
	if err != nil {
		return nil, err
	}
	requests, err := b.server.requests(ctx)
	if err != nil {
		return nil, err
	}
	f := figures{seconds: idle.Sub(began).Seconds(), cpuOwn: float64(used.Milliseconds()), writes: requests.since(before).writes()}
	_, f[peak], err = b.workers.memory()
	return f, err
}

// replan has the operator look at every certificate because something about their authority changed that changes none of them.
func (b *bench) replan(ctx context.Context) (figures, error) {
	looked, _, err := b.workers.passes(ctx)
	if err != nil {
		return nil, err
	}
	before, err := b.sample(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := b.editAuthority(ctx, func(a *v1alpha1.MTLSAuthority) {
		a.Spec.MaxLeafDuration = v1alpha1.Duration(b.load.duration.String())
	}); err != nil {
		return nil, err
	}
	done, used, err := b.workers.settle(ctx, time.Hour, "the operator having looked at every certificate", func() (bool, error) {
		made, _, err := b.workers.passes(ctx)
		return made-looked >= float64(b.load.made), err
	})
	if err != nil {
		return nil, err
	}
	requests, err := b.server.requests(ctx)
	if err != nil {
		return nil, err
	}
	return figures{
		seconds: done.Sub(before.at).Seconds(),
		cpuOwn:  float64((used - before.cpu[0]).Milliseconds()),
		writes:  requests.since(before.requests).writes(),
	}, nil
}

// editAuthority changes the first authority as a user does.
func (b *bench) editAuthority(ctx context.Context, change func(*v1alpha1.MTLSAuthority)) (*v1alpha1.MTLSAuthority, error) {
	authority := &v1alpha1.MTLSAuthority{}
	if err := b.server.admin.Get(ctx, client.ObjectKey{Namespace: b.load.home(0), Name: "ca"}, authority); err != nil {
		return nil, err
	}
	before := client.MergeFrom(authority.DeepCopy())
	change(authority)
	return authority, b.server.admin.Patch(ctx, authority, before)
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
