package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every way in which a signed certificate can differ from what was asked for is noticed, and said.
func TestCheckNoticesEveryTampering(t *testing.T) {
	authority, request := root(t), hello(t)
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	issuer := authority.Issuer()
	validity := issuer.LeafValidity(noon, time.Hour)
	for name, test := range map[string]struct {
		tamper func(*x509.Certificate)
		want   string
	}{
		"nothing":     {func(*x509.Certificate) {}, ""},
		"a CA":        {func(c *x509.Certificate) { c.IsCA = true }, "basicConstraints are those of a CA"},
		"keyUsage":    {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyAgreement }, "its keyUsage is"},
		"no keyUsage": {func(c *x509.Certificate) { c.KeyUsage = 0 }, "it lacks extension keyUsage"},
		"an usage more": {
			func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageAny) }, "usages: has",
		},
		"a usage less": {func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, "usages: lacks"},
		"no usage":     {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, "it lacks extension extKeyUsage"},
		"another subject": {
			func(c *x509.Certificate) { c.RawSubject = rootOf(t, KeyED25519).issuer.certificate.RawSubject }, "subject: has",
		},
		"no subject": {
			func(c *x509.Certificate) { c.RawSubject = emptySubject }, "subjectAltName: critical is true, must be false",
		},
		"a DNS name more": {
			func(c *x509.Certificate) { c.DNSNames = append(slices.Clone(c.DNSNames), "evil.example") },
			`dnsNames: has "evil.example", which isn't wanted`,
		},
		"an IP address less": {
			func(c *x509.Certificate) { c.IPAddresses = c.IPAddresses[:1] }, `ipAddresses: lacks "::1"`,
		},
		"another IP address": {
			func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(8, 8, 8, 8), net.IPv6loopback} },
			`ipAddresses: has "8.8.8.8", wants "127.0.0.1"`,
		},
		"no URI":            {func(c *x509.Certificate) { c.URIs = nil }, "uris: lacks"},
		"no e-mail address": {func(c *x509.Certificate) { c.EmailAddresses = nil }, "emailAddresses: lacks"},
		"no name": {
			func(c *x509.Certificate) { c.DNSNames, c.IPAddresses, c.URIs, c.EmailAddresses = nil, nil, nil, nil },
			"it lacks extension subjectAltName",
		},
		"an earlier start": {
			func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(-time.Second) }, "its validity is",
		},
		"a later end":     {func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) }, "its validity is"},
		"a serial number": {func(c *x509.Certificate) { c.SerialNumber.SetInt64(7) }, "its serial number has 3 bits"},
		"a key identifier": {
			func(c *x509.Certificate) { c.SubjectKeyId = []byte("x") }, "its subjectKeyIdentifier isn't made from its key",
		},
		"no key identifier": {
			func(c *x509.Certificate) { c.SubjectKeyId = nil }, "its subjectKeyIdentifier isn't made from its key",
		},
		"an extension more": {
			addExtension(asn1.ObjectIdentifier{1, 2, 3}, false), "it has extension 1.2.3, which the profile hasn't",
		},
		"a critical one too": {addExtension(asn1.ObjectIdentifier{1, 2, 3}, true), "it has extension 1.2.3"},
		"a policy": {
			func(c *x509.Certificate) { c.OCSPServer = []string{"http://example.com"} }, "it has extension 1.3.6.1.5.5.7.1.1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := leafTemplate(request, key, validity)
			wantNoError(t, err)
			test.tamper(template)
			leaf, err := sign(template, issuer.certificate, key, authority.key())
			wantNoError(t, err)
			err = Check(leaf, request, key, issuer, validity, issuer.Bundle())
			if test.want == "" {
				wantNoError(t, err)
				return
			}
			wantText(t, err, "the certificate that was signed isn't as it must be: ")
			wantText(t, err, test.want)
		})
	}
}

func addExtension(oid asn1.ObjectIdentifier, critical bool) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: []byte{5, 0}})
	}
}

