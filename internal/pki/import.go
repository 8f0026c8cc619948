package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Keys of a Secret that holds a CA.
const (
	keyCertificates = "tls.crt"
	keyPrivate      = "tls.key"
	keyRoots        = "ca.crt"
)

// ImportError says why a CA that was made elsewhere can't be used.
type ImportError struct {
	// Key of the Secret: tls.crt, tls.key or ca.crt.
	Key string
	// Message says what is wrong there and what to do. It never contains anything of a private key.
	Message string
}

// Error joins key and message.
func (e *ImportError) Error() string { return e.Key + ": " + e.Message }

func refuse(key, format string, arguments ...any) error {
	return &ImportError{key, fmt.Sprintf(format, arguments...)}
}

// ImportAuthority reads a CA that was made elsewhere, for example with "openssl req -x509". certificates are the CA's
// own and then the ones above it; roots may be empty when that chain ends in a self-signed certificate. The error is
// an [ImportError].
func ImportAuthority(certificates, key, roots []byte, now time.Time) (*Authority, error) {
	return readAuthority(certificates, key, roots, func(c *x509.Certificate) string { return checkImported(c, now) })
}

// readAuthority puts an authority together from the three keys of a Secret. acceptable says what is wrong with a single
// certificate, "" for nothing.
func readAuthority(certificates, key, roots []byte, acceptable func(*x509.Certificate) string) (*Authority, error) {
	chain, err := parseChain(certificates)
	if err != nil {
		return nil, err
	}
	signer, err := parseSigner(key)
	if err != nil {
		return nil, err
	}
	if err := checkPair(chain, signer.Public()); err != nil {
		return nil, err
	}
	if err := checkEach(keyCertificates, chain, acceptable); err != nil {
		return nil, err
	}
	trusted, err := parseRoots(roots)
	if err != nil {
		return nil, err
	}
	if err := checkEach(keyRoots, trusted, acceptable); err != nil {
		return nil, err
	}
	issuer, err := newIssuer(chain, trusted)
	if err != nil {
		return nil, err
	}
	return newAuthority(issuer, signer), nil
}

func parseChain(data []byte) ([]*x509.Certificate, error) {
	if isBlank(data) {
		return nil, refuse(keyCertificates, "is missing or empty: put the CA's certificate there, in PEM")
	}
	chain, err := ParseCertificates(data)
	if err != nil {
		return nil, refuse(keyCertificates, "%s", err)
	}
	return chain, nil
}

func parseSigner(data []byte) (crypto.Signer, error) {
	if isBlank(data) {
		return nil, refuse(keyPrivate, "is missing or empty: put the CA's private key there, in PEM")
	}
	signer, _, err := ParseKey(data)
	if err != nil {
		return nil, refuse(keyPrivate, "%s", err)
	}
	return signer, nil
}

func parseRoots(data []byte) ([]*x509.Certificate, error) {
	if isBlank(data) {
		return nil, nil
	}
	roots, err := ParseCertificates(data)
	if err != nil {
		return nil, refuse(keyRoots, "%s", err)
	}
	return roots, nil
}

func isBlank(data []byte) bool { return len(bytes.TrimSpace(data)) == 0 }

// checkPair wants the key to be that of the first certificate.
func checkPair(chain []*x509.Certificate, public crypto.PublicKey) error {
	at := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return SameKey(c.PublicKey, public) })
	switch {
	case at < 0:
		return refuse(keyPrivate, "isn't the key of the certificate in %s, %s: put the two that belong together there",
			keyCertificates, quote(SubjectText(chain[0])))
	case at > 0:
		return refuse(keyCertificates, "%s is the one of the private key: it must come first, "+
			"then the one that signed it, and so on", certificateName(at, chain[at]))
	}
	return nil
}

func checkEach(key string, certificates []*x509.Certificate, acceptable func(*x509.Certificate) string) error {
	for i, c := range certificates {
		if message := acceptable(c); message != "" {
			return refuse(key, "%s %s", certificateName(i, c), message)
		}
	}
	return nil
}

