package simulation_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// The invariants, named as rotation.md numbers them. 6, 8 and 9 are tests of their own.
const (
	invHandshake   = "4 handshake"
	invConsistent  = "3 consistent"
	invValidity    = "5 validity"
	invRest        = "7 rest"
	invLiveness    = "11 liveness"
	invNoReturn    = "12 no return"
	invSparing     = "13 sparing"
	invSound       = "14 sound"
	invDistributed = "16 distributed"
	invKeyInUse    = "17 key in use"
	invRenewal     = "18 renewal"
	invBegun       = "19 begun"
	invBounded     = "20 bounded"
)

// ledger is what the invariants are about beside the objects.
type ledger struct {
	signer    int64
	begun     map[int64]int     // how often a generation began to sign
	turns     map[string]int    // certificate and epoch → issues because of another CA
	issues    map[string][]life // by certificate
	ranOver   map[plan.ConsumerRef]bool
	lastPlan  plan.RotationPlan
	retired   map[string]time.Time // fingerprints of generations that are no more
	causes    map[string]int64     // the generation made for a cause
	withdrawn map[int64]bool
}

// life of a certificate that was issued, and why.
type life struct {
	from, to time.Time
	reason   string
}

func newLedger() ledger {
	return ledger{
		turns: map[string]int{}, begun: map[int64]int{}, issues: map[string][]life{},
		ranOver: map[plan.ConsumerRef]bool{}, retired: map[string]time.Time{},
		causes: map[string]int64{}, withdrawn: map[int64]bool{},
	}
}

// state is what a pod may be at a time: one certificate and one set of roots.
type state struct {
	content
	pod *pod
}

// check all that must hold at every moment.
func (s *simulation) check() {
	s.checkHandshakes()
	s.checkSigner()
	for _, c := range s.consumers {
		s.checkEnds(c)
	}
}

// checkHandshakes of every pod with every other, whatever of what it may have read it has read.
func (s *simulation) checkHandshakes() {
	var states []state
	leaves, roots := map[string]state{}, map[string]state{}
	for _, p := range s.pods {
		if !s.promised(p) {
			continue
		}
		trusted := s.contents(s.reader(p, p.roots, p.rootsUse))
		for _, read := range s.contents(s.reader(p, p.leaf, p.leafUse)) {
			if s.cutOff(p) && s.now.After(read.leaf.NotAfter) {
				continue // there is no kubelet that could have brought a new one
			}
			for _, trust := range trusted {
				one := state{content{read.leaf, trust.roots, trust.hash}, p}
				leaves[read.leaf.fingerprint], roots[trust.hash] = one, one
				states = appendState(states, one)
			}
		}
	}
	for _, shown := range leaves {
		for _, trusting := range roots {
			if err := s.chain(shown.leaf, trusting.content, s.now, s.noTime); err != nil {
				s.fail(invHandshake, "%s with a certificate of generation %d, and %s with roots of %d: %v", shown.pod.name, shown.leaf.by,
					trusting.pod.name, trusting.roots.Len(), err)
			}
		}
	}
	at := func(leaf *leafCertificate) time.Time {
		if s.noTime {
			return leaf.NotBefore.Add(pki.Backdate)
		}
		return s.now
	}
	for i, a := range states {
		for _, b := range states[i:] {
			if err := s.shake(a.content, b.content, s.issuerOf(a.leaf), s.issuerOf(b.leaf), at); err != nil {
				s.fail(invHandshake, "%s and %s don't shake hands: %v", a.pod.name, b.pod.name, err)
			}
		}
	}
}

// appendState unless there is one like it: certificates of an issuer are alike.
func appendState(states []state, one state) []state {
	for _, other := range states {
		if other.leaf.by == one.leaf.by && other.hash == one.hash {
			return states
		}
	}
	return append(states, one)
}

func (s *simulation) issuerOf(leaf *leafCertificate) string { return string(leaf.AuthorityKeyId) }

