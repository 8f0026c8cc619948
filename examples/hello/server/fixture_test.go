package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

// setup is what a test wants different.
type setup struct {
	allowed          nameList
	maxConnectionAge time.Duration // an hour if zero
	handler          http.Handler  // in place of the sample's own
	onShutdown       func()        // called when the server has stopped listening
}

// fixture is a server under test, in a volume of its own, with its authority and one client.
type fixture struct {
	authority *tlstest.Authority
	dir       string
	files     *reload.Files
	log       *tlstest.Lines
	address   string
	url       string
	client    tlstest.Pair

	stop   context.CancelFunc
	served chan error // what serve returned
}

// start runs a server on loopback until the test ends.
func start(t *testing.T, with setup) *fixture {
	t.Helper()
	authority := tlstest.NewAuthority(t, "my-ca")
	f := &fixture{authority: authority, log: &tlstest.Lines{}, client: authority.Issue(t, tlstest.Client("my-client"))}
	f.dir = tlstest.Volume(t, tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority))
	log := slog.New(slog.NewTextHandler(f.log, nil))
	f.files = openFiles(t, f.dir, log)
	server := with.server(f.files, log)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	f.url = "https://" + f.address + "/"
	ctx, cancel := context.WithCancel(context.Background())
	f.stop, f.served = cancel, make(chan error, 1)
	go func() { f.served <- serve(ctx, listener, server, log); close(f.served) }()
	t.Cleanup(func() {
		cancel()
		if err := tlstest.Await(t, "the end of serve", f.served); err != nil {
			t.Error("serve:", err)
		}
	})
	return f
}

func (s setup) server(files *reload.Files, log *slog.Logger) *http.Server {
	opts := options{allowed: s.allowed, maxConnectionAge: cmp.Or(s.maxConnectionAge, time.Hour)}
	server := newServer(opts, files, log)
	if s.handler != nil {
		server = newHTTPServer(opts, files, s.handler, log)
	}
	server.IdleTimeout = time.Minute // whatever closes a connection in a test, it isn't that nothing happened on it
	if s.onShutdown != nil {
		server.RegisterOnShutdown(s.onShutdown)
	}
	return server
}

func openFiles(t *testing.T, dir string, log *slog.Logger) *reload.Files {
	t.Helper()
	files, err := reload.Open(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// swap replaces the server's files and has them reloaded.
func (f *fixture) swap(t *testing.T, pair tlstest.Pair, roots ...*tlstest.Authority) {
	t.Helper()
	tlstest.Swap(t, f.dir, tlstest.Files(t, pair, roots...))
	if changed, err := f.files.Reload(); !changed || err != nil {
		t.Fatalf("Reload gave %t, %v", changed, err)
	}
}

// clientConfig presents pair, or nothing if it is nil, and accepts the server.
func (f *fixture) clientConfig(pair *tlstest.Pair) *tls.Config {
	return &tls.Config{
		RootCAs: f.files.Current().Roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if pair == nil {
				return &tls.Certificate{}, nil
			}
			certificate := pair.TLS()
			return &certificate, nil
		},
	}
}

// answer is what a client got.
type answer struct {
	*http.Response
	body   string
	reused bool // over a connection that was there already
}

// get makes a request that must be answered.
func get(t *testing.T, transport http.RoundTripper, url string) answer {
	t.Helper()
	got, err := try(t, transport, url)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// try makes a request that may be refused.
func try(t *testing.T, transport http.RoundTripper, url string) (answer, error) {
	t.Helper()
	var got answer
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { got.reused = info.Reused },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if got.Response, err = transport.RoundTrip(request); err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	got.body = string(body)
	return got, err
}

// oneShot is a transport that never uses a connection twice.
func oneShot(config *tls.Config) *http.Transport {
	return &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
}

// keeping is a transport that keeps its connection, of the HTTP version named by protocol.
func keeping(t *testing.T, config *tls.Config, protocol string) *http.Transport {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: protocol == "HTTP/2.0"}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// refusal shakes hands with the server and returns why it refused; with TLS 1.3 that shows when the client reads.
func refusal(t *testing.T, address string, config *tls.Config) error {
	t.Helper()
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Log("write:", err) // the server may have hung up already; why is still to be read
	}
	_, err = io.ReadAll(conn)
	return err
}
