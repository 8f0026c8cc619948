package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"
)

// options is the validated command line.
type options struct {
	url        string
	dir        string
	serverName string
	expect     string
	timeout    time.Duration

	loop           bool
	interval       time.Duration
	duration       time.Duration
	count          int
	report         time.Duration
	reloadInterval time.Duration

	address string // host:port of url
}

// parseOptions returns flag.ErrHelp after it printed the help that was asked for.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	var opts options
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one line, printed once, without the list of flags after it
	flags.StringVar(&opts.url, "url", "", "`https://` address to request")
	flags.StringVar(&opts.dir, "dir", "/etc/mtls", "`folder` with tls.crt, tls.key and ca.crt")
	flags.StringVar(&opts.serverName, "server-name", "",
		"`name` the server's certificate must carry (default the host of --url)")
	flags.StringVar(&opts.expect, "expect", "Hello World", "answer that counts as a success; empty accepts every 200")
	flags.DurationVar(&opts.timeout, "timeout", 10*time.Second, "longest time a request may take")
	flags.BoolVar(&opts.loop, "loop", false, "make requests, each over a new connection, until SIGTERM, and count")
	flags.DurationVar(&opts.interval, "interval", 20*time.Millisecond, "with --loop: time from one request to the next")
	flags.DurationVar(&opts.duration, "duration", 0, "with --loop: end after this time (default never)")
	flags.IntVar(&opts.count, "count", 0, "with --loop: end after this many requests (default never)")
	flags.DurationVar(&opts.report, "report", 5*time.Second, "with --loop: time between two progress lines")
	flags.DurationVar(&opts.reloadInterval, "reload-interval", time.Second,
		"with --loop: time between two looks at the folder")

	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return options{}, err
	case err != nil:
		return options{}, err
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("unexpected argument %q: everything is set by flags, see --help", flags.Arg(0))
	}
	err = opts.complete()
	return opts, err
}

// complete checks the options and derives what is left open.
func (o *options) complete() error {
	target, err := url.Parse(o.url)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	if target.Scheme != "https" || target.Hostname() == "" {
		return fmt.Errorf("--url is %q: give an address like https://hello:8443/", o.url)
	}
	port := target.Port()
	if port == "" {
		port = "443"
	}
	o.address = net.JoinHostPort(target.Hostname(), port)
	if o.serverName == "" {
		o.serverName = target.Hostname()
	}
	if o.dir == "" {
		return errors.New("--dir is empty: give the folder with tls.crt, tls.key and ca.crt")
	}
	if !o.loop && (o.count != 0 || o.duration != 0) {
		return errors.New("--count and --duration end a loop: add --loop")
	}
	if o.count < 0 || o.duration < 0 {
		return errors.New("--count and --duration must not be negative: leave them out to go on until SIGTERM")
	}
	return o.checkIntervals()
}

func (o *options) checkIntervals() error {
	for _, flag := range []struct {
		name  string
		value time.Duration
	}{
		{"timeout", o.timeout},
		{"interval", o.interval},
		{"report", o.report},
		{"reload-interval", o.reloadInterval},
	} {
		if flag.value <= 0 {
			return fmt.Errorf("--%s is %s: give a positive duration, e.g. 1s", flag.name, flag.value)
		}
	}
	return nil
}
