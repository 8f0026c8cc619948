package reload

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

// A file can be caught at any length while it is written in place.
func TestEveryCutOfABundleIsNoticedButBetweenTwoCertificates(t *testing.T) {
	first, second := tlstest.NewAuthority(t, "my-ca"), tlstest.NewAuthority(t, "my-ca G2")
	bundle := append(first.PEM(), second.PEM()...)
	whole := map[int]int{ // length of what looks complete, with or without the newline after it → certificates in it
		len(first.PEM()) - 1: 1, len(first.PEM()): 1,
		len(bundle) - 1: 2, len(bundle): 2,
	}
	for length := range len(bundle) + 1 {
		certificates, err := parseCertificates(bundle[:length])
		if want := whole[length]; len(certificates) != want || (err == nil) != (want > 0) {
			t.Errorf("cut to %d of %d bytes: %d certificates, error %v; want %d",
				length, len(bundle), len(certificates), err, want)
		}
	}
}

func TestDamageInTheMiddleOfABundleIsNoticed(t *testing.T) {
	first, second := tlstest.NewAuthority(t, "my-ca"), tlstest.NewAuthority(t, "my-ca G2")
	damaged := bytes.Replace(first.PEM(), []byte("-----END"), []byte("-----EMD"), 1)
	if _, err := parseCertificates(append(damaged, second.PEM()...)); err == nil {
		t.Error("a bundle with a damaged first certificate was accepted")
	}
}

func TestTextBeforeACertificateIsAllowed(t *testing.T) {
	commented := append([]byte("# the CA of the walk-through\n"), tlstest.NewAuthority(t, "my-ca").PEM()...)
	if certificates, err := parseCertificates(commented); err != nil || len(certificates) != 1 {
		t.Errorf("got %d certificates, %v; want one", len(certificates), err)
	}
}

func TestVerify(t *testing.T) {
	authority, another := tlstest.NewAuthority(t, "my-ca"), tlstest.NewAuthority(t, "another-ca")
	certificate, key := authority.Issue(t, tlstest.Server()).PEM(t)
	snapshot, err := parse(contents{certificate, key, authority.PEM()})
	if err != nil {
		t.Fatal(err)
	}
	expired := tlstest.Client("my-client")
	expired.Expired = true
	for sentence, test := range map[string]struct {
		chain []*x509.Certificate
		ok    bool
	}{
		"a client of the CA passes":       {chainOf(authority.Issue(t, tlstest.Client("my-client"))), true},
		"a client of another CA does not": {chainOf(another.Issue(t, tlstest.Client("my-client"))), false},
		"an expired client does not":      {chainOf(authority.Issue(t, expired)), false},
		"a server as client does not":     {chainOf(authority.Issue(t, tlstest.Server())), false},
		"nobody does not":                 {nil, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if err := snapshot.Verify(test.chain, x509.ExtKeyUsageClientAuth); (err == nil) != test.ok {
				t.Errorf("Verify gave %v", err)
			}
		})
	}
}

func chainOf(pair tlstest.Pair) []*x509.Certificate { return []*x509.Certificate{pair.Certificate} }

func TestSerial(t *testing.T) {
	for number, want := range map[int64]string{1: "01", 0xab: "ab", 0xabc: "0abc"} {
		if got := Serial(&x509.Certificate{SerialNumber: big.NewInt(number)}); got != want {
			t.Errorf("serial %d is %q, want %q", number, got, want)
		}
	}
}