// checkSigner: some generation is always signing, and its number falls only when it was withdrawn.
func (s *simulation) checkSigner() {
	lineage := s.everyGeneration()
	signer, found := lineage.Signer()
	if !found {
		if s.signer > 0 {
			s.fail(invLiveness, "nothing signs")
		}
		return
	}
	if signer.Number != s.signer {
		if g := s.generations[s.signer]; signer.Number < s.signer && (g == nil || g.facts.Withdrawn.IsZero()) {
			s.fail(invNoReturn, "generation %d signs, after %d", signer.Number, s.signer)
		}
		s.signer = signer.Number
		s.begun[signer.Number]++
	}
	if end := signer.Issuer.Validity().NotAfter; s.now.After(end) && !s.noTime {
		s.fail(invLiveness, "generation %d signs and ended at %s", signer.Number, end)
	}
	if len(lineage.Live) > 4 {
		s.fail(invBounded, "%d generations are trusted", len(lineage.Live))
	}
}

// checkEnds: no certificate in use ends.
func (s *simulation) checkEnds(c *consumer) {
	owner := s.certificates[c.ref.Name]
	if c.content.leaf == nil || c.retained || c.unlabelled || owner == nil || owner.invalid != "" || s.noTime {
		return
	}
	if s.now.After(c.content.leaf.NotAfter) {
		s.fail(invRenewal, "the certificate in %s ended at %s", c.ref.Name, c.content.leaf.NotAfter)
	}
}

// checkWritten: what is written is consistent, and holds only roots of this authority.
func (s *simulation) checkWritten(c *consumer) {
	if c.content.leaf != nil && !s.now.After(s.lastSure(c.content.leaf)) && !s.ranOver[c.ref] {
		if err := s.chain(c.content.leaf, c.content, s.now, true); err != nil {
			s.fail(invConsistent, "%s doesn't trust its own certificate: %v", c.ref.Name, err)
		}
	}
	s.checkWide(c)
	live := s.everyGeneration().Bundle()
	for _, root := range c.roots.Certificates() {
		if live.Contains(root) { // an imported pair may come back
			continue
		}
		fingerprint := pki.Fingerprint(root)
		if at, retired := s.retired[fingerprint]; retired && s.now.After(at.Add(mostBehind+passTimeout)) {
			s.fail(invSound, "%s is given a root that was retired at %s", c.ref.Name, at)
		}
	}
}

// checkWide: until a generation is recorded to be no more it can sign again, so everybody is given its root.
func (s *simulation) checkWide(c *consumer) {
	for _, g := range s.everyGeneration().Live {
		isNews := s.now.Sub(s.generations[g.Number].made) <= mostBehind+passTimeout
		if !isNews && !g.Issuer.Bundle().In(c.leaf.Bundle) {
			s.fail(invSound, "%s isn't given the root of generation %d, which may sign again", c.ref.Name, g.Number)
		}
	}
}

// checkIssue of one certificate.
func (s *simulation) checkIssue(pass leafPass, before, leaf *leafCertificate) {
	validity := pass.signer.Issuer.Validity()
	if leaf.NotBefore.Before(validity.NotBefore) || leaf.NotAfter.After(validity.NotAfter) {
		s.fail(invValidity, "%s lives from %s to %s, and its issuer from %s to %s", pass.certificate.name, leaf.NotBefore,
			leaf.NotAfter, validity.NotBefore, validity.NotAfter)
	}
	s.checkDistributed(pass.signer, "signs")
	name := string(pass.certificate.uid)
	if before != nil && reasonIssuer(pass.plan.Reason) {
		turn := fmt.Sprint(name, " by ", pass.signer.Number, " for time ", s.begun[pass.signer.Number])
		s.turns[turn]++
		if s.turns[turn] > 1 {
			s.fail(invNoReturn, "%s is issued again because of generation %d for the second time", pass.certificate.name,
				pass.signer.Number)
		}
	}
	s.issues[name] = append(s.issues[name], life{s.now, leaf.NotAfter, pass.plan.Reason})
	s.checkSparing(pass.certificate.name, s.issues[name])
}

// checkSparing: in the life of a certificate it is renewed once, rotations and people aside.
func (s *simulation) checkSparing(name string, issues []life) {
	last := issues[len(issues)-1]
	renewals := 0
	for _, one := range issues {
		if one.reason == v1alpha1.ReasonRenewalDue && last.from.Before(one.to) && s.now.Sub(one.from) < s.leafLife/3 {
			renewals++
		}
	}
	if renewals > 2 {
		s.fail(invSparing, "%s is renewed %d times in a life: %v", name, renewals, issues)
	}
}

