package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	key, err := GenerateKey(request.keyType)
	if err != nil {
		return nil, err
	}
	validity := newValidity(now.Add(-Backdate), now.Add(request.duration))
	template, err := authorityTemplate(request, key.Public(), validity)
	if err != nil {
		return nil, err
	}
	certificate, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := request.check(certificate, validity); err != nil {
		return nil, fmt.Errorf("the CA certificate that was made isn't as it must be: %w", err)
	}
	issuer, err := newIssuer([]*x509.Certificate{certificate}, nil)
	if err != nil {
		return nil, err
	}
	return newAuthority(issuer, key), nil
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
	if err := a.issuer.allows(request); err != nil {
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

// allows tells whether the CAs above a leaf allow what it shall say.
func (i Issuer) allows(request Request) error {
	if i.certificate == nil || len(request.usages) == 0 {
		return errors.New("no issuer or no request was given")
	}
	if err := checkConstraints(request, i.above()); err != nil {
		return err
	}
	wanted := canonicalName(&x509.Certificate{RawSubject: request.subject})
	for _, c := range i.above() {
		if canonicalName(c) == wanted {
			return FieldErrors{{"subject", "is the name of the CA itself, " + quote(SubjectText(c)) +
				": choose another name, or verifiers take the certificate for a CA's"}}
		}
		for _, usage := range request.usages {
			if !allowsUsage(c, extendedUsages[usage]) {
				return FieldErrors{{"usages", fmt.Sprintf("CA %s has an extKeyUsage without %s: remove it, or use another CA",
					quote(SubjectText(c)), usage)}}
			}
		}
	}
	return nil
}

// canonicalName is a name as verifiers compare it (RFC 5280, section 7.1).
func canonicalName(c *x509.Certificate) string {
	return strings.ToLower(strings.Join(strings.Fields(SubjectText(c)), " "))
}

// allowsUsage tells whether a CA's own extended key usage, which limits what is below it, has this one.
func allowsUsage(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	unlimited := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0
	return unlimited || slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// covers tells whether a validity is one at all, and inside everything above it.
func (i Issuer) covers(validity Validity) error {
	switch {
	case !validity.equal(newValidity(validity.NotBefore, validity.NotAfter)):
		return fmt.Errorf("validity %s has fractions of seconds", validity)
	case validity.Life() <= 0:
		return fmt.Errorf("validity %s is empty: the CA is valid from %s", validity, i.validity)
	case validity.intersect(i.validity) != validity:
		return fmt.Errorf("validity %s isn't inside the CA's, %s", validity, i.validity)
	}
	return nil
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
