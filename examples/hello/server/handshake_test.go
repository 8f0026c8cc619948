package main

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// fixVersion limits config to one version of TLS.
func fixVersion(config *tls.Config, version uint16) *tls.Config {
	config.MinVersion, config.MaxVersion = version, version
	return config
}

func TestWhoCompletesAHandshake(t *testing.T) {
	f := start(t, setup{})
	another := tlstest.NewAuthority(t, "another-ca")
	stranger, impostor := another.Issue(t, tlstest.Client("my-client")), f.authority.Issue(t, tlstest.Server())
	leaf := tlstest.Client("my-client")
	leaf.Expired = true
	expired := f.authority.Issue(t, leaf)

	for sentence, test := range map[string]struct {
		pair *tlstest.Pair
		want map[string]string // by TLS version
	}{
		"a client of the CA does": {&f.client, map[string]string{"TLS 1.2": "", "TLS 1.3": ""}},
		"a client without certificate": {nil, map[string]string{
			"TLS 1.2": "handshake failure",
			"TLS 1.3": "certificate required",
		}},
		"a client of another CA":      {&stranger, both("unknown certificate authority")},
		"a client past its end":       {&expired, both("expired certificate")},
		"a server posing as a client": {&impostor, both("bad certificate")},
	} {
		for version, number := range versions {
			t.Run(sentence+" over "+version, func(t *testing.T) {
				err := refusal(t, f.address, fixVersion(f.clientConfig(test.pair), number))
				switch want := test.want[version]; {
				case want == "" && err != nil:
					t.Errorf("refused: %v", err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("got %v, want a refusal with %q", err, want)
				}
			})
		}
	}
}

func both(alert string) map[string]string {
	return map[string]string{"TLS 1.2": alert, "TLS 1.3": alert}
}

func TestTLS11IsRefused(t *testing.T) {
	f := start(t, setup{})
	err := refusal(t, f.address, fixVersion(f.clientConfig(&f.client), tls.VersionTLS11))
	if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Errorf("got %v, want a refusal of the version", err)
	}
}

func TestARenewedPairIsServedToNewConnections(t *testing.T) {
	f := start(t, setup{})
	renewed := f.authority.Issue(t, tlstest.Server())
	f.swap(t, renewed, f.authority)
	got := get(t, oneShot(f.clientConfig(&f.client)), f.url)
	if serial, want := reload.Serial(got.TLS.PeerCertificates[0]), reload.Serial(renewed.Certificate); serial != want {
		t.Errorf("served %s, want %s", serial, want)
	}
}

func TestAPairThatDoesNotMatchIsKeptOut(t *testing.T) {
	f := start(t, setup{})
	before := reload.Serial(f.files.Current().Certificate.Leaf)
	contents := tlstest.Files(t, f.authority.Issue(t, tlstest.Server()), f.authority)
	contents["tls.key"] = tlstest.Files(t, f.authority.Issue(t, tlstest.Server()), f.authority)["tls.key"]
	tlstest.Swap(t, f.dir, contents)
	if changed, err := f.files.Reload(); changed || err == nil {
		t.Errorf("Reload gave %t, %v; want an error", changed, err)
	}
	got := get(t, oneShot(f.clientConfig(&f.client)), f.url)
	if serial := reload.Serial(got.TLS.PeerCertificates[0]); serial != before {
		t.Errorf("served %s, want still %s", serial, before)
	}
}

func TestRootsComeAndGo(t *testing.T) {
	f := start(t, setup{})
	next := tlstest.NewAuthority(t, "my-ca G2")
	newcomer := next.Issue(t, tlstest.Client("my-client"))
	pair := f.authority.Issue(t, tlstest.Server())
	roots := f.files.Current().Roots // what signs the server's certificate doesn't change
	from := func(pair *tlstest.Pair) *tls.Config {
		config := f.clientConfig(pair)
		config.RootCAs = roots
		return config
	}

	if err := refusal(t, f.address, from(&newcomer)); err == nil {
		t.Error("a client of a CA that isn't there yet was let in")
	}
	f.swap(t, pair, f.authority, next)
	for _, client := range []*tlstest.Pair{&f.client, &newcomer} {
		if err := refusal(t, f.address, from(client)); err != nil {
			t.Errorf("both CAs are there, a client of %s was refused: %v", client.Certificate.Issuer, err)
		}
	}
	f.swap(t, pair, next)
	if err := refusal(t, f.address, from(&newcomer)); err != nil {
		t.Errorf("a client of the CA that stays was refused: %v", err)
	}
	if err := refusal(t, f.address, from(&f.client)); err == nil {
		t.Error("a client of the CA that went was let in")
	}
}

func TestASessionIsResumedOnlyWhileItsRootIsThere(t *testing.T) {
	for version, number := range versions {
		t.Run(version, func(t *testing.T) {
			f := start(t, setup{})
			departing := tlstest.NewAuthority(t, "departing-ca")
			client := departing.Issue(t, tlstest.Client("my-client"))
			config := fixVersion(f.clientConfig(&client), number)
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			transport := oneShot(config)

			f.swap(t, f.authority.Issue(t, tlstest.Server()), f.authority, departing)
			if get(t, transport, f.url).TLS.DidResume {
				t.Fatal("the first connection resumed a session")
			}
			f.swap(t, f.authority.Issue(t, tlstest.Server()), f.authority, departing)
			if !get(t, transport, f.url).TLS.DidResume {
				t.Fatal("the session wasn't resumed after a renewal: nothing would be shown by what follows")
			}
			f.swap(t, f.authority.Issue(t, tlstest.Server()), f.authority)
			if got, err := try(t, transport, f.url); err == nil {
				t.Errorf("the root is gone and the client got %q", got.body)
			}
		})
	}
}

// crypto/tls checks resumed sessions against changed roots by itself since Go 1.24.13; the sample doesn't lean on it.
func TestVerificationAsksForTheRootsOfTheMoment(t *testing.T) {
	f := start(t, setup{})
	config := handshakeConfig(f.files)
	resumed := tls.ConnectionState{DidResume: true, PeerCertificates: []*x509.Certificate{f.client.Certificate}}
	if err := config.VerifyConnection(resumed); err != nil {
		t.Errorf("the root is there: %v", err)
	}
	another := tlstest.NewAuthority(t, "another-ca")
	f.swap(t, another.Issue(t, tlstest.Server()), another)
	if err := config.VerifyConnection(resumed); err == nil {
		t.Error("the root is gone and the session passed")
	}
}
