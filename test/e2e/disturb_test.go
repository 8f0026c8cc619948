//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kubeletLag is for how long an operator must have seen that all is well, at most and whatever the delay, before it
// takes a step of a rotation. One that is always killed sooner never gets there.
const kubeletLag = 90 * time.Second

// disturb has operators die and certificates come, go and be renewed until it is stopped: a rotation in which nothing
// else happens shows little.
func (m *mesh) disturb(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	kills, changes := &disturbance{pause: life, act: killOperator}, &disturbance{pause: oftenEnough, act: m.change}
	all.Go(func() { kills.run(ctx) })
	all.Go(func() { changes.run(ctx) })
	return sync.OnceFunc(func() {
		cancel()
		all.Wait()
		t.Logf("meanwhile %d operators were killed; %d times certificates were made, deleted and renewed", kills.done, changes.done)
		if kills.done == 0 || changes.done == 0 {
			t.Errorf("nothing was disturbed: %v, %v", kills.failed, changes.failed)
		}
		awaitOperator(t)
	})
}

// disturbance happens again and again.
type disturbance struct {
	pause  func() time.Duration
	act    func(ctx context.Context, n int) error
	done   int
	failed error // the last one. The API is busy: the next attempt may go well
}

func (d *disturbance) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(d.pause()):
		}
		if err := d.act(ctx, d.done); err != nil {
			d.failed = err
			continue
		}
		d.done++
	}
}

// life of a leader until it is killed: 20 s to 40 s, and longer with the delays that users have.
func life() time.Duration {
	least := min(propagation(), kubeletLag)
	return least + rand.N(least)
}

// oftenEnough for every peer to be renewed during a rotation, and too seldom to be a burden.
func oftenEnough() time.Duration { return 2 * time.Second }

// killOperator kills the process of the leader, which can't hand its Lease over, and waits for the next one. It removes
// the pod as well: kubelet would wait longer and longer before it starts the container again.
func killOperator(ctx context.Context, _ int) error {
	old, err := leader(ctx)
	if err != nil {
		return err
	}
	system, pod := &scene{namespace: operatorNamespace}, podOf(old)
	if err := system.trySignal(ctx, pod, "SIGKILL"); err != nil {
		return fmt.Errorf("%s: %w", pod, err)
	}
	err = cluster.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: pod}},
		client.GracePeriodSeconds(0))
	if err != nil {
		return err
	}
	return tryAwait(ctx, soon, func(ctx context.Context) error {
		now, err := leader(ctx)
		if err == nil && *now.Spec.HolderIdentity == *old.Spec.HolderIdentity {
			err = errors.New("nobody took the Lease of the operator that was killed")
		}
		return err
	})
}

// change makes a certificate, deletes one made some changes ago, and asks for the renewal of one that peers use.
func (m *mesh) change(ctx context.Context, n int) error {
	space, peer := m.spaces[n%len(m.spaces)], m.peers[rand.N(len(m.peers))]
	made := m.newCertificate(space, fmt.Sprintf("extra-%d", time.Now().UnixMilli()))
	label := func(n int) map[string]string { return map[string]string{"change": fmt.Sprintf("n%d", n)} }
	made.Labels = label(n)
	return errors.Join(
		cluster.Create(ctx, made),
		cluster.DeleteAllOf(ctx, m.newCertificate(space, ""), client.InNamespace(space.namespace),
			client.MatchingLabels(label(n-5*len(m.spaces)))),
		peer.askForRenewal(ctx, peer.name),
	)
}