func TestCheckNoticesEverythingThatDoesNotFitTheCertificate(t *testing.T) {
	authority, request := root(t), hello(t)
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	issuer, other := authority.Issuer(), rootOf(t, KeyECDSAP384).Issuer()
	sameType := selfSigned(t, AuthorityFields{}).Issuer()
	validity := issuer.LeafValidity(noon, time.Hour)
	leaf := issue(t, authority, request, key)
	less := requestFor(t, Names{DNSNames: []string{"localhost"}}, bothUsages...)
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"nothing": {Check(leaf, request, key, issuer, validity, issuer.Bundle()), ""},
		"a bundle with more": {
			Check(leaf, request, key, issuer, validity, other.Bundle().Union(issuer.Bundle())), "",
		},
		"another request": {
			Check(leaf, less, key, issuer, validity, issuer.Bundle()), "subjectAltName: critical is false",
		},
		"another key": {
			Check(leaf, request, keyFor(t, "other", KeyECDSAP256).Public(), issuer, validity, issuer.Bundle()),
			"its public key is another one",
		},
		"no key": {
			Check(leaf, request, nil, issuer, validity, issuer.Bundle()), "unsupported public key type",
		},
		"an issuer of another algorithm": {
			Check(leaf, request, key, other, validity, other.Bundle()), "its signature is ECDSA-SHA256",
		},
		"another issuer": {
			Check(leaf, request, key, sameType, validity, sameType.Bundle()), "authorityKeyIdentifier isn't the CA's",
		},
		"an empty bundle": {
			Check(leaf, request, key, issuer, validity, Bundle{}), "peers would refuse it as a client",
		},
		"the bundle of another": {
			Check(leaf, request, key, issuer, validity, other.Bundle()), "signed by unknown authority",
		},
		"another validity": {
			Check(leaf, request, key, issuer, Validity{validity.NotBefore, validity.NotAfter.Add(1e9)}, issuer.Bundle()),
			"its validity is",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.want == "" {
				wantNoError(t, test.err)
			} else {
				wantText(t, test.err, test.want)
			}
		})
	}
}

func TestCheckNoticesAnotherIssuerWithTheSameKey(t *testing.T) {
	// A CA certificate that was made again for the same key signs the same, but the one that was meant may say less.
	authority := root(t)
	again := forgeFor(t, nil, "root ECDSAP256", authority.key(), func(c *x509.Certificate) { c.NotAfter = noon.Add(2 * year) })
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	issuer := authority.Issuer()
	leaf := issue(t, authority, hello(t), key)
	err := Check(leaf, hello(t), key, issuer, issuer.LeafValidity(noon, time.Hour), NewBundle(again.certificate))
	wantText(t, err, "it was issued by another CA")
}

func TestCheckLooksAtBothEndsOfALife(t *testing.T) {
	// The issuer is valid long enough; the root that the peer trusts has the same key and isn't.
	parent := forgiving(t)
	authority := intermediate(t, parent, "under it", nil)
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	issuer := authority.Issuer()
	leaf := issue(t, authority, hello(t), key)
	for name, change := range map[string]func(*x509.Certificate){
		"a root that ends before":  func(c *x509.Certificate) { c.NotAfter = noon.Add(time.Hour - time.Second) },
		"a root that begins after": func(c *x509.Certificate) { c.NotBefore = noon },
	} {
		t.Run(name, func(t *testing.T) {
			other := forgeFor(t, nil, "forgiving", parent.key(), change)
			err := Check(leaf, hello(t), key, issuer, issuer.LeafValidity(noon, time.Hour), NewBundle(other.certificate))
			wantText(t, err, "has expired or is not yet valid")
		})
	}
}

