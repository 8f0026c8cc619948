package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"
)

// Authority is a CA that can sign: an [Issuer] and its private key. However it is printed or marshaled, the key doesn't
// show. It may be used by many goroutines.
type Authority struct {
	issuer Issuer
	// key is a function so that nothing that walks through values, such as fmt for a struct around an Authority, gets to
	// the key.
	key func() crypto.Signer
}

func newAuthority(issuer Issuer, key crypto.Signer) *Authority {
	return &Authority{issuer, func() crypto.Signer { return key }}
}

// SelfSign makes a key and a root CA, valid from [Backdate] before now until its duration after now.
func SelfSign(request AuthorityRequest, now time.Time) (*Authority, error) {
	return makeAuthority(request, newValidity(now.Add(-Backdate), now.Add(request.duration)), nil)
}

// SignAuthority makes a key and an intermediate CA below this one, valid as [Issuer.LeafValidity] has it. Peers need
// only the roots that they have. What a CA above doesn't allow, and what makes no sense below it, is refused before
// anything is made, as [Issuer.AllowsAuthority] does; so is a time above that has all but run out. What was signed is
// returned only when it verifies from its first to its last second.
func (a *Authority) SignAuthority(request AuthorityRequest, now time.Time) (*Authority, error) {
	if err := a.issuer.AllowsAuthority(request); err != nil {
		return nil, err
	}
	validity := a.issuer.LeafValidity(now, request.duration)
	if validity.Life() < minAuthorityDuration {
		return nil, FieldErrors{{"duration", fmt.Sprintf("can't be even %s: the CAs above are valid from %s; renew them first",
			minAuthorityDuration, a.issuer.validity)}}
	}
	return makeAuthority(request, validity, a)
}

// makeAuthority makes a root, or an intermediate below a parent.
func makeAuthority(request AuthorityRequest, validity Validity, parent *Authority) (*Authority, error) {
	key, err := GenerateKey(request.keyType)
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate(request, key.Public(), validity)
	if err != nil {
		return nil, err
	}
	above, signer := template, key
	if parent != nil {
		above, signer = parent.issuer.certificate, parent.key()
	}
	certificate, err := sign(template, above, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	issuer, err := checkedIssuer(certificate, parent, request, key.Public(), validity)
	if err != nil {
		return nil, fmt.Errorf("the CA certificate that was made isn't as it must be: %w", err)
	}
	return newAuthority(issuer, key), nil
}

// checkedIssuer puts a signed CA certificate below its parent, none for a root, when it is what was asked for.
func checkedIssuer(
	c *x509.Certificate, parent *Authority, request AuthorityRequest, public crypto.PublicKey, validity Validity,
) (Issuer, error) {
	above, chain, roots := c, []*x509.Certificate{c}, Bundle{}
	if parent != nil {
		above, chain, roots = parent.issuer.certificate, append(chain, parent.issuer.sent...), parent.issuer.roots
	}
	if err := request.check(c, above, public, validity); err != nil {
		return Issuer{}, err
	}
	issuer, err := newIssuer(chain, roots.Certificates())
	if err != nil {
		return Issuer{}, err
	}
	if _, err := verify(c, issuer, issuer.roots, x509.ExtKeyUsageAny); err != nil {
		return Issuer{}, fmt.Errorf("peers would refuse it %w", err)
	}
	return issuer, nil
}

// LoadAuthority reads what [Authority.Encode] wrote: the key must match, and the chain must be consistent. Whether it
// has expired isn't looked at. The error is an [ImportError].
func LoadAuthority(certificates, key, roots []byte) (*Authority, error) {
	return readAuthority(certificates, key, roots, func(*x509.Certificate) string { return "" })
}

// Issuer returns the public half.
func (a *Authority) Issuer() Issuer { return a.issuer }

// Encode returns the authority as the data of a Secret: the certificate and the intermediates above it (tls.crt), the
// key in PKCS #8 (tls.key) and the roots (ca.crt), all in PEM.
func (a *Authority) Encode() (certificates, key, roots []byte, err error) {
	key, err = EncodeKey(a.key(), EncodingPKCS8)
	if err != nil {
		return nil, nil, nil, err
	}
	chain := a.issuer.sent
	if len(chain) == 0 {
		chain = []*x509.Certificate{a.issuer.certificate}
	}
	return EncodeCertificates(chain...), key, a.issuer.roots.PEM(), nil
}

// Sign makes one leaf with this public key. What the CA or one above it doesn't allow is refused before anything is
// signed: a [NameConstraintError] for a name, [FieldErrors] for a usage or the subject. What was signed is returned
// only when it passes [Check] with the bundle it will be delivered with.
func (a *Authority) Sign(
	request Request, public crypto.PublicKey, validity Validity, bundle Bundle,
) (*x509.Certificate, error) {
	if err := a.issuer.Allows(request); err != nil {
		return nil, err
	}
	if err := a.issuer.covers(validity); err != nil {
		return nil, err
	}
	template, err := leafTemplate(request, public, validity)
	if err != nil {
		return nil, err
	}
	leaf, err := sign(template, a.issuer.certificate, public, a.key())
	if err != nil {
		return nil, err
	}
	if err := Check(leaf, request, public, a.issuer, validity, bundle); err != nil {
		return nil, err
	}
	return leaf, nil
}

// sign is the only function that uses a CA's key. It returns the certificate as it is read back from its bytes.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	algorithm, err := algorithmOf(key.Public())
	if err != nil {
		return nil, err
	}
	template.SignatureAlgorithm = algorithm.signature
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("can't sign the certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("can't read the certificate that was signed: %w", err)
	}
	return certificate, nil
}

// Endorse signs with the CA's key that another certificate is the same authority's: [Issuer.Endorsed] of this CA knows
// it again. It is the only thing besides [sign] that uses a CA's key, and what it signs can't be taken for a certificate.
// It fails for what isn't an [Endorsement].
func (a *Authority) Endorse(subject Endorsement) (string, error) {
	message, err := subject.message()
	if err != nil {
		return "", err
	}
	key := a.key()
	algorithm, err := algorithmOf(key.Public())
	if err != nil {
		return "", err
	}
	signature, err := crypto.SignMessage(key, rand.Reader, message, algorithm.text.options)
	if err != nil {
		return "", fmt.Errorf("can't sign the endorsement: %w", err)
	}
	return endorsementEncoding.EncodeToString(signature), nil
}

// String names the CA, without its key.
func (a *Authority) String() string {
	return fmt.Sprintf("CA %s (SHA-256 %s)", quote(SubjectText(a.issuer.certificate)), a.issuer.fingerprint)
}

// GoString is String, for %#v.
func (a *Authority) GoString() string { return a.String() }

// Format is String, for every verb.
func (a *Authority) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// MarshalJSON is String, as JSON.
func (a *Authority) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }
