package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plain is what a user asks of a CA who asks for nothing special.
func plain() AuthorityFields {
	return AuthorityFields{Subject: Subject{CommonName: "my-ca"}, KeyType: KeyECDSAP256, Duration: year, Generation: 1}
}

func TestNewAuthorityRequestNamesTheField(t *testing.T) {
	for name, test := range map[string]struct {
		change      func(*AuthorityFields)
		field, want string
	}{
		"no common name": {
			func(f *AuthorityFields) { f.Subject.CommonName = "" }, "commonName", "is empty: a CA needs a name",
		},
		"a common name of Kubernetes": {
			func(f *AuthorityFields) { f.Subject.CommonName = "system:ca" }, "commonName", "Kubernetes gives rights",
		},
		"a common name that leaves no room for a number": {
			func(f *AuthorityFields) { f.Subject.CommonName = strings.Repeat("x", 57) }, "commonName",
			"has 57 characters: there may be no more than 56",
		},
		"a common name with a newline": {
			func(f *AuthorityFields) { f.Subject.CommonName = "a\nb" }, "commonName", "has a control",
		},
		"a number that doesn't fit": {
			func(f *AuthorityFields) {
				f.Subject.CommonName, f.Generation = strings.Repeat("x", 56), 10_000_000
			}, "commonName", "there may be no more than 64",
		},
		"organization": {
			func(f *AuthorityFields) { f.Subject.Organizations = []string{"system:masters"} },
			"subject.organizations[0]", "Kubernetes gives rights",
		},
		"key type": {
			func(f *AuthorityFields) { f.KeyType = "RSA1024" }, "privateKey.type", `"RSA1024" isn't known: use one of ECDSAP256`,
		},
		"no key type": {func(f *AuthorityFields) { f.KeyType = "" }, "privateKey.type", `"" isn't known`},
		"too short a life": {
			func(f *AuthorityFields) { f.Duration = time.Hour - 1 }, "duration", "must be at least 1h0m0s",
		},
		"a negative life":   {func(f *AuthorityFields) { f.Duration = -year }, "duration", "must be at least 1h0m0s"},
		"a negative length": {func(f *AuthorityFields) { f.MaxPathLength = -1 }, "maxPathLength", "must be from 0 to 8"},
		"too long a length": {func(f *AuthorityFields) { f.MaxPathLength = 9 }, "maxPathLength", "must be from 0 to 8"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := plain()
			test.change(&fields)
			_, err := NewAuthorityRequest(fields)
			wantField(t, err, test.field, test.want)
		})
	}
}

func TestNewAuthorityRequestNamesTheConstraint(t *testing.T) {
	permit := func(set NameConstraintSet) func(*AuthorityFields) {
		return func(f *AuthorityFields) { f.NameConstraints.Permitted = set }
	}
	exclude := func(set NameConstraintSet) func(*AuthorityFields) {
		return func(f *AuthorityFields) { f.NameConstraints.Excluded = set }
	}
	for name, test := range map[string]struct {
		change      func(*AuthorityFields)
		field, want string
	}{
		"permitted domain with a dot": {
			permit(NameConstraintSet{DNSDomains: []string{"a", ".b"}}), "nameConstraints.permitted.dnsDomains[1]",
			`".b" begins with a dot: remove it`,
		},
		"excluded domain with a wildcard": {
			exclude(NameConstraintSet{DNSDomains: []string{"*.example.com"}}), "nameConstraints.excluded.dnsDomains[0]",
			"has a wildcard: remove it, a domain covers all that is under it",
		},
		"empty domain": {
			permit(NameConstraintSet{DNSDomains: []string{""}}), "nameConstraints.permitted.dnsDomains[0]", "is empty: remove it",
		},
		"domain that is an IP address": {
			permit(NameConstraintSet{DNSDomains: []string{"10.0.0.1"}}), "nameConstraints.permitted.dnsDomains[0]",
			"is an IP address",
		},
		"domain twice": {
			permit(NameConstraintSet{DNSDomains: []string{"a", "a"}}), "nameConstraints.permitted.dnsDomains[1]", "is there twice",
		},
		"address for a network": {
			permit(NameConstraintSet{IPRanges: []string{"10.0.0.1"}}), "nameConstraints.permitted.ipRanges[0]",
			"isn't a network: write one such as 10.0.0.0/8",
		},
		"network with bits behind its prefix": {
			exclude(NameConstraintSet{IPRanges: []string{"10.0.0.1/8"}}), "nameConstraints.excluded.ipRanges[0]",
			"has bits set behind its prefix: write 10.0.0.0/8",
		},
		"network that isn't canonical": {
			permit(NameConstraintSet{IPRanges: []string{"FD00::/8"}}), "nameConstraints.permitted.ipRanges[0]", "write fd00::/8",
		},
		"IPv4 network in IPv6": {
			permit(NameConstraintSet{IPRanges: []string{"::ffff:10.0.0.0/104"}}), "nameConstraints.permitted.ipRanges[0]",
			"write it as IPv4",
		},
		"e-mail address": {
			permit(NameConstraintSet{EmailAddresses: []string{"a b@c"}}), "nameConstraints.permitted.emailAddresses[0]",
			"isn't an e-mail address",
		},
		"e-mail domain": {
			permit(NameConstraintSet{EmailAddresses: []string{"."}}), "nameConstraints.permitted.emailAddresses[0]",
			"is empty: remove it",
		},
		"URI domain that is no full name": {
			permit(NameConstraintSet{URIDomains: []string{".local"}}), "nameConstraints.permitted.uriDomains[0]",
			"has one label only: write a full domain name",
		},
		"URI for a domain": {
			exclude(NameConstraintSet{URIDomains: []string{"spiffe://example.com"}}), "nameConstraints.excluded.uriDomains[0]",
			"isn't a DNS name",
		},
	} {
		t.Run(name, func(t *testing.T) {
			fields := plain()
			test.change(&fields)
			_, err := NewAuthorityRequest(fields)
			wantField(t, err, test.field, test.want)
		})
	}
}