// checkImported says what keeps a certificate from being one of a CA that verifiers accept today.
func checkImported(c *x509.Certificate, now time.Time) string {
	for _, check := range []func(*x509.Certificate) string{
		checkIsAuthority, checkStrength, checkSubjectOfImported, checkIdentifiers, checkLimits,
	} {
		if message := check(c); message != "" {
			return message
		}
	}
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("expired at %s: import a renewed one", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Sprintf("isn't valid before %s: wait, or check the clocks", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return ""
}

func checkIsAuthority(c *x509.Certificate) string {
	switch {
	case c.Version != 3:
		return fmt.Sprintf(`is of X.509 version %d, which can't say that it is a CA's: make one of version 3, `+
			`as "openssl req -x509" does`, c.Version)
	case !c.BasicConstraintsValid:
		return "isn't a CA's: it has no basicConstraints; make one with CA:TRUE"
	case !c.IsCA:
		return "isn't a CA's: its basicConstraints say CA:FALSE; import the CA that signed it, or make one with CA:TRUE"
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return "may not sign certificates: its keyUsage lacks keyCertSign; make one with it, or without keyUsage"
	}
	return ""
}

// strong are the signatures that verifiers accept.
var strong = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
}

func checkStrength(c *x509.Certificate) string {
	if _, err := KeyTypeOf(c.PublicKey); err != nil {
		return "has an unsupported key: " + err.Error()
	}
	switch {
	case c.SignatureAlgorithm == x509.UnknownSignatureAlgorithm:
		return "has a signature of an algorithm or with parameters that aren't supported: sign it with SHA-256 or better"
	case !slices.Contains(strong, c.SignatureAlgorithm):
		return fmt.Sprintf("has a signature that verifiers refuse (%s): sign it with SHA-256 or better",
			c.SignatureAlgorithm)
	}
	return ""
}

func checkSubjectOfImported(c *x509.Certificate) string {
	if len(c.Subject.Names) == 0 {
		return "has an empty subject: a CA needs a name"
	}
	for _, part := range c.Subject.Names {
		if text, ok := part.Value.(string); ok && isSystemName(text) {
			return fmt.Sprintf(`has %s in its subject: Kubernetes gives rights to names that begin with "system:"; `+
				"choose another name", quote(text))
		}
	}
	return ""
}

const (
	maxSerialNumber = 20 // octets, RFC 5280, section 4.1.2.2
	maxKeyID        = 64 // octets, those of the longest hash that anybody makes one with
)

func checkIdentifiers(c *x509.Certificate) string {
	switch serial := (c.SerialNumber.BitLen() + 7) / 8; {
	case serial > maxSerialNumber:
		return fmt.Sprintf("has a serial number of %d octets, which verifiers may refuse: make one with no more than %d",
			serial, maxSerialNumber)
	case len(c.SubjectKeyId) > maxKeyID:
		return fmt.Sprintf("has a subject key identifier of %d octets: make one with no more than %d, or without it",
			len(c.SubjectKeyId), maxKeyID)
	}
	return ""
}

// checkLimits refuses a CA that limits itself to what the operator doesn't make, or in ways that it can't check.
func checkLimits(c *x509.Certificate) string {
	switch {
	case !allowsUsage(c, x509.ExtKeyUsageServerAuth) && !allowsUsage(c, x509.ExtKeyUsageClientAuth):
		return "has an extKeyUsage with neither serverAuth nor clientAuth: make one with them, or without extKeyUsage"
	case hasOtherConstraints(c):
		return "has nameConstraints on other things than DNS names, IP addresses, URIs and e-mail addresses, " +
			"which aren't supported: make one without them"
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Sprintf("has critical extension %s, which isn't supported: make one without it",
			c.UnhandledCriticalExtensions[0])
	}
	return ""
}
