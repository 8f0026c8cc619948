package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// credential is what a Secret holds, as crypto/tls wants it.
func credential(t testing.TB, issuer Issuer, leaf *x509.Certificate, keyType KeyType) tls.Certificate {
	t.Helper()
	chain := append([]*x509.Certificate{leaf}, issuer.Sent()...)
	pair, err := tls.X509KeyPair(EncodeCertificates(chain...), encodeKey(t, keyFor(t, "table", keyType), EncodingPKCS8))
	wantNoError(t, err)
	return pair
}

// loopback returns both ends of a connection. net.Pipe won't do: it has no buffer, so that two peers who both have
// something to say, such as an alert, wait for each other for ever.
func loopback(t testing.TB) (server, client net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	wantNoError(t, err)
	defer listener.Close()
	client, err = net.Dial("tcp", listener.Addr().String())
	wantNoError(t, err)
	server, err = listener.Accept()
	wantNoError(t, err)
	return server, client
}

// handshake is mutual TLS at noon: what the server and the client have to complain about.
func handshake(
	t testing.TB, server, client tls.Certificate, trusts Bundle, name string, version uint16,
) (fromServer, fromClient error) {
	t.Helper()
	return handshakeAt(t, noon, server, client, trusts, name, version)
}

func handshakeAt(
	t testing.TB, now time.Time, server, client tls.Certificate, trusts Bundle, name string, version uint16,
) (fromServer, fromClient error) {
	t.Helper()
	present := func() time.Time { return now }
	serverEnd, clientEnd := loopback(t)
	done := make(chan error, 1)
	go func() {
		connection := tls.Server(serverEnd, &tls.Config{
			Certificates: []tls.Certificate{server}, ClientCAs: trusts.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
			Time: present, MinVersion: tls.VersionTLS12, MaxVersion: version,
		})
		err := connection.Handshake()
		if err == nil {
			_, err = connection.Write([]byte("x"))
		}
		done <- errors.Join(err, serverEnd.Close())
	}()
	connection := tls.Client(clientEnd, &tls.Config{
		// Not Certificates: crypto/tls would leave out what the server doesn't ask for, and nothing would be tried.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &client, nil },
		RootCAs:              trusts.Pool(), ServerName: name, Time: present, MinVersion: version,
	})
	fromClient = connection.Handshake()
	if fromClient == nil {
		_, fromClient = connection.Read(make([]byte, 1))
	}
	return <-done, errors.Join(fromClient, clientEnd.Close())
}

// Every type of CA with every type of leaf and every usage, as server and as client.
func TestHandshakes(t *testing.T) {
	for _, caType := range KeyTypes() {
		for _, leafType := range KeyTypes() {
			t.Run(fmt.Sprintf("a leaf %s of a CA %s", leafType, caType), func(t *testing.T) {
				authority := rootOf(t, caType)
				wantHandshakes(t, authority, leafType, tls.VersionTLS13)
				if caType == KeyECDSAP256 {
					wantHandshakes(t, authority, leafType, tls.VersionTLS12)
				}
			})
		}
	}
}

func wantHandshakes(t *testing.T, authority *Authority, keyType KeyType, version uint16) {
	t.Helper()
	issuer := authority.Issuer()
	with := func(usages ...Usage) tls.Certificate {
		request := requestFor(t, hello(t).Names(), usages...)
		return credential(t, issuer, issue(t, authority, request, keyFor(t, "table", keyType).Public()), keyType)
	}
	server, client, both := with(UsageServer), with(UsageClient), with(bothUsages...)
	for _, test := range []struct {
		server, client tls.Certificate
		name           string
		wrong          string // what one of the two must say
	}{
		{server, client, "localhost", ""},
		{both, both, "any.example.com", ""},
		{server, both, "127.0.0.1", ""},
		{both, client, "::1", ""},
		{client, client, "localhost", "incompatible key usage"},
		{server, server, "localhost", "incompatible key usage"},
		{server, client, "other.example", "not other.example"},
	} {
		fromServer, fromClient := handshake(t, test.server, test.client, issuer.Bundle(), test.name, version)
		said := fmt.Sprint(fromServer, fromClient)
		if test.wrong == "" && (fromServer != nil || fromClient != nil) {
			t.Errorf("server: %v, client: %v", fromServer, fromClient)
		}
		if !strings.Contains(said, test.wrong) {
			t.Errorf("%s doesn't say %q", said, test.wrong)
		}
	}
}

func TestHandshakesThroughIntermediates(t *testing.T) {
	top := forgiving(t)
	middle := intermediate(t, top, "handshake middle", nil)
	bottom := intermediate(t, middle, "handshake bottom", nil)
	for name, authority := range map[string]*Authority{"none": top, "one": middle, "two": bottom} {
		t.Run(name, func(t *testing.T) { wantHandshakes(t, authority, KeyECDSAP256, tls.VersionTLS13) })
	}
	t.Run("peers of different CAs below one root understand each other", func(t *testing.T) {
		leaf := func(a *Authority) tls.Certificate {
			return credential(t, a.issuer, issue(t, a, hello(t), keyFor(t, "table", KeyECDSAP256).Public()), KeyECDSAP256)
		}
		fromServer, fromClient := handshake(t, leaf(bottom), leaf(top), top.issuer.roots, "localhost", tls.VersionTLS13)
		if fromServer != nil || fromClient != nil {
			t.Errorf("server: %v, client: %v", fromServer, fromClient)
		}
	})
}

