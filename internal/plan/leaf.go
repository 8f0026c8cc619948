package plan

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// LeafInput is everything Leaf decides on.
type LeafInput struct {
	// UID of the MTLSCertificate: it spreads renewals that would otherwise be due together.
	UID  types.UID
	Wish Wish
	// Issuer is the generation that signs.
	Issuer pki.Issuer
	// Bundle is the roots that everybody is to trust; the issuer's when it is empty.
	Bundle pki.Bundle
	// Others are the generations that are trusted beside the issuer, while one CA is replaced by another.
	Others []Generation
	// Turn: a certificate that one of the others signed is to be replaced now. They have their turns one after the other, so
	// that those who need a certificate at once don't wait for all of them.
	Turn bool
	// Secret is nil when there is none.
	Secret *LeafSecret
}

// LeafPlan is what to do about one certificate.
type LeafPlan struct {
	// Issue a new certificate, for Reason, told in Message.
	Issue   bool
	Reason  string
	Message string
	// ReuseKey of the Secret for it.
	ReuseKey bool
	// Validity of a certificate that is issued now.
	Validity pki.Validity
	// Expiring: a new certificate is due and would be useless, since its issuer ends.
	Expiring bool
	// DeliverTrust: ca.crt isn't the issuer's bundle.
	DeliverTrust bool
	// IssuerSince and BundleSince are the facts to record with what is written.
	IssuerSince, BundleSince time.Time
	// Signed: the certificate in the Secret was signed by the issuer.
	Signed bool
	// On is the other generation that signed the certificate that the Secret holds, nil when none did.
	On *Generation
	// Certificate that the Secret holds, nil when it holds none.
	Certificate *x509.Certificate
	// RenewAt is when Certificate is renewed, zero when it cannot be under this issuer.
	RenewAt time.Time
	// Next is when to decide again, zero when nothing changes with time alone.
	Next time.Time
}

// Generation that signed the certificate that the Secret holds, of which signer is the one that signs now.
func (p *LeafPlan) Generation(signer Generation) (Generation, bool) {
	if p.On != nil {
		return *p.On, true
	}
	return signer, p.Signed
}

// Leaf decides whether to issue, and when to look again.
func Leaf(in LeafInput, now time.Time) LeafPlan {
	leaf := in.observe()
	plan := LeafPlan{Certificate: leaf.certificate, Validity: in.Issuer.LeafValidity(now, in.Wish.Duration)}
	for _, check := range leafChecks {
		if message := check.hit(in, leaf, now); message != "" {
			plan.Issue, plan.Reason, plan.Message = true, check.reason, message
			break
		}
	}
	plan.Signed, plan.On = leaf.signed, leaf.on
	plan.ReuseKey = plan.Issue && in.Wish.KeepKey && leaf.keyType == in.Wish.KeyType
	plan.schedule(in, now)
	plan.recordFacts(in, leaf, now)
	return plan
}

// observed is a leaf Secret, parsed.
type observed struct {
	certificate *x509.Certificate
	sent        []*x509.Certificate // what follows certificate in tls.crt
	signed      bool                // by the issuer: verified once, since it costs more than all the rest
	on          *Generation         // of the others that signed it, else nil
	keyType     pki.KeyType         // of a key that fits, else empty
	problem     string              // why it cannot be read
}

func (in LeafInput) observe() observed {
	if in.Secret == nil {
		return observed{}
	}
	certificates, err := pki.ParseCertificates(in.Secret.Certificate)
	if err != nil {
		return observed{problem: fmt.Sprintf("%s: %v", v1alpha1.CertificateKey, err)}
	}
	leaf := observed{
		certificate: certificates[0],
		sent:        certificates[1:],
		signed:      in.Issuer.Issued(certificates[0]),
	}
	if !leaf.signed {
		leaf.on = in.other(leaf.certificate)
	}
	if _, fits := in.Secret.Key.Encoding(); fits {
		leaf.keyType, _ = pki.KeyTypeOf(leaf.certificate.PublicKey)
	}
	return leaf
}

// other is the newest of the other generations that signed a certificate, nil when none did.
func (in LeafInput) other(certificate *x509.Certificate) *Generation {
	for i := len(in.Others) - 1; i >= 0; i-- {
		if in.Others[i].Issuer.Issued(certificate) {
			return &in.Others[i]
		}
	}
	return nil
}

// bundle is the roots to deliver.
func (in LeafInput) bundle() pki.Bundle {
	if in.Bundle.Len() == 0 {
		return in.Issuer.Bundle()
	}
	return in.Bundle
}

