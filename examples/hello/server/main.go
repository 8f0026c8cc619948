// Server is the sample server of mutual TLS: it greets every client that proves who it is and is allowed in.
//
// It promises that only certificates of a CA in ca.crt complete a handshake, that certificate, key and roots follow
// their files without a restart and without a failed handshake, and that a root taken out of ca.crt stops working: for
// new connections and resumed sessions with the next reload, for open connections within --max-connection-age and the
// time they may stay idle. It uses the standard library only, to be read and copied.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	if err := run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then finishes the requests in flight.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	files, err := reload.Open(opts.dir, log)
	if err != nil {
		return err
	}
	if opts.healthAddr != "" {
		stopHealth, err := serveHealth(opts.healthAddr, log)
		if err != nil {
			return err
		}
		defer stopHealth()
	}
	listener, err := net.Listen("tcp", opts.addr)
	if err != nil {
		return err
	}
	go files.Run(ctx, opts.reloadInterval)
	return serve(ctx, listener, newServer(opts, files, log), log)
}
