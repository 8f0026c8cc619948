package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Allows tells, without a key, whether [Authority.Sign] would refuse the request because of a CA above the leaf, with the
// same errors: a [NameConstraintError] for a name, [FieldErrors] for a usage or the subject.
func (i Issuer) Allows(request Request) error {
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

// AllowsAuthority tells, without a key, whether [Authority.SignAuthority] would refuse the request because of a CA above
// it: the error is a [FieldErrors] with everything that is wrong. Limits of CAs above stay in force below whatever the
// request says, so only what could never be used is refused, and names that would be taken for another CA's.
func (i Issuer) AllowsAuthority(request AuthorityRequest) error {
	if i.certificate == nil || len(request.subject) == 0 {
		return errors.New("no issuer or no request was given")
	}
	var checks fieldChecks
	checks.add("commonName", i.checkAuthorityName(request))
	checks.add("maxPathLength", i.checkPathLength(request.maxPathLength))
	checks.permitted(request.constraints.permitted, i.above())
	return checks.err()
}

func (i Issuer) checkAuthorityName(request AuthorityRequest) string {
	wanted := canonicalName(&x509.Certificate{RawSubject: request.subject})
	for _, c := range i.above() {
		if canonicalName(c) == wanted {
			return fmt.Sprintf("makes the name of a CA above, %s: choose another one, or verifiers take one for the other",
				quote(SubjectText(c)))
		}
	}
	return ""
}

// checkPathLength wants every CA above to leave room for the new one and those below it (RFC 5280, section 4.2.1.9).
func (i Issuer) checkPathLength(wanted int) string {
	for at, c := range i.above() {
		between := min(at, len(i.sent)) // all roots stand in the same place
		room := c.MaxPathLen - between - 1
		switch {
		case !c.BasicConstraintsValid || c.MaxPathLen < 0 || wanted <= room:
			continue
		case room < 0:
			return fmt.Sprintf("can't be anything: CA %s has pathLen %d, which leaves no room for another CA here; "+
				"use another CA, or make that one with a larger maxPathLength", quote(SubjectText(c)), c.MaxPathLen)
		default:
			return fmt.Sprintf("is %d: CA %s has pathLen %d, which leaves room for at most %d here",
				wanted, quote(SubjectText(c)), c.MaxPathLen, room)
		}
	}
	return ""
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