func TestNewAuthorityRequestTellsEverythingAtOnce(t *testing.T) {
	_, err := NewAuthorityRequest(AuthorityFields{
		Subject:         Subject{CommonName: "a\nb", Countries: []string{"x"}},
		MaxPathLength:   -1,
		NameConstraints: NameConstraints{Excluded: NameConstraintSet{IPRanges: []string{"x"}}},
	})
	var wrong FieldErrors
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	var fields []string
	for _, one := range wrong {
		fields = append(fields, one.Field)
	}
	want := []string{
		"commonName", "subject.countries[0]", "privateKey.type", "duration", "maxPathLength", "nameConstraints.excluded.ipRanges[0]",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
}

func TestTheNumberOfAGenerationIsInItsName(t *testing.T) {
	for generation, want := range map[int64]string{0: "my-ca", 1: "my-ca", 2: "my-ca G2", 17: "my-ca G17"} {
		fields := plain()
		fields.Generation = generation
		if has := selfSigned(t, fields).issuer.certificate.Subject.CommonName; has != want {
			t.Errorf("%d: %q, want %q", generation, has, want)
		}
	}
}

func allConstraints() NameConstraints {
	return NameConstraints{
		Permitted: NameConstraintSet{
			DNSDomains:     []string{"local", "example.com"},
			IPRanges:       []string{"10.0.0.0/8", "fd00::/8"},
			EmailAddresses: []string{"a@example.com", "example.org", ".example.net"},
			URIDomains:     []string{"example.com", ".example.net"},
		},
		Excluded: NameConstraintSet{
			DNSDomains:     []string{"secret.example.com"},
			IPRanges:       []string{"10.1.0.0/16"},
			EmailAddresses: []string{"root@example.org"},
			URIDomains:     []string{"secret.example.net"},
		},
	}
}

func TestTheProfileOfACA(t *testing.T) {
	for _, keyType := range KeyTypes() {
		for name, constraints := range map[string]NameConstraints{"plain": {}, "constrained": allConstraints()} {
			for _, length := range []int{0, 1, 8} {
				t.Run(fmt.Sprint(keyType, name, length), func(t *testing.T) {
					if strings.HasPrefix(string(keyType), "RSA") && length != 1 {
						t.Skip("takes long")
					}
					c := selfSigned(t, AuthorityFields{
						Subject: Subject{CommonName: "my ca", Countries: []string{"DE"}}, KeyType: keyType, Duration: year,
						MaxPathLength: length, NameConstraints: constraints,
					}).issuer.certificate
					wantAuthorityProfile(t, c, keyType, length)
					if has := constraintsOf(c); has.empty() != (name == "plain") {
						t.Error("name constraints are there or not")
					}
				})
			}
		}
	}
}

func wantAuthorityProfile(t *testing.T, c *x509.Certificate, keyType KeyType, length int) {
	t.Helper()
	a, err := algorithmOf(c.PublicKey)
	wantNoError(t, err)
	if a.name != keyType || c.SignatureAlgorithm != a.signature {
		t.Errorf("%s, signed with %s", a.name, c.SignatureAlgorithm)
	}
	if SubjectText(c) != "CN=my ca,C=DE" || !bytes.Equal(c.RawIssuer, c.RawSubject) {
		t.Errorf("subject %s", SubjectText(c))
	}
	if bits := c.SerialNumber.BitLen(); bits < minSerialBits || bits > serialBits || c.SerialNumber.Sign() != 1 {
		t.Errorf("serial number %x", c.SerialNumber)
	}
	if !c.IsCA || !c.BasicConstraintsValid || c.MaxPathLen != length || c.MaxPathLenZero != (length == 0) {
		t.Errorf("basicConstraints CA %t, pathLen %d", c.IsCA, c.MaxPathLen)
	}
	if c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) != 0 {
		t.Errorf("usages %b %v", c.KeyUsage, c.ExtKeyUsage)
	}
	if len(c.SubjectKeyId) != 20 || len(c.AuthorityKeyId) != 0 {
		t.Errorf("key identifiers %x %x", c.SubjectKeyId, c.AuthorityKeyId)
	}
	if !c.NotBefore.Equal(noon.Add(-Backdate)) || !c.NotAfter.Equal(noon.Add(year)) {
		t.Errorf("validity %s", validityOf(c))
	}
	wantNoError(t, checkExtensions(c, authorityExtensions(AuthorityRequest{constraints: constraintsOf(c)}, c, c)))
}

