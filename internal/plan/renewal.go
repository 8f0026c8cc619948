package plan

import (
	"crypto/x509"
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

const (
	// renewFraction of its issued life is the most a certificate is renewed before its end, and what it is by default.
	renewFraction = 3
	// gainFraction of a life is the least that a renewal must win. Without it a certificate that its issuer's end cuts
	// short is due again as soon as it is made, for ever.
	gainFraction = 10
	// usefulFraction of the life asked for is the least that a new certificate must live.
	usefulFraction = 10
	// jitterFraction of its issued life is the most by which a certificate's renewal is brought forward.
	jitterFraction = 20
)

// dueAt is when certificate would be renewed if its issuer lived for ever: its end, less the effective renewBefore, less
// a jitter. All are taken from the life it was issued with and not from now, so that the time doesn't move from pass to
// pass.
func (in LeafInput) dueAt(certificate *x509.Certificate) time.Time {
	life := issuedLife(certificate)
	before := life / renewFraction
	if in.Wish.RenewBefore > 0 {
		before = min(before, in.Wish.RenewBefore)
	}
	return certificate.NotAfter.Add(-before - in.jitter(life))
}

// renewAt is when certificate is renewed: when it is due, but not before a new one would live noticeably longer. It is
// zero when none would, because the issuer ends.
func (in LeafInput) renewAt(certificate *x509.Certificate) time.Time {
	due := in.dueAt(certificate)
	gain := min(issuedLife(certificate), in.Wish.Duration) / gainFraction
	if in.Issuer.Validity().NotAfter.Sub(certificate.NotAfter) < gain {
		return time.Time{}
	}
	if gaining := certificate.NotAfter.Add(gain - in.Wish.Duration); gaining.After(due) {
		return gaining
	}
	return due
}

// jitter is between nothing and a twentieth of life, and always the same for the same certificate.
func (in LeafInput) jitter(life time.Duration) time.Duration {
	limit := uint64(max(life, 0)/jitterFraction) / uint64(time.Second)
	if limit == 0 {
		return 0
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(in.UID))
	return time.Duration(hash.Sum64()%limit) * time.Second //nolint:gosec // less than a twentieth of a life
}

// issuedLife is how long a certificate was to live when it was issued. What it was backdated by isn't a part of it: of the
// shortest certificates that is a third, and they would be renewed three times in one life. A certificate that isn't much
// older than its CA may be backdated by less.
func issuedLife(certificate *x509.Certificate) time.Duration {
	life := pki.Validity{NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter}.Life()
	return max(life-pki.Backdate, life/2)
}

// Renewal tells when a certificate that was just issued is renewed (zero: not under this issuer), and when to decide next.
func Renewal(uid types.UID, wish Wish, issuer pki.Issuer, certificate *x509.Certificate, now time.Time) (at, next time.Time) {
	plan := LeafPlan{Certificate: certificate}
	plan.schedule(LeafInput{UID: uid, Wish: wish, Issuer: issuer}, now)
	return plan.RenewAt, plan.Next
}
