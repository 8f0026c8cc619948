package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options is the validated command line.
type options struct {
	addr             string
	healthAddr       string
	dir              string
	allowed          nameList
	maxConnectionAge time.Duration
	reloadInterval   time.Duration
}

// parseOptions returns flag.ErrHelp after it printed the help that was asked for.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	var opts options
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one line, printed once, without the list of flags after it
	flags.StringVar(&opts.addr, "addr", ":8443", "`address` to serve HTTPS on")
	flags.StringVar(&opts.healthAddr, "health-addr", "",
		"`address` to serve /healthz on over plain HTTP, since kubelet has no client certificate (default none)")
	flags.StringVar(&opts.dir, "dir", "/etc/mtls", "`folder` with tls.crt, tls.key and ca.crt")
	flags.Var(&opts.allowed, "allow", "`names` of clients to let in, comma separated and repeatable: a DNS name, URI or "+
		"email address of the certificate or its common name (default every client of a CA in ca.crt)")
	flags.DurationVar(&opts.maxConnectionAge, "max-connection-age", 5*time.Minute,
		"age from which a connection is closed after its next answer, so that a removed root takes effect on it")
	flags.DurationVar(&opts.reloadInterval, "reload-interval", time.Second, "time between two looks at the folder")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return options{}, err
	case err != nil:
		return options{}, err
	}
	return opts, opts.validate(flags.Args())
}

func (o options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: everything is set by flags, see --help", rest[0])
	case o.addr == "":
		return errors.New("--addr is empty: give host:port, e.g. :8443")
	case o.dir == "":
		return errors.New("--dir is empty: give the folder with tls.crt, tls.key and ca.crt")
	case o.maxConnectionAge <= 0:
		return fmt.Errorf("--max-connection-age is %s: give a positive duration, e.g. 5m", o.maxConnectionAge)
	case o.reloadInterval <= 0:
		return fmt.Errorf("--reload-interval is %s: give a positive duration, e.g. 1s", o.reloadInterval)
	}
	return nil
}

// nameList is a flag that may be repeated and may list several names each time.
type nameList []string

func (n *nameList) String() string { return strings.Join(*n, ",") }

// Set refuses empty names: an --allow="$UNSET" would otherwise let every client in.
func (n *nameList) Set(value string) error {
	names := strings.Split(value, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
	}
	if slices.Contains(names, "") {
		return errors.New("empty name: leave the flag out to let every client of the CA in")
	}
	*n = append(*n, names...)
	return nil
}
