package main

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// rotationDelay is how long a rotation waits for volumes. There are none here: what is measured is the work.
const rotationDelay = "5s"

// rotate the CA of all certificates, and make a new one now and then meanwhile.
func (b *bench) rotate(ctx context.Context) (figures, error) {
	leaves := b.load.made
	before, err := b.sample(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	authority, err := b.editAuthority(ctx, func(a *v1alpha1.MTLSAuthority) {
		a.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: began.Format(time.RFC3339)}
	})
	if err != nil {
		return nil, err
	}
	meanwhile, stop := context.WithCancel(ctx)
	defer stop()
	type trickled struct {
		names []string
		err   error
	}
	during := make(chan trickled, 1)
	go func() {
		var all trickled
		for meanwhile.Err() == nil && all.err == nil {
			var names []string
			names, all.err = b.load.trickle(ctx, 1, time.Second)
			all.names = append(all.names, names...)
		}
		during <- all
	}()
	err = poll(ctx, time.Hour, "the rotation having ended", func() (bool, error) {
		if err := wait(ctx, time.Second); err != nil {
			return false, err
		}
		err := b.server.admin.Get(ctx, client.ObjectKeyFromObject(authority), authority)
		all := authority.Status.Generations
		return len(all) == 1 && all[0].Number > 1, err
	})
	took := time.Since(began)
	stop()
	all := <-during
	if err != nil {
		return nil, err
	}
	if all.err != nil {
		return nil, all.err
	}
	if err := b.load.await(ctx, time.Minute); err != nil {
		return nil, err
	}
	f, err := b.use(ctx, before, leaves)
	if err != nil {
		return nil, err
	}
	latencies, _ := b.load.latencies(all.names)
	f[seconds], f[p50], f[p99] = took.Seconds(), percentile(latencies, 50), percentile(latencies, 99)
	return f, b.load.verify(ctx)
}
