//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// seen is what a peer tells of itself, see test/e2e/peer.
type seen struct {
	Attempts, Connected, Failed, Unreachable int

	Failures, Unreached, Refused []sight

	Peers  map[string]pairSeen
	Served []string // serial numbers
	Serial string
	Roots  []string // SHA-256, in force
}

type pairSeen struct{ Attempts, Connected int }

type sight struct {
	Text, Peer  string
	First, Last time.Time
	Count       int
}

// proxy is a client for the API server's way to pods.
var proxy = sync.OnceValues(func() (*kubernetes.Clientset, error) {
	config := rest.CopyConfig(suite.EnvConf().Client().RESTConfig())
	config.QPS = -1
	return kubernetes.NewForConfig(config)
})

const statsPort = "8080"

// see asks the peer what it has seen since the last reset.
func (p *meshPeer) see(ctx context.Context) (*seen, error) {
	clients, err := proxy()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patienceWithPod)
	defer cancel()
	body, err := clients.CoreV1().Pods(p.namespace).ProxyGet("http", p.name, statsPort, "/stats", nil).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.host(), err)
	}
	found := &seen{}
	return found, json.Unmarshal(body, found)
}

const patienceWithPod = 10 * time.Second

// reset has the peer forget what it has seen.
func (p *meshPeer) reset(ctx context.Context) error {
	clients, err := proxy()
	if err != nil {
		return err
	}
	return clients.CoreV1().RESTClient().Post().Namespace(p.namespace).Resource("pods").
		Name("http:" + p.name + ":" + statsPort).SubResource("proxy").Suffix("reset").Do(ctx).Error()
}

// seeAll asks all peers.
func (m *mesh) seeAll(ctx context.Context) ([]*seen, error) {
	all := make([]*seen, len(m.peers))
	var problems []error
	for i, peer := range m.peers {
		found, err := peer.see(ctx)
		all[i] = found
		problems = append(problems, err)
	}
	return all, errors.Join(problems...)
}

// awaitEachPair waits until every peer has counted one more of something with every other. Before is the result of the
// call before, nil for counts from nothing.
func (m *mesh) awaitEachPair(t *testing.T, what string, before []*seen, count func(pairSeen) int) (now []*seen) {
	t.Helper()
	await(t, fmt.Sprintf("%s by each of %d peers to each other", what, len(m.peers)), soon, func(ctx context.Context) (err error) {
		if now, err = m.seeAll(ctx); err != nil {
			return err
		}
		missing := 0
		for i, peer := range m.peers {
			for _, address := range m.addresses(peer) {
				had := 0
				if before != nil {
					had = count(before[i].Peers[address])
				}
				if count(now[i].Peers[address]) <= had {
					missing++
				}
			}
		}
		if missing > 0 {
			return fmt.Errorf("it is missing between %d pairs: %s", missing, told(now))
		}
		return nil
	})
	return now
}

// awaitConnected waits until every peer was let in by every other, from now on.
func (m *mesh) awaitConnected(t *testing.T) {
	t.Helper()
	var before []*seen
	await(t, "counts", soon, func(ctx context.Context) (err error) {
		before, err = m.seeAll(ctx)
		return err
	})
	m.awaitEachPair(t, "a connection", before, func(p pairSeen) int { return p.Connected })
}

// beginAnew has all counts begin at nothing, once all peers connect.
func (m *mesh) beginAnew(t *testing.T) {
	t.Helper()
	m.awaitConnected(t)
	for _, peer := range m.peers {
		must(t, peer.reset(t.Context()))
	}
}

// total is what all peers have seen together.
type total struct{ attempts, failed, unreachable, fewestCertificates, mostCertificates int }

func (c total) String() string {
	return fmt.Sprintf("%d attempts, %d failed, %d didn't reach the peer; each peer served %d to %d certificates",
		c.attempts, c.failed, c.unreachable, c.fewestCertificates, c.mostCertificates)
}

// count has every peer dial every other once more, and adds up.
func (m *mesh) count(t *testing.T) (total, []*seen) {
	t.Helper()
	before := m.awaitEachPair(t, "an attempt", nil, func(p pairSeen) int { return p.Attempts })
	all := m.awaitEachPair(t, "another attempt", before, func(p pairSeen) int { return p.Attempts })
	var sum total
	for i, one := range all {
		sum.attempts += one.Attempts
		sum.failed += one.Failed
		sum.unreachable += one.Unreachable
		sum.mostCertificates = max(sum.mostCertificates, len(one.Served))
		if i == 0 || len(one.Served) < sum.fewestCertificates {
			sum.fewestCertificates = len(one.Served)
		}
	}
	return sum, all
}

// wantNoFailure checks that nobody failed to connect since the counts began, and prints what was counted.
func (m *mesh) wantNoFailure(t *testing.T, what string) {
	t.Helper()
	sum, all := m.count(t)
	t.Logf("%s: %s", what, sum)
	if sum.failed > 0 || sum.unreachable > 0 {
		t.Errorf("%s: %s: %s", what, sum, told(all))
	}
}

// told are the failures that the peers tell of, a line each.
func told(all []*seen) string {
	var text strings.Builder
	tell := func(kind string, sights []sight) {
		for _, s := range sights {
			fmt.Fprintf(&text, "\n%s %d times from %s to %s: %s: %s", kind, s.Count, s.First.Format(time.TimeOnly),
				s.Last.Format(time.TimeOnly), s.Peer, s.Text)
		}
	}
	for _, one := range all {
		tell("failed", one.Failures)
		tell("not reached", one.Unreached)
		tell("refused", one.Refused)
	}
	return text.String()
}