func TestNameConstraintsAreTheOnesAskedFor(t *testing.T) {
	fields := plain()
	fields.NameConstraints = allConstraints()
	c := selfSigned(t, fields).issuer.certificate
	if !c.PermittedDNSDomainsCritical {
		t.Error("they aren't critical")
	}
	set := func(s constraintSet) NameConstraintSet {
		return NameConstraintSet{s.dns, texts(s.ips), s.emails, s.uris}
	}
	has := constraintsOf(c)
	if diff := cmp.Diff(allConstraints(), NameConstraints{set(has.permitted), set(has.excluded)}); diff != "" {
		t.Error(diff)
	}
}

func TestACertificateThatIsNotTheOneAskedForIsNoticed(t *testing.T) {
	fields := plain()
	fields.NameConstraints = allConstraints()
	request, err := NewAuthorityRequest(fields)
	wantNoError(t, err)
	key := keyFor(t, "tampered", KeyECDSAP256)
	validity := newValidity(noon.Add(-Backdate), noon.Add(year))
	for want, tamper := range map[string]func(*x509.Certificate){
		"":                                 func(*x509.Certificate) {},
		"its basicConstraints are CA true": func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 1, false },
		"its keyUsage is":                  func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature },
		"its subject is":                   func(c *x509.Certificate) { c.RawSubject = emptySubject },
		"its validity is":                  func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) },
		"it lacks extension":               func(c *x509.Certificate) { constraints{}.apply(c) },
		"its nameConstraints aren't":       func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"x"} },
		"nameConstraints: critical is":     func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false },
		"extension 2.5.29.37":              func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
		"its subjectKeyIdentifier isn't":   func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} },
		"its serial number has":            func(c *x509.Certificate) { c.SerialNumber.SetInt64(1) },
	} {
		t.Run(want, func(t *testing.T) {
			template, err := authorityTemplate(request, key.Public(), validity)
			wantNoError(t, err)
			tamper(template)
			c, err := sign(template, template, key.Public(), key)
			wantNoError(t, err)
			if err = request.check(c, c, key.Public(), validity); want == "" {
				wantNoError(t, err)
			} else {
				wantText(t, err, want)
			}
		})
	}
	t.Run("its key is another type", func(t *testing.T) {
		other := keyFor(t, "tampered", KeyECDSAP384)
		template, err := authorityTemplate(request, other.Public(), validity)
		wantNoError(t, err)
		c, err := sign(template, template, other.Public(), other)
		wantNoError(t, err)
		wantText(t, request.check(c, c, other.Public(), validity), "its key is ECDSAP384, must be ECDSAP256")
	})
}

func TestAnAuthorityRequestCanNotBeChangedFromOutside(t *testing.T) {
	fields := plain()
	fields.NameConstraints = allConstraints()
	request, err := NewAuthorityRequest(fields)
	wantNoError(t, err)
	fields.NameConstraints.Permitted.DNSDomains[0] = "spoiled"
	authority, err := SelfSign(request, noon)
	wantNoError(t, err)
	if has := authority.issuer.certificate.PermittedDNSDomains[0]; has != "local" {
		t.Error(has)
	}
}

func TestIPRangesOfBothFamilies(t *testing.T) {
	fields := plain()
	fields.NameConstraints.Permitted.IPRanges = []string{"0.0.0.0/0", "::/0", "10.0.0.1/32", "fd00::1/128"}
	has := selfSigned(t, fields).issuer.certificate.PermittedIPRanges
	for i, bits := range []int{32, 128, 32, 128} {
		if _, total := has[i].Mask.Size(); total != bits || len(has[i].IP) != bits/8 {
			t.Errorf("%s has %d bits", has[i], total)
		}
	}
	if !has[2].IP.Equal(net.IPv4(10, 0, 0, 1)) {
		t.Error(has[2])
	}
}
