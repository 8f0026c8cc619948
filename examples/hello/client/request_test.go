package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

func TestARequestShowsBothCertificates(t *testing.T) {
	f := start(t, answerHello, nil)
	c := f.client(t)
	r := c.request(t.Context())
	want := result{
		server: reload.Serial(f.server.TLS.Certificates[0].Leaf),
		client: reload.Serial(c.files.Current().Certificate.Leaf),
		body:   "Hello World\n",
	}
	if r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func TestACertificateNobodyAskedForIsNotCounted(t *testing.T) {
	f := start(t, answerHello, func(config *tls.Config, _ *tlstest.Authority) { config.ClientAuth = tls.NoClientCert })
	if r := f.client(t).request(t.Context()); r.err != nil || r.client != "" || r.server == "" {
		t.Errorf("got %+v, want a server's certificate only", r)
	}
}

func TestEveryRequestIsAHandshakeOfItsOwn(t *testing.T) {
	for version, number := range versions {
		t.Run(version, func(t *testing.T) {
			ports := map[string]bool{}
			f := start(t, func(w http.ResponseWriter, r *http.Request) {
				if r.TLS.DidResume || ports[r.RemoteAddr] {
					http.Error(w, "seen before", http.StatusConflict)
				}
				ports[r.RemoteAddr] = true
				answerHello(w, r)
			}, func(config *tls.Config, _ *tlstest.Authority) { config.MaxVersion = number })
			c := f.client(t)
			for range 5 {
				if r := c.request(t.Context()); r.err != nil {
					t.Error(r.err)
				}
			}
		})
	}
}

func TestTheServerNameMayDifferFromTheAddress(t *testing.T) {
	f := start(t, answerHello, nil)
	c := f.client(t)
	c.serverName = "localhost"
	if r := c.request(t.Context()); r.err != nil {
		t.Error(r.err)
	}
}

func TestAnAnswer(t *testing.T) {
	for sentence, test := range map[string]struct {
		handler http.HandlerFunc
		expect  string
		want    string // in the explanation; empty: a success
	}{
		"counts as expected":            {answerHello, "Hello World", ""},
		"counts if none is expected":    {answerHello, "", ""},
		"must be the expected one":      {answerHello, "Hello", `answered "Hello World", expected "Hello"`},
		"that forbids tells why":        {refuse, "", "403 Forbidden: client is not allowed in"},
		"that is a redirect is told":    {http.RedirectHandler("/x", http.StatusFound).ServeHTTP, "", "302 Found"},
		"that breaks off is a failure":  {breakOff, "", "broke off"},
		"that never comes is a failure": {hangUp, "", "closed the connection without an answer"},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := start(t, test.handler, nil).client(t)
			c.expect = test.expect
			wantExplained(t, c.request(t.Context()), test.want)
		})
	}
}

// hungUp is a connection on which nothing can be written any more and one thing is left to be read.
type hungUp struct{ left error }

func (h hungUp) Read([]byte) (int, error)  { return 0, h.left }
func (h hungUp) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestAVerdictIsReadAfterAFailedWrite(t *testing.T) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	verdict := &net.OpError{Op: "remote error", Err: errors.New("tls: expired certificate")}
	_, err = exchange(hungUp{verdict}, request)
	wantExplained(t, result{err: err}, "our certificate has expired")
}

func refuse(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "client is not allowed in", http.StatusForbidden)
}

func breakOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	answerHello(w, nil)
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestASilentServerIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := start(t, answerHello, nil).client(t)
	c.address, c.timeout = listener.Addr().String(), 10*time.Millisecond
	wantExplained(t, c.request(t.Context()), "no answer in time: see --timeout")
}

// wantExplained checks the explanation of r: what it contains, that it is one line, and that no port is in it, which
// would make every failure a different one.
func wantExplained(t *testing.T, r result, want string) {
	t.Helper()
	if want == "" {
		if r.err != nil {
			t.Errorf("failed: %v", r.err)
		}
		return
	}
	if r.err == nil {
		t.Fatalf("got %q, want a failure with %q", r.body, want)
	}
	got := explain(r.err)
	if !strings.Contains(got, want) || strings.Contains(got, "\n") || strings.Contains(got, "127.0.0.1:") {
		t.Errorf("explained as %q, want one line with %q and no port", got, want)
	}
}