// checkDistributed: everybody holds the root of what signs, but those who were run over.
func (s *simulation) checkDistributed(signer plan.Generation, what string) {
	if signer.Cause == v1alpha1.CauseInitial {
		return
	}
	for _, c := range s.sorted() {
		if !s.expected(c) || s.ranOver[c.ref] || signer.Issuer.Bundle().In(c.leaf.Bundle) {
			continue
		}
		s.fail(invDistributed, "generation %d %s, and %s %s/%s doesn't hold it", signer.Number, what,
			c.ref.Kind, c.ref.Namespace, c.ref.Name)
	}
}

// lastSure is until when a certificate is good for everybody: to a clock that is ahead it ends earlier.
func (s *simulation) lastSure(leaf *leafCertificate) time.Time { return leaf.NotAfter.Add(-s.skew) }

// expected tells whether somebody wants the consumer to be right, whatever the operator sees.
func (s *simulation) expected(c *consumer) bool {
	switch {
	case c.ref.Kind != plan.ConsumerSecret:
		return slices.Contains(s.bundleRefs(), c.ref)
	case c.retained:
		return !s.now.After(s.lastSure(c.content.leaf)) && !c.unlabelled
	default:
		return s.certificates[c.ref.Name] != nil
	}
}

// checkPlan: what is planned is sound.
func (s *simulation) checkPlan(d decision) {
	if d.plan.Step.Kind == plan.StepDelete && !d.in.Lineage.Retired.Has(d.plan.Step.Number) {
		s.fail(invKeyInUse, "generation %d is deleted, and wasn't retired", d.plan.Step.Number)
	}
}

// checkStep that was taken.
func (s *simulation) checkStep(d decision) {
	step := d.plan.Step
	s.excuse(step)
	g := s.generations[step.Number]
	switch step.Kind {
	case plan.StepMint:
		s.checkMint(g)
	case plan.StepActivate:
		s.checkDistributed(g.facts, "may sign")
		if begin := g.facts.Issuer.Validity().NotBefore.Add(pki.Backdate); begin.After(s.now.Add(s.skew)) && !s.noTime {
			s.fail(invBegun, "generation %d may sign, and begins at %s", step.Number, begin)
		}
	case plan.StepWithdraw:
		s.withdrawn[step.Number] = true
	case plan.StepRetire:
		s.checkRetired(g)
	default: // the plan was looked at
	}
}

func (s *simulation) checkMint(g *generation) {
	cause := g.facts.Cause + ":" + g.facts.CauseID
	before := s.causes[cause]
	repeats := strings.HasPrefix(cause, v1alpha1.CauseSpec) || strings.HasPrefix(cause, v1alpha1.CauseImported)
	if before > 0 && !repeats && !s.withdrawn[before] {
		s.fail(invSparing, "generation %d is made for %s, as %d was", g.facts.Number, cause, before)
	}
	s.causes[cause] = g.facts.Number
}

// checkRetired: nothing that it signed is in use, but with those who were run over.
func (s *simulation) checkRetired(g *generation) {
	if g == nil {
		return
	}
	s.retired[g.facts.Issuer.Fingerprint()] = s.now
	live := s.everyGeneration()
	for _, c := range s.sorted() {
		leaf := c.content.leaf
		if leaf == nil || !s.expected(c) || s.ranOver[c.ref] {
			continue
		}
		if leaf.on(live) == 0 && s.now.Before(s.lastSure(leaf)) {
			s.fail(invKeyInUse, "generation %d is retired, and signed the certificate in %s until %s", g.facts.Number,
				c.ref.Name, leaf.NotAfter)
		}
	}
}

// excuse those who were run over: they were named. In an emergency nobody waits until a node is known to be lost.
func (s *simulation) excuse(step plan.Step) {
	emergency := !s.authority.orders.Compromised.Empty()
	for _, p := range s.pods {
		if emergency && s.cutOff(p) {
			p.excused = "its node was lost in an emergency"
		}
	}
	for _, b := range step.RanOver {
		s.note("ran over %s %s: %s", b.Kind, b.Name, b.Message)
		for _, p := range s.pods {
			if b.Kind == "Pod" && p.name == b.Name || b.Kind == string(plan.ConsumerSecret) && p.leaf.Name == b.Name {
				p.excused = "it was run over"
			}
		}
		if b.Kind != "Pod" {
			s.ranOver[plan.ConsumerRef{Kind: plan.ConsumerKind(b.Kind), Namespace: b.Namespace, Name: b.Name}] = true
		}
	}
}
