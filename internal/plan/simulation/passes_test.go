package simulation_test

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// leafCertificate is a certificate with what is asked of it again and again: verifying costs more than all the rest.
type leafCertificate struct {
	*x509.Certificate
	fingerprint string
	issuedBy    map[string]bool // by the fingerprint of the issuer
	by          int64           // the generation that signed it in fact
}

func newLeafCertificate(c *x509.Certificate, by int64) *leafCertificate {
	return &leafCertificate{c, pki.Fingerprint(c), map[string]bool{}, by}
}

// on is Lineage.On, remembered.
func (l *leafCertificate) on(lineage plan.Lineage) int64 {
	if l == nil {
		return 0
	}
	for _, g := range slices.Backward(lineage.Live) {
		issuer := g.Issuer
		issued, known := l.issuedBy[issuer.Fingerprint()]
		if !known {
			issued = issuer.Issued(l.Certificate)
			l.issuedBy[issuer.Fingerprint()] = issued
		}
		if issued {
			return g.Number
		}
	}
	return 0
}

// leafPass is a pass over one certificate: what it found, and what it is to write.
type leafPass struct {
	certificate *certificate
	secret      *consumer
	plan        plan.LeafPlan
	lineage     plan.Lineage
	signer      plan.Generation
	roots       pki.Bundle
	began       time.Time
	trustOnly   bool // the certificate can't be issued: its roots are kept right
}

// planLeaf as certificate_controller.go does. False when there is nothing to do but to wait.
func (s *simulation) planLeaf(p *process, name string) (leafPass, bool, error) {
	pass := leafPass{certificate: p.cache.certificates[name], began: s.now}
	if pass.certificate == nil {
		return pass, false, nil
	}
	ref := secretRef(name)
	pass.secret = p.visible(ref)
	if live := s.consumers[ref]; pass.secret == nil && live != nil {
		return pass, false, s.classify(live)
	}
	pass.lineage = s.lineage(p)
	pass.roots = s.mutation.roots(s, pass.lineage)
	var found bool
	pass.signer, found = pass.lineage.Signer()
	validity := pass.signer.Issuer.Validity()
	if !found || s.wall(p).Before(validity.NotBefore) || s.wall(p).After(validity.NotAfter) || pass.certificate.invalid != "" {
		pass.trustOnly = true
		outdated := pass.secret != nil && len(pass.lineage.Live) > 0 && pass.secret.content.leaf.on(pass.lineage) > 0 &&
			pass.secret.hash != pass.roots.Hash()
		return pass, outdated, nil
	}
	in := plan.LeafInput{
		UID: pass.certificate.uid, Wish: pass.certificate.wish, Issuer: pass.signer.Issuer, Bundle: pass.roots,
		Others: pass.lineage.Beside(pass.signer.Number), Turn: p.turns[ref],
	}
	if pass.secret != nil {
		in.Secret = &pass.secret.leaf
	}
	pass.plan = plan.Leaf(in, s.wall(p))
	return pass, pass.plan.Issue || pass.plan.DeliverTrust && pass.secret != nil, nil
}

// classify finds out what a Secret is that the cache doesn't have: ours without its label, which is put back, or one that the
// cache hasn't heard of yet.
func (s *simulation) classify(live *consumer) error {
	if live.unlabelled || live.retained {
		next := *live
		next.identity, next.unlabelled, next.retained = s.touch(live.identity), false, false
		s.putConsumer(&next)
		s.wakeConsumer(next.ref)
	}
	return errStale
}

// passTimeout is how long a pass may take. One that was held up for longer writes nothing.
const passTimeout = 30 * time.Second

// writeLeaf is the one write of a pass, perhaps long after what it saw.
func (s *simulation) writeLeaf(p *process, pass leafPass) error {
	if s.now.Sub(pass.began) > passTimeout {
		return errStale
	}
	next := consumer{ref: secretRef(pass.certificate.name)}
	live := s.consumers[next.ref]
	var err error
	switch {
	case pass.secret == nil && live != nil:
		return errExists
	case pass.secret != nil && live == nil:
		return errGone
	case pass.secret != nil:
		next = *live
		next.identity, err = s.update(pass.secret.identity, live.identity)
	case s.certificates[pass.certificate.name] == nil || s.certificates[pass.certificate.name].uid != pass.certificate.uid:
		return errGone // the garbage collector takes it at once
	}
	if err != nil {
		return err
	}
	if err := s.fill(p, &next, pass); err != nil {
		return err
	}
	if pass.secret == nil {
		next.identity = s.create()
	}
	s.storeConsumer(p, &next)
	return s.reportLeaf(p, pass, &next)
}