func TestCheckLooksAtTheUsagesOfTheWholeChain(t *testing.T) {
	limited := intermediate(t, forgiving(t), "limited", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	issuer := limited.Issuer()
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	validity := issuer.LeafValidity(noon, time.Hour)
	request := requestFor(t, Names{DNSNames: []string{"localhost"}}, UsageServer)
	template, err := leafTemplate(request, key, validity)
	wantNoError(t, err)
	leaf, err := sign(template, issuer.certificate, key, limited.key())
	wantNoError(t, err)
	wantText(t, Check(leaf, request, key, issuer, validity, issuer.Bundle()), "peers would refuse it as a server")
}

func TestCheckLooksAtNameConstraintsToo(t *testing.T) {
	authority := selfSigned(t, AuthorityFields{
		NameConstraints: NameConstraints{Permitted: NameConstraintSet{DNSDomains: []string{"example.com"}}},
	})
	issuer := authority.Issuer()
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	validity := issuer.LeafValidity(noon, time.Hour)
	request := requestFor(t, Names{DNSNames: []string{"localhost"}}, UsageServer)
	template, err := leafTemplate(request, key, validity)
	wantNoError(t, err)
	leaf, err := sign(template, issuer.certificate, key, authority.key())
	wantNoError(t, err)
	wantText(t, Check(leaf, request, key, issuer, validity, issuer.Bundle()), "not permitted by any constraint")
}

func TestCheckAsksForEveryNameOfAServer(t *testing.T) {
	request := requestFor(t, Names{DNSNames: []string{"localhost", "*.example.com"}, IPAddresses: []string{"::1"}}, UsageServer)
	full := x509.Certificate{DNSNames: []string{"localhost", "*.example.com"}, IPAddresses: []net.IP{net.IPv6loopback}}
	wantNoError(t, checkServerNames(&full, request))
	for name, change := range map[string]func(*x509.Certificate){
		"localhost":     func(c *x509.Certificate) { c.DNSNames = c.DNSNames[1:] },
		"*.example.com": func(c *x509.Certificate) { c.DNSNames = c.DNSNames[:1] },
		"::1":           func(c *x509.Certificate) { c.IPAddresses = nil },
	} {
		t.Run(name, func(t *testing.T) {
			less := full
			change(&less)
			wantText(t, checkServerNames(&less, request), "clients of "+quote(name)+" would refuse it")
		})
	}
	client := requestFor(t, Names{DNSNames: []string{"localhost"}}, UsageClient)
	wantNoError(t, checkServerNames(&x509.Certificate{}, client))
}

func TestTheProfileOfALeaf(t *testing.T) {
	requests := map[string]Request{
		"everything":          hello(t),
		"an empty subject":    requestFor(t, Names{DNSNames: []string{"localhost"}}, UsageServer),
		"a common name alone": requestFor(t, Names{Subject: Subject{CommonName: "my-client"}}, UsageClient),
		"the longest names": requestFor(t, Names{
			DNSNames: []string{long(253)}, EmailAddresses: []string{"a@" + long(252)},
		}, UsageServer),
		"a hundred names":      requestFor(t, Names{DNSNames: hundred()}, UsageServer),
		"a subject of letters": requestFor(t, Names{Subject: Subject{CommonName: "日本", Organizations: []string{"Ü*&"}}}, UsageClient),
	}
	for name, request := range requests {
		for _, keyType := range []KeyType{KeyECDSAP256, KeyRSA2048, KeyED25519} {
			t.Run(name+" with "+string(keyType), func(t *testing.T) {
				leaf := issue(t, root(t), request, keyFor(t, "table", keyType).Public())
				wantLeafProfile(t, leaf, request)
			})
		}
	}
}

func hundred() []string {
	var names []string
	for i := range 100 {
		names = append(names, strings.Repeat("a", i%60+1)+"."+strings.Repeat("b", i/60+1)+".example")
	}
	return names
}

// wantLeafProfile writes the profile of the design down once more, independently.
func wantLeafProfile(t *testing.T, leaf *x509.Certificate, request Request) {
	t.Helper()
	isRSA := leaf.PublicKeyAlgorithm == x509.RSA
	wantUsage := x509.KeyUsageDigitalSignature
	if isRSA && slices.Contains(request.usages, UsageServer) {
		wantUsage |= x509.KeyUsageKeyEncipherment
	}
	if leaf.KeyUsage != wantUsage || len(leaf.ExtKeyUsage) != len(request.usages) {
		t.Errorf("usages %b %v", leaf.KeyUsage, leaf.ExtKeyUsage)
	}
	if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.MaxPathLen != -1 {
		t.Errorf("basicConstraints CA %t, pathLen %d", leaf.IsCA, leaf.MaxPathLen)
	}
	if bits := leaf.SerialNumber.BitLen(); bits < minSerialBits || bits > serialBits || leaf.SerialNumber.Sign() != 1 {
		t.Errorf("serial number %x", leaf.SerialNumber)
	}
	if len(leaf.SubjectKeyId) != 20 || !bytes.Equal(leaf.AuthorityKeyId, root(t).issuer.certificate.SubjectKeyId) {
		t.Errorf("key identifiers %x %x", leaf.SubjectKeyId, leaf.AuthorityKeyId)
	}
	if !leaf.NotBefore.Equal(noon.Add(-Backdate)) || !leaf.NotAfter.Equal(noon.Add(time.Hour)) {
		t.Errorf("validity %s", validityOf(leaf))
	}
	critical := map[string]bool{}
	for _, e := range leaf.Extensions {
		critical[e.Id.String()] = e.Critical
	}
	for oid, want := range map[string]bool{
		"2.5.29.15": true, "2.5.29.19": true, "2.5.29.37": false, "2.5.29.14": false, "2.5.29.35": false,
	} {
		if has, there := critical[oid]; !there || has != want {
			t.Errorf("extension %s: there %t, critical %t", oid, there, has)
		}
	}
	if has, there := critical["2.5.29.17"]; there && has != (len(leaf.Subject.Names) == 0) {
		t.Errorf("subjectAltName: critical %t, subject %q", has, SubjectText(leaf))
	}
}

func TestSerialNumbersDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		serial, err := newSerial()
		wantNoError(t, err)
		if seen[serial.String()] || serial.BitLen() > serialBits || serial.BitLen() < minSerialBits {
			t.Fatalf("%x", serial)
		}
		seen[serial.String()] = true
	}
}
