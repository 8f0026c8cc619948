package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

// fixture is a server made of the standard library only, and the folder of a client it accepts.
type fixture struct {
	authority *tlstest.Authority
	server    *httptest.Server
	dir       string
}

func answerHello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Hello World\n") }

// start serves handler over mutual TLS. The caller may change the server's TLS configuration.
func start(t *testing.T, handler http.HandlerFunc, change func(*tls.Config, *tlstest.Authority)) *fixture {
	t.Helper()
	authority := tlstest.NewAuthority(t, "my-ca")
	config := &tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, tlstest.Server()).TLS()},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    poolOf(authority),
	}
	if change != nil {
		change(config, authority)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := tlstest.Volume(t, tlstest.Files(t, authority.Issue(t, tlstest.Client("my-client")), authority))
	return &fixture{authority: authority, server: server, dir: dir}
}

// client is what the command line gives by default, but for the folder and the address.
func (f *fixture) client(t *testing.T) *client {
	t.Helper()
	opts, err := parseOptions([]string{"--url", f.server.URL, "--dir", f.dir, "--loop"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	files, err := reload.Open(f.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &client{options: opts, files: files}
}

func poolOf(authorities ...*tlstest.Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, authority := range authorities {
		pool.AddCert(authority.Certificate)
	}
	return pool
}

// running is a loop whose ticks the test gives.
type running struct {
	ticks, reports chan time.Time
	ended          chan *tally
}

// start starts the loop of c. Its channels are unbuffered and the loop takes one thing at a time: when the next tick is
// taken, the request of the one before is counted.
func (c *client) start(t *testing.T, stdout io.Writer) running {
	r := running{make(chan time.Time), make(chan time.Time), make(chan *tally, 1)}
	go func() { r.ended <- c.loop(t.Context(), r.ticks, r.reports, stdout) }()
	return r
}
