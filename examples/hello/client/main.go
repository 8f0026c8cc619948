// Client is the sample client of mutual TLS: it makes one request and shows the answer, or makes requests in a loop and
// counts.
//
// It promises that every request is a handshake of its own (no connection and no session is used again), that
// certificate, key and roots follow their files without a restart, and that what it counts is what it saw: the
// certificates of completed handshakes and of its own answers to certificate requests, not those in files. It uses the
// standard library only, to be read and copied.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// run makes one request or, with --loop, requests until ctx ends. What was seen goes to stdout, everything else to
// stderr. Its error says what failed and what to do.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	logTo := stderr
	if !opts.loop {
		logTo = io.Discard // one request reads the files once: what they hold is told by its outcome
	}
	files, err := reload.Open(opts.dir, slog.New(slog.NewTextHandler(logTo, nil)))
	if err != nil {
		return err
	}
	c := &client{options: opts, files: files}
	if opts.loop {
		return runLoop(ctx, c, stdout)
	}
	result := c.request(ctx)
	fmt.Fprint(stdout, result.body)
	if result.err != nil {
		return errors.New(explain(result.err))
	}
	return nil
}

func runLoop(ctx context.Context, c *client, stdout io.Writer) error {
	go c.files.Run(ctx, c.reloadInterval)
	ticks, reports := time.NewTicker(c.interval), time.NewTicker(c.report)
	defer ticks.Stop()
	defer reports.Stop()
	if c.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.duration)
		defer cancel()
	}
	return c.loop(ctx, ticks.C, reports.C, stdout).summarize(stdout)
}
