package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	const url = "--url=https://localhost:8443/"
	for sentence, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":           {[]string{"--port=1"}, "flag provided but not defined: -port"},
		"an argument":               {[]string{url, "start"}, `unexpected argument "start"`},
		"no address":                {nil, `--url is ""`},
		"an address without TLS":    {[]string{"--url=http://localhost/"}, `"http://localhost/": give an address like`},
		"an address without host":   {[]string{"--url=https:///"}, "give an address like"},
		"an address that isn't one": {[]string{"--url=https://:x"}, "--url: parse"},
		"no folder":                 {[]string{url, "--dir="}, "--dir is empty"},
		"a count without a loop":    {[]string{url, "--count=1"}, "add --loop"},
		"a duration without a loop": {[]string{url, "--duration=1s"}, "add --loop"},
		"a count below zero":        {[]string{url, "--loop", "--count=-1"}, "must not be negative"},
		"a duration below zero":     {[]string{url, "--loop", "--duration=-1s"}, "must not be negative"},
		"no time between requests":  {[]string{url, "--loop", "--interval=0s"}, "--interval is 0s"},
		"no time between reports":   {[]string{url, "--loop", "--report=0s"}, "--report is 0s"},
		"no time between two looks": {[]string{url, "--loop", "--reload-interval=0s"}, "--reload-interval is 0s"},
		"no time for a request":     {[]string{url, "--timeout=0s"}, "--timeout is 0s"},
		"a folder that isn't there": {[]string{url, "--dir=/nonexistent"}, "/nonexistent/tls.crt: no such file"},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := run(t.Context(), test.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

func TestTheAddressIsDerivedFromTheURL(t *testing.T) {
	for url, want := range map[string]options{
		"https://hello/":           {address: "hello:443", serverName: "hello"},
		"https://hello.shop:8443/": {address: "hello.shop:8443", serverName: "hello.shop"},
		"https://[::1]:8443":       {address: "[::1]:8443", serverName: "::1"},
	} {
		got, err := parseOptions([]string{"--url", url}, io.Discard)
		if err != nil || got.address != want.address || got.serverName != want.serverName {
			t.Errorf("%s: got %q as %q, %v; want %q as %q",
				url, got.address, got.serverName, err, want.address, want.serverName)
		}
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"--help"}, io.Discard, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{
		"url", "dir", "server-name", "expect", "timeout", "loop", "interval", "duration",
		"count", "report", "reload-interval",
	} {
		if !strings.Contains(out.String(), "  -"+name) {
			t.Errorf("--%s isn't in the help:\n%s", name, out.String())
		}
	}
}

func TestOneRequestPrintsTheAnswer(t *testing.T) {
	f := start(t, answerHello, nil)
	var stdout, stderr strings.Builder
	if err := run(t.Context(), []string{"--url", f.server.URL, "--dir", f.dir}, &stdout, &stderr); err != nil {
		t.Error(err)
	}
	if stdout.String() != "Hello World\n" || stderr.String() != "" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

func TestOneRequestThatFailsIsExplained(t *testing.T) {
	f := start(t, answerHello, nil)
	another := tlstest.NewAuthority(t, "another-ca")
	tlstest.Swap(t, f.dir, tlstest.Files(t, f.authority.Issue(t, tlstest.Client("my-client")), another))
	var stdout strings.Builder
	err := run(t.Context(), []string{"--url", f.server.URL, "--dir", f.dir}, &stdout, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "our ca.crt holds no such CA") || stdout.String() != "" {
		t.Errorf("got %v and stdout %q", err, stdout.String())
	}
}

func TestALoopEndsByItself(t *testing.T) {
	f := start(t, answerHello, nil)
	for sentence, end := range map[string]string{"by count": "--count=5", "by duration": "--duration=200ms"} {
		t.Run(sentence, func(t *testing.T) {
			var stdout strings.Builder
			args := []string{"--url", f.server.URL, "--dir", f.dir, "--loop", "--interval=1ms", end}
			if err := run(t.Context(), args, &stdout, io.Discard); err != nil {
				t.Error(err)
			}
			if end == "--count=5" && stdout.String() != "requests=5 failed=0 serverSerials=1 clientSerials=1\n" {
				t.Errorf("printed %q", stdout.String())
			}
			if !strings.HasSuffix(stdout.String(), " failed=0 serverSerials=1 clientSerials=1\n") {
				t.Errorf("printed %q", stdout.String())
			}
		})
	}
}
