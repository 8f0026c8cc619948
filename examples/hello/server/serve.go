package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
)

const (
	// requestTimeout bounds the handshake, the reading of a request and the writing of an answer, one each.
	requestTimeout = 10 * time.Second
	// maxIdle is how long a connection may wait for its next request.
	maxIdle = time.Minute
	// shutdownTimeout is what requests in flight get to finish; kubelet kills after 30 seconds unless told otherwise.
	shutdownTimeout = 20 * time.Second
)

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Hello World\n") }

// newServer puts the sample together: who may in, then what is answered.
func newServer(opts options, files *reload.Files, log *slog.Logger) *http.Server {
	if len(opts.allowed) == 0 {
		log.Warn("every client with a certificate of a CA in ca.crt is allowed in, list names with --allow to change it")
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /{$}", hello)
	return newHTTPServer(opts, files, authorize(opts.allowed, routes), log)
}

// newHTTPServer bounds everything a connection does in time: what can last for ever outlives the root it was let in by.
func newHTTPServer(opts options, files *reload.Files, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		TLSConfig:         tlsConfig(files),
		Handler:           boundAge(opts.maxConnectionAge, time.Now, handler),
		ConnContext:       rememberStart(time.Now),
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       min(maxIdle, opts.maxConnectionAge),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

type startKey struct{}

// rememberStart notes when a connection was accepted.
func rememberStart(now func() time.Time) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, startKey{}, now())
	}
}

// boundAge ends a connection that is older than limit with its next answer, so that the client comes back with a new
// handshake and no request is lost: net/http closes an HTTP/1 connection after an answer with this header, and turns it
// into a GOAWAY for HTTP/2 (RFC 9113, section 6.8).
func boundAge(limit time.Duration, now func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if start, ok := r.Context().Value(startKey{}).(time.Time); ok && now().Sub(start) >= limit {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// serve answers on listener until ctx ends, then refuses new connections and lets requests in flight finish.
func serve(ctx context.Context, listener net.Listener, server *http.Server, log *slog.Logger) error {
	log.Info("serving", "url", "https://"+listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down, requests in flight are finished first")
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		_ = server.Close()
		return fmt.Errorf("requests were still running after %s: %w", shutdownTimeout, err)
	}
	return nil
}

// serveHealth answers /healthz over plain HTTP until stop is called. It says the process serves, nothing about peers.
func serveHealth(addr string, log *slog.Logger) (stop func(), err error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--health-addr: %w", err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	server := &http.Server{Handler: routes, ReadHeaderTimeout: requestTimeout}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health endpoint ended", "error", err)
		}
	}()
	log.Info("serving health", "url", "http://"+listener.Addr().String()+"/healthz")
	return func() { _ = server.Close() }, nil
}
