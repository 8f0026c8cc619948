package main

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

func TestTheLoopCountsWhatItSaw(t *testing.T) {
	f := start(t, answerHello, func(config *tls.Config, authority *tlstest.Authority) {
		pairs, next := [2]tls.Certificate{}, atomic.Int64{}
		for i := range pairs {
			pairs[i] = authority.Issue(t, tlstest.Server()).TLS()
		}
		config.Certificates = nil
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &pairs[next.Add(1)%2], nil
		}
	})
	c := f.client(t)
	c.count, c.serverName = 6, "localhost" // GetCertificate is only asked by a client that names the server
	var stdout tlstest.Lines
	loop := c.start(t, &stdout)
	for range 3 {
		loop.ticks <- time.Time{}
	}
	loop.reports <- time.Time{} // taken only once the third request is counted
	stdout.Wait(t, "progress requests=3 failed=0 serverSerials=2 clientSerials=1")

	renewed := f.authority.Issue(t, tlstest.Client("my-client"))
	tlstest.Swap(t, f.dir, tlstest.Files(t, renewed, f.authority))
	if changed, err := c.files.Reload(); !changed || err != nil {
		t.Fatalf("Reload gave %t, %v", changed, err)
	}
	for range 3 {
		loop.ticks <- time.Time{}
	}
	got := tlstest.Await(t, "the end of the loop", loop.ended).String()
	if want := "requests=6 failed=0 serverSerials=2 clientSerials=2"; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

func TestARequestUnderWayAtTheEndIsFinishedAndCounted(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	f := start(t, answerHello, func(config *tls.Config, _ *tlstest.Authority) {
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			close(arrived)
			<-release
			return nil, nil // go on with config
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ticks, ended := make(chan time.Time), make(chan *tally, 1)
	c := f.client(t)
	go func() { ended <- c.loop(ctx, ticks, nil, nil) }()
	ticks <- time.Time{}
	tlstest.Await(t, "the request", arrived)
	cancel()
	close(release)
	got := tlstest.Await(t, "the end of the loop", ended)
	if got.requests != 1 || got.failed != 0 {
		t.Errorf("counted %s, want one request that succeeded", got)
	}
}

func TestTheSummary(t *testing.T) {
	success := result{server: "01", client: "0a", body: "Hello World\n"}
	failure := result{client: "0a", err: errors.New("no luck")}
	for sentence, test := range map[string]struct {
		results []result
		stdout  string
		err     string
	}{
		"without a failure is one line": {
			[]result{success, success},
			"requests=2 failed=0 serverSerials=1 clientSerials=1\n", "",
		},
		"tells each failure once, with its count, before the last line": {
			[]result{failure, {err: errors.New("a \"quote\"")}, failure, success},
			`failures=1 error="a \"quote\""` + "\n" + `failures=2 error="no luck"` + "\n" +
				"requests=4 failed=3 serverSerials=1 clientSerials=1\n",
			"3 of 4 requests failed",
		},
		"without a request is an error": {
			nil, "requests=0 failed=0 serverSerials=0 clientSerials=0\n", "no request was made",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			counted := newTally()
			for _, r := range test.results {
				counted.add(r)
			}
			var stdout strings.Builder
			err := counted.summarize(&stdout)
			if stdout.String() != test.stdout {
				t.Errorf("printed\n%swant\n%s", stdout.String(), test.stdout)
			}
			if (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
}
