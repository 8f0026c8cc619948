package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for sentence, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":           {[]string{"--port=1"}, "flag provided but not defined: -port"},
		"an argument":               {[]string{"start"}, `unexpected argument "start"`},
		"no address":                {[]string{"--addr="}, "--addr is empty"},
		"no folder":                 {[]string{"--dir="}, "--dir is empty"},
		"an empty allow list":       {[]string{"--allow="}, "empty name"},
		"an empty name in a list":   {[]string{"--allow=a,,b"}, "empty name"},
		"an age that isn't one":     {[]string{"--max-connection-age=0s"}, "--max-connection-age is 0s"},
		"an age without unit":       {[]string{"--max-connection-age=5"}, "max-connection-age"},
		"an interval below zero":    {[]string{"--reload-interval=-1s"}, "--reload-interval is -1s"},
		"a folder that isn't there": {[]string{"--dir=/nonexistent"}, "/nonexistent/tls.crt: no such file"},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := run(t.Context(), test.args, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

func TestAllowIsRepeatable(t *testing.T) {
	opts, err := parseOptions([]string{"--allow=a, b", "--allow", "c"}, io.Discard)
	if want := (nameList{"a", "b", "c"}); err != nil || !slices.Equal(opts.allowed, want) {
		t.Errorf("got %q, %v; want %q", opts.allowed, err, want)
	}
	if opts.addr != ":8443" || opts.dir != "/etc/mtls" || opts.maxConnectionAge != 5*time.Minute ||
		opts.reloadInterval != time.Second || opts.healthAddr != "" {
		t.Errorf("the defaults are %+v", opts)
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"addr", "health-addr", "dir", "allow", "max-connection-age", "reload-interval"} {
		if !strings.Contains(out.String(), "-"+name+" ") {
			t.Errorf("--%s isn't in the help:\n%s", name, out.String())
		}
	}
}

func TestRunServesReloadsAndStops(t *testing.T) {
	authority := tlstest.NewAuthority(t, "my-ca")
	client := authority.Issue(t, tlstest.Client("my-client"))
	dir := tlstest.Volume(t, tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority))
	var log tlstest.Lines
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{
			"--addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--dir", dir,
			"--reload-interval=1ms", "--allow=my-client",
		}, &log)
	}()
	health := lastField(log.Wait(t, `msg="serving health"`))
	url := lastField(log.Wait(t, "msg=serving ")) + "/"
	if got := get(t, &http.Transport{DisableKeepAlives: true}, health); got.body != "ok\n" {
		t.Errorf("health is %s %q", got.Status, got.body)
	}

	next := tlstest.NewAuthority(t, "my-ca G2")
	renewed := next.Issue(t, tlstest.Server())
	tlstest.Swap(t, dir, tlstest.Files(t, renewed, authority, next))
	log.Wait(t, "in force", renewed.Certificate.SerialNumber.Text(16))
	f := &fixture{files: openFiles(t, dir, slog.New(slog.DiscardHandler))}
	if got := get(t, oneShot(f.clientConfig(&client)), url); got.body != "Hello World\n" {
		t.Errorf("got %s %q", got.Status, got.body)
	}
	cancel()
	if err := tlstest.Await(t, "the end of run", ended); err != nil {
		t.Error(err)
	}
	log.Wait(t, "shutting down")
}

func lastField(line string) string {
	_, value, _ := strings.Cut(line, "url=")
	return value
}
