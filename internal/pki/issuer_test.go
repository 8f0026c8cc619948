package pki

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// tower is a root, two CAs below it, and the PEM of all.
type tower struct {
	top, middle, bottom *pair
}

func newTower(t testing.TB) tower {
	t.Helper()
	top := forge(t, nil, "tower top", nil)
	middle := forge(t, top, "tower middle", nil)
	return tower{top, middle, forge(t, middle, "tower bottom", nil)}
}

func (w tower) pem(pairs ...*pair) []byte {
	var out []byte
	for _, p := range pairs {
		out = append(out, p.certificatePEM()...)
	}
	return out
}

func TestParseIssuer(t *testing.T) {
	w := newTower(t)
	for name, test := range map[string]struct {
		certificates, roots []byte
		sent                []*pair
	}{
		"a root":                         {w.pem(w.top), nil, nil},
		"a root that is in ca.crt too":   {w.pem(w.top), w.pem(w.top), nil},
		"one CA below it":                {w.pem(w.middle), w.pem(w.top), []*pair{w.middle}},
		"one CA and the root at the end": {w.pem(w.middle, w.top), nil, []*pair{w.middle}},
		"two CAs":                        {w.pem(w.bottom, w.middle), w.pem(w.top), []*pair{w.bottom, w.middle}},
		"two CAs and the root":           {w.pem(w.bottom, w.middle, w.top), w.pem(w.top), []*pair{w.bottom, w.middle}},
		"a root that is there twice":     {w.pem(w.middle), w.pem(w.top, w.top), []*pair{w.middle}},
		"white space for ca.crt":         {w.pem(w.top), []byte("\n"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, err := ParseIssuer(test.certificates, test.roots)
			wantNoError(t, err)
			var sent []*x509.Certificate
			for _, p := range test.sent {
				sent = append(sent, p.certificate)
			}
			if diff := cmp.Diff(fingerprints(sent), fingerprints(issuer.Sent())); diff != "" {
				t.Errorf("sent: %s", diff)
			}
			if has := issuer.Bundle().Certificates(); len(has) != 1 || !has[0].Equal(w.top.certificate) {
				t.Errorf("%d roots", len(has))
			}
			first, err := ParseCertificates(test.certificates)
			wantNoError(t, err)
			if !issuer.Certificate().Equal(first[0]) || issuer.Fingerprint() != Fingerprint(first[0]) {
				t.Error("another certificate")
			}
		})
	}
}