func TestPeersOfDifferentRootsRefuseEachOther(t *testing.T) {
	leaf := func(a *Authority) tls.Certificate {
		return credential(t, a.issuer, issue(t, a, hello(t), keyFor(t, "table", KeyECDSAP256).Public()), KeyECDSAP256)
	}
	one, other := root(t), rootOf(t, KeyED25519)
	fromServer, fromClient := handshake(t, leaf(one), leaf(other), one.issuer.roots, "localhost", tls.VersionTLS13)
	if fromServer == nil || fromClient == nil {
		t.Errorf("server: %v, client: %v", fromServer, fromClient)
	}
	union := one.issuer.roots.Union(other.issuer.roots)
	fromServer, fromClient = handshake(t, leaf(one), leaf(other), union, "localhost", tls.VersionTLS13)
	if fromServer != nil || fromClient != nil {
		t.Errorf("with both roots: server: %v, client: %v", fromServer, fromClient)
	}
}

const atNoon = "-attime 1795521600" // noon in seconds since 1970

// openssl looks at every certificate as strictly as it can, for the right and for the wrong purpose.
func TestOpensslVerifiesEveryLeaf(t *testing.T) {
	w := newWorkshop(t)
	for _, caType := range KeyTypes() {
		t.Run(string(caType), func(t *testing.T) {
			authority := rootOf(t, caType)
			w.write("ca.pem", authority.issuer.roots.PEM())
			files := map[Usage][]string{}
			for _, leafType := range KeyTypes() {
				for _, usages := range [][]Usage{{UsageServer}, {UsageClient}, bothUsages} {
					request := requestFor(t, hello(t).Names(), usages...)
					leaf := issue(t, authority, request, keyFor(t, "table", leafType).Public())
					file := fmt.Sprint(leafType, "-", len(usages), usages[0], ".pem")
					w.write(file, EncodeCertificates(leaf))
					for _, usage := range usages {
						files[usage] = append(files[usage], file)
					}
				}
			}
			verify := "verify -x509_strict -CAfile ca.pem " + atNoon
			w.run(verify + " -purpose sslserver -verify_hostname localhost " + strings.Join(files[UsageServer], " "))
			w.run(verify + " -purpose sslserver -verify_ip ::1 " + strings.Join(files[UsageServer], " "))
			w.run(verify + " -purpose sslclient " + strings.Join(files[UsageClient], " "))
			wantRefused := func(purpose string, usage, not Usage) {
				file := files[usage][slices.IndexFunc(files[usage], func(f string) bool { return !slices.Contains(files[not], f) })]
				if err := w.try(verify + " -purpose " + purpose + " " + file); err == nil {
					t.Errorf("openssl took %s for %s", file, purpose)
				}
			}
			wantRefused("sslclient", UsageServer, UsageClient)
			wantRefused("sslserver", UsageClient, UsageServer)
		})
	}
}

func TestOpensslVerifiesLeavesOfEveryForm(t *testing.T) {
	w := newWorkshop(t)
	top := forgiving(t)
	middle := intermediate(t, top, "openssl middle", nil)
	bottom := intermediate(t, middle, "openssl bottom", nil)
	constrained := selfSigned(t, AuthorityFields{NameConstraints: allConstraints(), Subject: Subject{
		CommonName: "ca", Organizations: []string{"Jürgen"}, Countries: []string{"DE"},
	}})
	for name, test := range map[string]struct {
		authority *Authority
		names     Names
	}{
		"an empty subject":      {top, Names{DNSNames: []string{"localhost"}}},
		"an empty name but URI": {top, Names{URIs: []string{"spiffe://example.com/a"}}},
		"one CA between":        {middle, hello(t).Names()},
		"two CAs between":       {bottom, hello(t).Names()},
		"under constraints": {constrained, Names{
			DNSNames: []string{"a.local"}, IPAddresses: []string{"10.2.0.1", "fd00::1"}, EmailAddresses: []string{"a@example.com"},
			URIs: []string{"spiffe://a.example.net/x"},
		}},
		"a subject with everything": {top, Names{DNSNames: []string{"localhost"}, Subject: Subject{
			"Jürgen", []string{"a", "日本"}, []string{"b"}, []string{"DE"}, []string{"c"}, []string{"d"},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := issue(t, test.authority, requestFor(t, test.names, bothUsages...), keyFor(t, "leaf", KeyECDSAP256).Public())
			w.write("leaf.pem", EncodeCertificates(leaf))
			w.write("ca.pem", test.authority.issuer.roots.PEM())
			untrusted := ""
			if sent := test.authority.issuer.Sent(); len(sent) > 0 {
				w.write("sent.pem", EncodeCertificates(sent...))
				untrusted = "-untrusted sent.pem "
			}
			for _, purpose := range []string{"sslserver", "sslclient"} {
				w.run("verify -x509_strict -CAfile ca.pem " + atNoon + " -purpose " + purpose + " " + untrusted + "leaf.pem")
			}
		})
	}
}
