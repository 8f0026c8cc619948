package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"maps"
)

// identity is all of a CA's certificate that decides whether verifiers accept what was signed with its key, but the
// time. Extensions are compared as they are written: the same ones in another order count as others, which costs a new
// signature but can't break anything.
type identity struct {
	subject, publicKey, keyID                 string
	basicConstraints, nameConstraints, usages string
}

func identityOf(c *x509.Certificate) identity {
	return identity{
		subject:          string(c.RawSubject),
		publicKey:        string(c.RawSubjectPublicKeyInfo),
		keyID:            string(c.SubjectKeyId), // leaves name it: strict verifiers want the same one
		basicConstraints: extensionValue(c, oidBasicConstraints),
		nameConstraints:  extensionValue(c, oidNameConstraints),
		usages:           extensionValue(c, oidExtKeyUsage),
	}
}

// extensionValue returns the DER of an extension, "" when there is none.
func extensionValue(c *x509.Certificate, oid asn1.ObjectIdentifier) string {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			return string(e.Value)
		}
	}
	return ""
}

// SameIdentity tells whether what one issuer signed verifies under the other, as after a CA's certificate was renewed
// with the same key: name, key, key identifier and limits are the same, and so are those of the CAs above. Only the
// validities may differ.
func (i Issuer) SameIdentity(other Issuer) bool {
	if i.certificate == nil || other.certificate == nil {
		return false
	}
	return identityOf(i.certificate) == identityOf(other.certificate) && maps.Equal(i.identities(), other.identities())
}

// identities is the set of those of the issuer and everything above it.
func (i Issuer) identities() map[identity]bool {
	set := map[identity]bool{}
	for _, c := range i.above() {
		set[identityOf(c)] = true
	}
	return set
}

// Clash tells why two issuers can't be trusted by the same verifiers, and what to do; "" when they can. Verifiers look
// for a CA by its name first, and OpenSSL tries no other one when the first doesn't fit: CAs of the same name with
// different keys can only be told apart when both have a key identifier. All CAs of both count, since one that is sent
// along can be taken for a root too.
func (i Issuer) Clash(other Issuer) string {
	for _, one := range i.above() {
		for _, another := range other.above() {
			if message := clash(one, another); message != "" {
				return message
			}
		}
	}
	return ""
}

// clash compares names as the most generous verifiers do: names that differ in case only are the same to OpenSSL.
func clash(one, another *x509.Certificate) string {
	if canonicalName(one) != canonicalName(another) || SameKey(one.PublicKey, another.PublicKey) {
		return ""
	}
	why := "have the same subject key identifier"
	switch {
	case len(one.SubjectKeyId) == 0 && len(another.SubjectKeyId) == 0:
		why = "have no subject key identifier"
	case len(one.SubjectKeyId) == 0 || len(another.SubjectKeyId) == 0:
		why = "don't both have a subject key identifier"
	case !bytes.Equal(one.SubjectKeyId, another.SubjectKeyId):
		return ""
	}
	return fmt.Sprintf("two CAs with different keys are named %s and %s, so verifiers take one for the other: "+
		"give one another commonName, or make it with a subject key identifier of its own", quote(SubjectText(one)), why)
}