// leafChecks are the reasons to issue, in the order in which they are told: the first that applies. hit returns the
// message, or nothing.
var leafChecks = []struct {
	reason string
	hit    func(LeafInput, observed, time.Time) string
}{
	{v1alpha1.ReasonSecretMissing, secretMissing},
	{v1alpha1.ReasonSecretMalformed, secretMalformed},
	{v1alpha1.ReasonKeyMismatch, keyMismatch},
	{v1alpha1.ReasonIssuerChanged, issuerChanged},
	{v1alpha1.ReasonSpecChanged, specChanged},
	{v1alpha1.ReasonRenewalDue, renewalDue},
	{v1alpha1.ReasonRenewalRequested, renewalRequested},
}

func secretMissing(in LeafInput, _ observed, _ time.Time) string {
	if in.Secret == nil {
		return "the Secret doesn't exist"
	}
	return ""
}

func secretMalformed(in LeafInput, leaf observed, _ time.Time) string {
	switch {
	case leaf.problem != "":
		return leaf.problem
	case in.Secret.Key == KeyMissing:
		return v1alpha1.PrivateKeyKey + " is missing"
	case in.Secret.Key == KeyMalformed:
		return v1alpha1.PrivateKeyKey + " is not a private key in PEM"
	default:
		return ""
	}
}

func keyMismatch(in LeafInput, _ observed, _ time.Time) string {
	if in.Secret.Key == KeyMismatch {
		return fmt.Sprintf("%s is not the key of %s", v1alpha1.PrivateKeyKey, v1alpha1.CertificateKey)
	}
	return ""
}

func issuerChanged(in LeafInput, leaf observed, _ time.Time) string {
	switch {
	case leaf.on != nil && !in.Turn:
		return ""
	case !leaf.signed:
		return fmt.Sprintf("the certificate wasn't signed by %q", pki.SubjectText(in.Issuer.Certificate()))
	case !slices.EqualFunc(leaf.sent, in.Issuer.Sent(), (*x509.Certificate).Equal):
		return v1alpha1.CertificateKey + " doesn't hold the issuer's intermediates"
	default:
		return ""
	}
}

func specChanged(in LeafInput, leaf observed, _ time.Time) string {
	if difference := in.Wish.Request.Difference(leaf.certificate, in.Wish.KeyType); difference != "" {
		return difference
	}
	if encoding, _ := in.Secret.Key.Encoding(); encoding != in.Wish.KeyEncoding {
		return fmt.Sprintf("privateKey.encoding: has %s, want %s", encoding, in.Wish.KeyEncoding)
	}
	return ""
}

func renewalDue(in LeafInput, leaf observed, now time.Time) string {
	if at := in.renewAt(leaf.certificate); !at.IsZero() && !now.Before(at) {
		return "it ends at " + leaf.certificate.NotAfter.UTC().Format(time.RFC3339)
	}
	return ""
}

func renewalRequested(in LeafInput, _ observed, _ time.Time) string {
	if in.Wish.RenewToken != "" && in.Wish.RenewToken != in.Secret.RenewServed {
		return fmt.Sprintf("asked for by annotation %s", v1alpha1.RenewRequestedAtAnnotation)
	}
	return ""
}

// UselessFrom is from when on an issuer makes no certificates of a duration any more, as they would end with it too soon.
func UselessFrom(issuer pki.Issuer, duration time.Duration) time.Time {
	return issuer.Validity().NotAfter.Add(-duration / usefulFraction)
}

// schedule decides whether issuing makes sense now, and when to look again.
func (p *LeafPlan) schedule(in LeafInput, now time.Time) {
	useless := UselessFrom(in.Issuer, in.Wish.Duration)
	if p.Issue {
		p.Expiring = now.After(useless)
		p.Issue = !p.Expiring
		return
	}
	var expiring time.Time
	if p.RenewAt = in.renewAt(p.Certificate); p.RenewAt.IsZero() {
		expiring = latest(in.dueAt(p.Certificate), useless.Add(1)) // the first moment after useless
		p.Expiring = !now.Before(expiring)
	}
	p.Next = soonest(now, p.RenewAt, expiring, p.Certificate.NotAfter.Add(time.Second)) // when it has ended, that is told
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// recordFacts keeps the times recorded before where nothing changed.
func (p *LeafPlan) recordFacts(in LeafInput, leaf observed, now time.Time) {
	p.IssuerSince, p.BundleSince = now, now
	p.DeliverTrust = in.Secret == nil || !bytes.Equal(in.Secret.Bundle, in.bundle().PEM())
	if in.Secret == nil {
		return
	}
	sameIssuer := leaf.signed || leaf.on != nil && !p.Issue
	if sameIssuer && !in.Secret.IssuerSince.IsZero() {
		p.IssuerSince = in.Secret.IssuerSince
	}
	if !p.DeliverTrust && !in.Secret.BundleSince.IsZero() {
		p.BundleSince = in.Secret.BundleSince
	}
}

// soonest of the times after now; zero when there is none.
func soonest(now time.Time, times ...time.Time) time.Time {
	var first time.Time
	for _, at := range times {
		if at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