// fill in what is to be in a Secret.
func (s *simulation) fill(p *process, next *consumer, pass leafPass) error {
	roots, now := pass.roots, fact(s.wall(p))
	if pass.trustOnly {
		next.deliver(roots, now)
		return nil
	}
	if pass.plan.Issue {
		if err := s.issue(next, pass); err != nil {
			return err
		}
	}
	next.deliver(roots, fact(pass.plan.BundleSince))
	next.leaf.IssuerSince = fact(pass.plan.IssuerSince)
	s.mutation.written(next, now)
	return nil
}

// issue a certificate with the key of the generation that was planned, if that is still there.
func (s *simulation) issue(next *consumer, pass leafPass) error {
	live := s.generations[pass.signer.Number]
	if live == nil || live.facts.Issuer.Fingerprint() != pass.signer.Issuer.Fingerprint() {
		return errGone
	}
	leaf, err := live.ca.Sign(pass.certificate.wish.Request, leafKey().Public(), pass.plan.Validity, pass.roots)
	if err != nil {
		return err
	}
	before := next.content.leaf
	next.content.leaf = newLeafCertificate(leaf, pass.signer.Number)
	next.leaf.Certificate, next.leaf.Key = pki.EncodeCertificates(leaf), plan.KeyState(pki.EncodingPKCS8)
	next.leaf.RenewServed = pass.certificate.wish.RenewToken
	s.note("%s is issued by generation %d (%s) until %s", next.ref.Name, pass.signer.Number, pass.plan.Reason,
		leaf.NotAfter.Format("01-02 15:04:05"))
	s.checkIssue(pass, before, next.content.leaf)
	return nil
}

func (s *simulation) storeConsumer(p *process, next *consumer) {
	s.putConsumer(next)
	p.cache.consumers[next.ref] = next
	s.wakeConsumer(next.ref)
	s.checkWritten(next)
}

// reportLeaf writes the certificate's status.
func (s *simulation) reportLeaf(p *process, pass leafPass, written *consumer) error {
	if pass.trustOnly {
		return nil
	}
	if s.crashes() {
		return errCrash
	}
	live := s.certificates[pass.certificate.name]
	number := written.content.leaf.by
	if live == nil || live.uid != pass.certificate.uid || live.issued && live.number == number && !pass.plan.Issue {
		return nil
	}
	next := *live
	next.identity, next.issued, next.number = s.touch(live.identity), true, number
	at, _ := plan.Renewal(next.uid, next.wish, pass.signer.Issuer, written.content.leaf.Certificate, s.wall(p))
	if !at.IsZero() {
		next.renewBefore = written.content.leaf.NotAfter.Sub(at)
	}
	s.certificates[next.name], p.cache.certificates[next.name] = &next, &next
	return nil
}

// bundlePass keeps a ConfigMap, a ClusterTrustBundle or a retained Secret right. It returns its write.
func (s *simulation) bundlePass(p *process, ref plan.ConsumerRef) func() error {
	seen, roots, now := p.cache.consumers[ref], s.mutation.roots(s, s.lineage(p)), fact(s.wall(p))
	if roots.Len() == 0 || seen != nil && seen.hash == roots.Hash() {
		return func() error { return nil }
	}
	return func() error {
		live, next := s.consumers[ref], consumer{ref: ref}
		var err error
		switch {
		case seen == nil && live != nil:
			return errExists
		case seen != nil && live == nil:
			return errGone
		case seen == nil:
			next.identity = s.create()
		default:
			next = *live
			next.identity, err = s.update(seen.identity, live.identity)
		}
		if err != nil {
			return err
		}
		next.deliver(roots, now)
		s.storeConsumer(p, &next)
		return nil
	}
}

// reasonIssuer tells whether a certificate was issued because of another CA.
func reasonIssuer(reason string) bool { return reason == v1alpha1.ReasonIssuerChanged }
