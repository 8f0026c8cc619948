package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func TestWhyWeRefuseAServer(t *testing.T) {
	otherName, expired, noServer := tlstest.Server(), tlstest.Server(), tlstest.Client("my-client")
	otherName.DNSNames, expired.Expired = []string{"elsewhere"}, true
	noServer.DNSNames = []string{"localhost"}
	for sentence, test := range map[string]struct {
		leaf    tlstest.Leaf
		another bool // signed by another authority
		want    string
	}{
		"its CA isn't in our ca.crt":       {tlstest.Server(), true, `by "CN=another-ca" and our ca.crt holds no such CA`},
		"its names lack the one we called": {otherName, false, `not for "localhost": give a name`},
		"it has expired":                   {expired, false, `"CN=hello-server" on the server's side is valid from`},
		"it is for clients":                {noServer, false, "lacks the extended key usage serverAuth"},
	} {
		for version, number := range versions {
			t.Run(sentence+" over "+version, func(t *testing.T) {
				f := start(t, answerHello, func(config *tls.Config, authority *tlstest.Authority) {
					if test.another {
						authority = tlstest.NewAuthority(t, "another-ca")
					}
					config.Certificates = []tls.Certificate{authority.Issue(t, test.leaf).TLS()}
					config.MaxVersion = number
				})
				c := f.client(t)
				c.serverName = "localhost"
				r := c.request(t.Context())
				wantExplained(t, r, test.want)
				if r.server != "" {
					t.Error("the certificate of a handshake that failed was counted")
				}
			})
		}
	}
}

func TestWhyAServerRefusesUs(t *testing.T) {
	expired := tlstest.Client("my-client")
	expired.Expired = true
	for sentence, test := range map[string]struct {
		leaf    tlstest.Leaf
		another bool // signed by another authority
		want    string
	}{
		"it doesn't know our CA": {tlstest.Client("my-client"), true, "doesn't know the CA of our certificate"},
		"ours has expired":       {expired, false, "our certificate has expired"},
		"ours is for servers":    {tlstest.Server(), false, "must be for clients"},
	} {
		for version, number := range versions {
			t.Run(sentence+" over "+version, func(t *testing.T) {
				f := start(t, answerHello, func(config *tls.Config, _ *tlstest.Authority) { config.MaxVersion = number })
				signer := f.authority
				if test.another {
					signer = tlstest.NewAuthority(t, "another-ca")
				}
				tlstest.Swap(t, f.dir, tlstest.Files(t, signer.Issue(t, test.leaf), f.authority))
				r := f.client(t).request(t.Context())
				wantExplained(t, r, test.want)
				if r.client == "" {
					t.Error("the certificate that was refused isn't told as presented")
				}
			})
		}
	}
}

func TestWhyThereIsNoTLS(t *testing.T) {
	t.Run("the server only speaks HTTP", func(t *testing.T) {
		plain := httptest.NewServer(nil)
		defer plain.Close()
		c := start(t, answerHello, nil).client(t)
		c.address = plain.Listener.Addr().String()
		wantExplained(t, c.request(t.Context()), "doesn't speak TLS")
	})
	t.Run("the server only speaks TLS 1.1", func(t *testing.T) {
		f := start(t, answerHello, func(config *tls.Config, _ *tlstest.Authority) {
			config.MinVersion, config.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
		})
		wantExplained(t, f.client(t).request(t.Context()), "neither TLS 1.2 nor TLS 1.3")
	})
	t.Run("nothing listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := start(t, answerHello, nil).client(t)
		c.address = listener.Addr().String()
		listener.Close()
		wantExplained(t, c.request(t.Context()), "nothing listens at the address")
	})
}

func TestWhatIsUnknownIsToldAsItIs(t *testing.T) {
	invalid := x509.CertificateInvalidError{Reason: x509.TooManyConstraints}
	for sentence, test := range map[string]struct {
		err  error
		want string
	}{
		"a network error without its ports": {
			&net.OpError{Op: "dial", Addr: &net.TCPAddr{Port: 12345}, Err: net.UnknownNetworkError("tcp9")},
			"dial: unknown network tcp9",
		},
		"an alert by its text": {
			&net.OpError{Op: "remote error", Err: errors.New("tls: internal error")},
			"remote error: tls: internal error",
		},
		"a certificate that is invalid in a rare way": {
			&tls.CertificateVerificationError{Err: invalid}, invalid.Error(),
		},
		"anything else": {errors.New("out of luck"), "out of luck"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := explain(test.err); got != test.want {
				t.Errorf("explained as %q, want %q", got, test.want)
			}
		})
	}
}
