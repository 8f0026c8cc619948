package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Check looks at a signed certificate as a stranger would, from its bytes: that it follows the leaf profile to the
// letter and says what the request asks for, that it is for this key and this time, and that a peer who has only the
// bundle accepts it from its first to its last second, as a server under each of its names and as a client, as its
// usages say.
func Check(
	leaf *x509.Certificate, request Request, public crypto.PublicKey, issuer Issuer, validity Validity, bundle Bundle,
) error {
	if issuer.certificate == nil {
		return errors.New("the certificate can't be checked without an issuer")
	}
	for _, check := range []func() error{
		func() error { return checkCommon(leaf, public, issuer.certificate.PublicKey) },
		func() error { return checkExtensions(leaf, leafExtensions(request, issuer.certificate)) },
		func() error { return checkLeaf(leaf, request, public, issuer) },
		func() error { return checkValidity(leaf, issuer, validity) },
		func() error { return checkChains(leaf, request, issuer, bundle) },
		func() error { return checkServerNames(leaf, request) },
	} {
		if err := check(); err != nil {
			return fmt.Errorf("the certificate that was signed isn't as it must be: %w", err)
		}
	}
	return nil
}

func checkLeaf(leaf *x509.Certificate, request Request, public crypto.PublicKey, issuer Issuer) error {
	algorithm, err := algorithmOf(public)
	if err != nil {
		return err
	}
	if difference := request.Difference(leaf, algorithm.name); difference != "" {
		return errors.New(difference)
	}
	usage := algorithm.usage(request.usages)
	switch {
	case leaf.IsCA || leaf.MaxPathLen != -1:
		return errors.New("its basicConstraints are those of a CA")
	case leaf.KeyUsage != usage:
		return fmt.Errorf("its keyUsage is %09b, must be %09b", leaf.KeyUsage, usage)
	case !bytes.Equal(leaf.AuthorityKeyId, issuer.certificate.SubjectKeyId):
		return errors.New("its authorityKeyIdentifier isn't the CA's subjectKeyIdentifier")
	}
	return nil
}

func checkValidity(leaf *x509.Certificate, issuer Issuer, validity Validity) error {
	if has := validityOf(leaf); !has.equal(validity) {
		return fmt.Errorf("its validity is %s, must be %s", has, validity)
	}
	return issuer.covers(validity)
}

// checkChains verifies the leaf for every usage.
func checkChains(leaf *x509.Certificate, request Request, issuer Issuer, bundle Bundle) error {
	for _, usage := range request.usages {
		chains, err := verify(leaf, issuer, bundle, extendedUsages[usage])
		if err != nil {
			return fmt.Errorf("peers would refuse it as a %s %w", strings.ToLower(string(usage)), err)
		}
		if !slices.ContainsFunc(chains, issuer.isIn) {
			return errors.New("it was issued by another CA")
		}
	}
	return nil
}

// verify verifies a certificate at both ends of its life, with what is sent along and the bundle alone. It returns the
// chains of the last second.
func verify(
	c *x509.Certificate, issuer Issuer, bundle Bundle, usage x509.ExtKeyUsage,
) (chains [][]*x509.Certificate, err error) {
	options := x509.VerifyOptions{
		Roots: bundle.Pool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage},
	}
	for _, above := range issuer.sent {
		options.Intermediates.AddCert(above)
	}
	for _, at := range []time.Time{c.NotBefore, c.NotAfter} {
		options.CurrentTime = at
		if chains, err = c.Verify(options); err != nil {
			return nil, fmt.Errorf("at %s: %w", at.Format(time.RFC3339), err)
		}
	}
	return chains, nil
}

// isIn tells whether the issuer's own certificate is the one above the leaf.
func (i Issuer) isIn(chain []*x509.Certificate) bool {
	return len(chain) > 1 && chain[1].Equal(i.certificate)
}

// checkServerNames asks for each name as a client does that connects to it.
func checkServerNames(leaf *x509.Certificate, request Request) error {
	if !slices.Contains(request.usages, UsageServer) {
		return nil
	}
	for _, name := range slices.Concat(request.names.DNSNames, request.names.IPAddresses) {
		host := name
		if rest, wildcard := strings.CutPrefix(name, "*."); wildcard {
			host = "w." + rest // any label
		}
		if err := leaf.VerifyHostname(host); err != nil {
			return fmt.Errorf("clients of %s would refuse it: %s", quote(name), cut(err.Error(), 200))
		}
	}
	return nil
}
