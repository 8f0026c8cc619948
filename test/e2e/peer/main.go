// Peer is one of many programs between which e2e watches mutual TLS: a server that asks every client for a certificate,
// and a client that dials all the others again and again.
//
// It promises that every attempt is a handshake of its own, with the certificate and the roots that are in force at that
// moment, and an answer of the server after it, without which nobody knows what the server made of the client's
// certificate (with TLS 1.3 the client is done before the server has judged). It counts every attempt, tells those that
// failed in TLS from those that didn't get as far, and retries none. Certificate and roots are read from their files
// each on its own, as programs do, so one may be older than the other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	if err := run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	dir, roots        string
	address, statsAt  string
	peers             []string // host:port of each
	interval, timeout time.Duration
	reload            time.Duration
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "cert-dir", "/etc/mtls", "`folder` with tls.crt and tls.key")
	flags.StringVar(&o.roots, "roots", "", "`file` with the roots for both sides; default: ca.crt in the folder")
	flags.StringVar(&o.address, "address", ":8443", "`host:port` of the TLS server")
	flags.StringVar(&o.statsAt, "stats-address", ":8080", "`host:port` of /stats, /reset and /healthz")
	peers := flags.String("peers", "", "comma-separated `host:port` of the peers to dial")
	flags.DurationVar(&o.interval, "interval", 100*time.Millisecond, "between two attempts, at one peer after the other")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "of an attempt; so long that a busy machine fails none")
	flags.DurationVar(&o.reload, "reload", time.Second, "between two looks at the files")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.roots == "" {
		o.roots = o.dir + "/ca.crt"
	}
	if o.interval <= 0 || o.timeout <= 0 || o.reload <= 0 {
		return o, errors.New("--interval, --timeout and --reload must be longer than nothing")
	}
	for peer := range strings.SplitSeq(*peers, ",") {
		if peer == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(peer); err != nil {
			return o, fmt.Errorf("--peers: %w", err)
		}
		o.peers = append(o.peers, peer)
	}
	return o, nil
}

// run serves and dials until ctx ends.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	files, err := openFiles(o.dir, o.roots, log)
	if err != nil {
		return err
	}
	counted := newCounts(time.Now)
	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	stats, err := net.Listen("tcp", o.statsAt)
	if err != nil {
		return err
	}
	go files.run(ctx, o.reload)
	s := &server{files: files, counted: counted, timeout: o.timeout}
	go s.serve(ctx, listener)
	dialAll(ctx, o, files, counted)
	log.Info("serving", "address", listener.Addr().String(), "stats", stats.Addr().String(), "peers", len(o.peers))
	return serveStats(ctx, stats, files, counted)
}

// serveStats answers over plain HTTP until ctx ends.
func serveStats(ctx context.Context, listener net.Listener, files *files, counted *counts) error {
	server := &http.Server{Handler: statsHandler(files, counted), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
