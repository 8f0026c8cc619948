package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

var protocols = []string{"HTTP/1.1", "HTTP/2.0"}

func TestAConnectionIsKeptUntilItIsTooOld(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol+" is kept", func(t *testing.T) {
			f := start(t, setup{})
			transport := keeping(t, f.clientConfig(&f.client), protocol)
			if first := get(t, transport, f.url); first.Proto != protocol || first.reused {
				t.Fatalf("the first answer came by %s, reused %t", first.Proto, first.reused)
			}
			if second := get(t, transport, f.url); !second.reused {
				t.Error("a young connection was closed")
			}
		})
		t.Run(protocol+" is closed", func(t *testing.T) {
			f := start(t, setup{maxConnectionAge: time.Nanosecond})
			transport := keeping(t, f.clientConfig(&f.client), protocol)
			get(t, transport, f.url)
			// A GOAWAY may arrive after the answer it was sent with, so the client may come once or twice more before it
			// sees it; every request must be answered all the same.
			for deadline := time.Now().Add(30 * time.Second); get(t, transport, f.url).reused; {
				if time.Now().After(deadline) {
					t.Fatal("an old connection is used for ever")
				}
			}
		})
	}
}

// What comes after the bound is one more request of a connection that was idle: that wait is bounded too.
func TestAnIdleConnectionIsClosedWithinItsAge(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{10 * time.Second: 10 * time.Second, time.Hour: maxIdle} {
		server := newHTTPServer(options{maxConnectionAge: age}, nil, nil, slog.New(slog.DiscardHandler))
		if server.IdleTimeout != want {
			t.Errorf("with --max-connection-age=%s a connection may idle for %s, want %s", age, server.IdleTimeout, want)
		}
	}
}

func TestBoundAge(t *testing.T) {
	const limit = 5 * time.Minute
	for sentence, test := range map[string]struct {
		age   time.Duration
		close bool
	}{
		"a new connection stays":                {0, false},
		"a connection just below stays":         {limit - 1, false},
		"a connection at the limit is closed":   {limit, true},
		"a connection past it is closed":        {2 * limit, true},
		"a clock set back closes no connection": {-time.Hour, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			clock := func() time.Time { return now }
			ctx := rememberStart(clock)(t.Context(), nil)
			now = now.Add(test.age)
			recorder := httptest.NewRecorder()
			handler := boundAge(limit, clock, http.HandlerFunc(hello))
			handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
			if got := recorder.Header().Get("Connection") == "close"; got != test.close {
				t.Errorf("closed: %t, want %t", got, test.close)
			}
			if recorder.Body.String() != "Hello World\n" {
				t.Errorf("answered %q", recorder.Body)
			}
		})
	}
}

func TestAShutdownFinishesTheRequestInFlight(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			arrived, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
			slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(arrived)
				<-release
				_, _ = io.WriteString(w, "done")
			})
			f := start(t, setup{handler: slow, onShutdown: func() { close(closed) }})
			answered := make(chan string, 1)
			transport := keeping(t, f.clientConfig(&f.client), protocol)
			go func() {
				got, err := try(t, transport, f.url)
				if err != nil {
					got.body = err.Error()
				}
				answered <- got.body
			}()

			tlstest.Await(t, "the request", arrived)
			f.stop()
			tlstest.Await(t, "the end of listening", closed)
			if conn, err := net.Dial("tcp", f.address); err == nil {
				conn.Close()
				t.Error("a new connection was accepted during shutdown")
			}
			select {
			case err := <-f.served:
				t.Fatalf("serve returned with a request in flight: %v", err)
			default:
			}
			close(release)
			if got := tlstest.Await(t, "the answer", answered); got != "done" {
				t.Errorf("the request in flight got %q", got)
			}
		})
	}
}
