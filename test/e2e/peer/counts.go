package main

import (
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// kept is how many distinct failures are told.
const kept = 20

// counts of attempts since the last reset. It is safe for concurrent use.
type counts struct {
	now func() time.Time

	mu                             sync.Mutex
	since                          time.Time
	peers                          map[string]*pairCounts
	failures, unreachable, refused failures
	serials                        map[string]bool
}

// pairCounts is what one peer was to this one.
type pairCounts struct {
	Attempts    int      `json:"attempts"`
	Connected   int      `json:"connected"`
	Failed      int      `json:"failed"`
	Unreachable int      `json:"unreachable"`
	Issuers     []string `json:"issuers"` // of the certificates it showed
}

// failure is one way to fail, at one peer.
type failure struct {
	Text  string    `json:"text"`
	Peer  string    `json:"peer"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`
}

func newCounts(now func() time.Time) *counts {
	c := &counts{now: now}
	c.reset()
	return c
}

// reset forgets everything.
func (c *counts) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = c.now()
	c.peers, c.serials = map[string]*pairCounts{}, map[string]bool{}
	c.failures, c.unreachable, c.refused = nil, nil, nil
}

// add counts an attempt at a peer.
func (c *counts) add(peer string, result outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pair := c.peers[peer]
	if pair == nil {
		pair = &pairCounts{}
		c.peers[peer] = pair
	}
	pair.Attempts++
	if result.issuer != "" && !slices.Contains(pair.Issuers, result.issuer) {
		pair.Issuers = append(pair.Issuers, result.issuer)
	}
	switch {
	case result.unreachable:
		pair.Unreachable++
		c.unreachable.add(peer, result.err, c.now())
	case result.err != nil:
		pair.Failed++
		c.failures.add(peer, result.err, c.now())
	default:
		pair.Connected++
	}
}

// refuse counts a handshake that failed on the server's side. The client counts it as well: here is why.
func (c *counts) refuse(client string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused.add(client, err, c.now())
}

// served notes the serial number of a certificate that a client took.
func (c *counts) served(serial string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serials[serial] = true
}

// failures are the first distinct ones.
type failures []failure

func (f *failures) add(peer string, err error, now time.Time) {
	said := text(err)
	at := slices.IndexFunc(*f, func(one failure) bool { return one.Text == said && one.Peer == peer })
	switch {
	case at >= 0:
		(*f)[at].Count++
		(*f)[at].Last = now
	case len(*f) < kept:
		*f = append(*f, failure{Text: said, Peer: peer, First: now, Last: now, Count: 1})
	}
}

// text of an error without the addresses, whose ports make every one a different one.
func text(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// stats is what is told.
type stats struct {
	Since       time.Time             `json:"since"`
	Attempts    int                   `json:"attempts"`
	Connected   int                   `json:"connected"`
	Failed      int                   `json:"failed"`
	Unreachable int                   `json:"unreachable"`
	Failures    []failure             `json:"failures"`
	Unreached   []failure             `json:"unreached"`
	Refused     []failure             `json:"refused"` // as the server, with the client's address
	Peers       map[string]pairCounts `json:"peers"`
	Served      []string              `json:"served"` // serial numbers of the certificates that clients took
	Serial      string                `json:"serial"` // of the certificate in force
	Issuer      string                `json:"issuer"`
	Roots       []string              `json:"roots"` // in force, SHA-256 in hex
}

// tell returns the counts so far.
func (c *counts) tell() stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := stats{
		Since: c.since, Peers: make(map[string]pairCounts, len(c.peers)), Served: slices.Sorted(maps.Keys(c.serials)),
		Failures: slices.Clone(c.failures), Unreached: slices.Clone(c.unreachable), Refused: slices.Clone(c.refused),
	}
	for name, pair := range c.peers {
		all.Attempts += pair.Attempts
		all.Connected += pair.Connected
		all.Failed += pair.Failed
		all.Unreachable += pair.Unreachable
		told := *pair
		told.Issuers = slices.Clone(pair.Issuers)
		all.Peers[name] = told
	}
	return all
}