func TestParseIssuerRefuses(t *testing.T) {
	w := newTower(t)
	stranger := forge(t, nil, "stranger", nil)
	namesake := forgeFor(t, nil, "tower top", keyFor(t, "namesake", KeyECDSAP256), nil)
	short := forge(t, nil, "short", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	belowShort := forge(t, short, "below short", nil)
	belowIt := forge(t, belowShort, "below it", nil)
	shortMiddle := forge(t, w.top, "short middle", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	belowMiddle := forge(t, shortMiddle, "below middle", nil)
	for name, test := range map[string]struct {
		certificates, roots []byte
		key, want           string
	}{
		"nothing":            {nil, w.pem(w.top), "tls.crt", "is missing or empty"},
		"rubbish for ca.crt": {w.pem(w.top), []byte("x"), "ca.crt", "no PEM block"},
		"a chain without a root": {
			w.pem(w.bottom, w.middle), nil, "tls.crt",
			`the chain ends with "CN=tower middle", which isn't self-signed: append the certificates above it`,
		},
		"the wrong order": {
			w.pem(w.middle, w.bottom), w.pem(w.top), "tls.crt",
			`certificate 1 ("CN=tower middle") wasn't signed by certificate 2 ("CN=tower bottom")`,
		},
		"a gap": {
			w.pem(w.bottom, w.top), nil, "tls.crt", `certificate 1 ("CN=tower bottom") wasn't signed by certificate 2`,
		},
		"a root that isn't last": {
			w.pem(w.top, w.middle), nil, "tls.crt",
			`certificate 1 ("CN=tower top") is self-signed, so nothing can stand above it: remove certificate 2`,
		},
		"the same twice": {
			w.pem(w.top, w.top), nil, "tls.crt", `certificate 2 is the same as certificate 1 ("CN=tower top"): remove it`,
		},
		"the root of somebody else": {
			w.pem(w.middle), w.pem(stranger), "ca.crt",
			`certificate 1 ("CN=stranger") didn't sign "CN=tower middle", with which the chain in tls.crt ends`,
		},
		"one root too many": {
			w.pem(w.middle), w.pem(w.top, stranger), "ca.crt", `certificate 2 ("CN=stranger") didn't sign`,
		},
		"a root beside a self-signed CA": {
			w.pem(w.top), w.pem(stranger), "ca.crt", `("CN=stranger") didn't sign "CN=tower top"`,
		},
		"a root of the same name with another key": {
			w.pem(w.middle), w.pem(namesake), "ca.crt", `("CN=tower top") didn't sign "CN=tower middle"`,
		},
		"an intermediate for a root": {
			w.pem(w.bottom), w.pem(w.middle), "ca.crt", `certificate 1 ("CN=tower middle") isn't self-signed, so it is no root`,
		},
		"too short a path length of a root": {
			w.pem(belowShort), w.pem(short), "ca.crt", `("CN=short") allows 0 CAs below it and there are 1`,
		},
		"too short a path length of a root two below": {
			w.pem(belowIt, belowShort), w.pem(short), "ca.crt", `("CN=short") allows 0 CAs below it and there are 2`,
		},
		"too short a path length in the middle": {
			w.pem(belowMiddle, shortMiddle), w.pem(w.top), "tls.crt",
			`certificate 2 ("CN=short middle") allows 0 CAs below it and there are 1: its pathLen is too small`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseIssuer(test.certificates, test.roots)
			wantImportError(t, err, test.key, test.want)
		})
	}
}

func wantImportError(t testing.TB, err error, key, text string) {
	t.Helper()
	var wrong *ImportError
	if !errors.As(err, &wrong) {
		t.Fatalf("%v is no ImportError", err)
	}
	if wrong.Key != key {
		t.Errorf("%q is said of %s, not of %s", err, wrong.Key, key)
	}
	wantText(t, err, text)
}

func TestAReissuedRootWithTheSameKeyCountsToo(t *testing.T) {
	w := newTower(t)
	again := forge(t, nil, "tower top", func(c *x509.Certificate) {
		c.NotAfter = c.NotAfter.Add(year)
		c.SerialNumber.SetInt64(2)
	})
	issuer, err := ParseIssuer(w.pem(w.middle), w.pem(again, w.top))
	wantNoError(t, err)
	if n := len(issuer.Bundle().Certificates()); n != 2 {
		t.Errorf("%d roots", n)
	}
}

func TestTheZeroIssuer(t *testing.T) {
	var issuer Issuer
	if issuer.Certificate() != nil || len(issuer.Sent()) != 0 || issuer.Fingerprint() != "" {
		t.Error("it has something")
	}
	if issuer.Issued(root(t).issuer.certificate) || issuer.LeafValidity(noon, time.Hour).Life() > 0 {
		t.Error("it issued or can issue")
	}
	if err := Check(root(t).issuer.certificate, Request{}, nil, issuer, Validity{}, Bundle{}); err == nil {
		t.Error("its certificates pass the check")
	}
}

func TestTheSentCertificatesAreACopy(t *testing.T) {
	w := newTower(t)
	issuer, err := ParseIssuer(w.pem(w.middle), w.pem(w.top))
	wantNoError(t, err)
	issuer.Sent()[0] = nil
	if issuer.Sent()[0] == nil {
		t.Error("the issuer changed")
	}
}

func TestAnIssuersValidityIsThatOfAllAboveALeaf(t *testing.T) {
	at := func(hour int) time.Time { return noon.Add(time.Duration(hour) * time.Hour) }
	for name, test := range map[string]struct {
		top, middle, bottom [2]int
		want                [2]int
	}{
		"the CA's own": {
			[2]int{0, 9}, [2]int{1, 8}, [2]int{2, 7}, [2]int{2, 7},
		},
		"bounded by the middle": {
			[2]int{0, 9}, [2]int{3, 5}, [2]int{2, 7}, [2]int{3, 5},
		},
		"bounded by the root": {
			[2]int{4, 5}, [2]int{0, 8}, [2]int{2, 7}, [2]int{4, 5},
		},
		"an end by each": {
			[2]int{4, 9}, [2]int{0, 6}, [2]int{2, 7}, [2]int{4, 6},
		},
		"nothing that they share": {
			[2]int{0, 3}, [2]int{0, 8}, [2]int{5, 7}, [2]int{5, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			hours := func(h [2]int) func(*x509.Certificate) {
				return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = at(h[0]), at(h[1]) }
			}
			top := forge(t, nil, "validity top", hours(test.top))
			middle := forge(t, top, "validity middle", hours(test.middle))
			bottom := forge(t, middle, "validity bottom", hours(test.bottom))
			issuer, err := ParseIssuer(EncodeCertificates(bottom.certificate, middle.certificate), top.certificatePEM())
			wantNoError(t, err)
			want := Validity{at(test.want[0]), at(test.want[1])}
			if diff := cmp.Diff(want, issuer.Validity()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLeafValidity(t *testing.T) {
	made := forge(t, nil, "leaf validity", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = noon, noon.Add(10*time.Hour)
	})
	issuer, err := ParseIssuer(made.certificatePEM(), nil)
	wantNoError(t, err)
	berlin := time.FixedZone("", 3600)
	for name, test := range map[string]struct {
		now                 time.Time
		duration            time.Duration
		notBefore, notAfter time.Time
	}{
		"backdated": {
			noon.Add(time.Hour), time.Hour, noon.Add(time.Hour - Backdate), noon.Add(2 * time.Hour),
		},
		"not before the issuer": {
			noon.Add(time.Minute), time.Hour, noon, noon.Add(61 * time.Minute),
		},
		"not after the issuer": {
			noon.Add(time.Hour), year, noon.Add(time.Hour - Backdate), noon.Add(10 * time.Hour),
		},
		"without fractions, in UTC": {
			noon.Add(time.Hour + 999*time.Millisecond).In(berlin), time.Hour + 2*time.Millisecond,
			noon.Add(time.Hour - Backdate), noon.Add(2*time.Hour + time.Second),
		},
		"to the issuer's last second": {
			noon.Add(10 * time.Hour), time.Hour, noon.Add(10*time.Hour - Backdate), noon.Add(10 * time.Hour),
		},
		"none at all, after the issuer": {
			noon.Add(11 * time.Hour), time.Hour, noon.Add(11*time.Hour - Backdate), noon.Add(10 * time.Hour),
		},
		"none at all, before the issuer": {
			noon.Add(-2 * time.Hour), time.Hour, noon, noon.Add(-time.Hour),
		},
	} {
		t.Run(name, func(t *testing.T) {
			has := issuer.LeafValidity(test.now, test.duration)
			if diff := cmp.Diff(Validity{test.notBefore, test.notAfter}, has); diff != "" {
				t.Error(diff)
			}
			if (has.Life() <= 0) != test.notAfter.Before(test.notBefore) {
				t.Error(has.Life())
			}
		})
	}
}

func TestALeafNeverOutlivesItsIssuer(t *testing.T) {
	issuer := root(t).Issuer()
	rapid.Check(t, func(t *rapid.T) {
		now := noon.Add(time.Duration(rapid.Int64Range(-int64(2*year), int64(2*year)).Draw(t, "now")))
		duration := time.Duration(rapid.Int64Range(0, int64(200*year)).Draw(t, "duration"))
		has := issuer.LeafValidity(now, duration)
		if has.Life() <= 0 {
			return
		}
		if err := issuer.covers(has); err != nil {
			t.Fatal(err)
		}
		if has.NotAfter.After(now.Add(duration)) || has.Life() > duration+Backdate+time.Second {
			t.Fatalf("%s is longer than %s from %s", has, duration, now)
		}
	})
}

func TestIssued(t *testing.T) {
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	authority := root(t)
	leaf := issue(t, authority, hello(t), key)
	sameName := selfSigned(t, AuthorityFields{Subject: Subject{CommonName: "root ECDSAP256"}})
	bare := forge(t, nil, "bare", func(c *x509.Certificate) { c.SubjectKeyId = nil })
	bareAuthority, err := LoadAuthority(bare.certificatePEM(), bare.keyPEM(t), nil)
	wantNoError(t, err)
	renewed := forgeFor(t, nil, "root ECDSAP256", authority.key(), func(c *x509.Certificate) { c.NotAfter = noon.Add(2 * year) })
	renewedIssuer, err := ParseIssuer(renewed.certificatePEM(), nil)
	wantNoError(t, err)
	for name, test := range map[string]struct {
		issuer Issuer
		leaf   *x509.Certificate
		want   bool
	}{
		"its own leaf":                          {authority.issuer, leaf, true},
		"itself, when it is a root":             {authority.issuer, authority.issuer.certificate, true},
		"a leaf of another CA":                  {rootOf(t, KeyED25519).issuer, leaf, false},
		"a leaf of another CA of the same name": {sameName.issuer, leaf, false},
		"a leaf without a key identifier":       {bareAuthority.issuer, issue(t, bareAuthority, hello(t), key), true},
		"a leaf of the certificate before it":   {renewedIssuer, leaf, true},
		"a CA below it": {
			authority.issuer, intermediate(t, forgiving(t), "i", nil).issuer.certificate, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if has := test.issuer.Issued(test.leaf); has != test.want {
				t.Errorf("%t", has)
			}
		})
	}
	t.Run("a leaf somebody changed", func(t *testing.T) {
		changed := *leaf
		changed.RawTBSCertificate = append([]byte(nil), leaf.RawTBSCertificate...)
		changed.RawTBSCertificate[40] ^= 1
		if authority.issuer.Issued(&changed) {
			t.Error("it was taken")
		}
	})
	t.Run("a leaf with the key identifier of another CA", func(t *testing.T) {
		forged := forge(t, pairOf(authority), "forged", func(c *x509.Certificate) { c.IsCA = false })
		other := *forged.certificate
		other.AuthorityKeyId = []byte("other")
		if authority.issuer.Issued(&other) {
			t.Error("it was taken")
		}
	})
}

// forgiving is a CA that allows others below it.
func forgiving(t testing.TB) *Authority {
	t.Helper()
	return selfSigned(t, AuthorityFields{Subject: Subject{CommonName: "forgiving"}, MaxPathLength: 3})
}

func TestValidityHasAText(t *testing.T) {
	has := Validity{noon, noon.Add(time.Hour)}.String()
	if want := "2026-11-24T12:00:00Z to 2026-11-24T13:00:00Z"; has != want {
		t.Errorf("%s, want %s", has, want)
	}
}
