package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPeersOfOneCAConnect(t *testing.T) {
	ca := newAuthority(t, "ca")
	a, b := start(t, ca, ca), start(t, ca, ca)
	for range 3 {
		a.dial(t, b)
	}
	b.dial(t, a)

	got := a.counted.tell()
	if got.Attempts != 3 || got.Connected != 3 || got.Failed != 0 || got.Unreachable != 0 {
		t.Errorf("a counted %+v, want 3 connections", got)
	}
	if issuers := got.Peers[b.address].Issuers; len(issuers) != 1 || !strings.HasPrefix(issuers[0], "ca ") {
		t.Errorf("a saw the issuers %q, want the one", issuers)
	}
	if want := serial(b.files.pair.current.Load().Leaf); !slices.Equal(b.counted.tell().Served, []string{want}) {
		t.Errorf("b served %q, want only %s", b.counted.tell().Served, want)
	}
}

// The whole matrix of who knows whom. A server's verdict comes after the client's handshake: that it is counted is what
// the echo is for.
func TestWhoDoesNotTrustTheOtherFailsTheAttempt(t *testing.T) {
	old, next := newAuthority(t, "old"), newAuthority(t, "next")
	for sentence, test := range map[string]struct {
		client, server           authority
		clientRoots, serverRoots []authority
		failed                   int
	}{
		"both have the old CA":                     {old, old, []authority{old}, []authority{old}, 0},
		"both trust both":                          {old, next, []authority{old, next}, []authority{next, old}, 0},
		"the client has never heard of the server": {old, next, []authority{old}, []authority{old, next}, 1},
		"the server has never heard of the client": {next, old, []authority{old, next}, []authority{old}, 1},
		"neither has heard of the other":           {old, next, []authority{old}, []authority{next}, 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			client, server := start(t, test.client, test.clientRoots...), start(t, test.server, test.serverRoots...)
			result := client.dial(t, server)
			got := client.counted.tell()
			if got.Attempts != 1 || got.Failed != test.failed || got.Connected != 1-test.failed || got.Unreachable != 0 {
				t.Errorf("counted %+v after %v, want %d failed", got, result.err, test.failed)
			}
			if test.failed == 1 && (len(got.Failures) != 1 || got.Failures[0].Peer != server.address) {
				t.Errorf("the failures are %+v, want one at %s", got.Failures, server.address)
			}
		})
	}
}

func TestWhatIsNotTLSIsToldApart(t *testing.T) {
	ca := newAuthority(t, "ca")
	a := start(t, ca, ca)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := nobody.Addr().String()
	must(t, nobody.Close())
	a.dial(t, &participant{address: address})
	got := a.counted.tell()
	if got.Unreachable != 1 || got.Failed != 0 || len(got.Unreached) != 1 || !strings.Contains(got.Unreached[0].Text, "refused") {
		t.Errorf("counted %+v, want one unreachable and why", got)
	}
}

func TestAServerThatHangsUpFailsTheAttempt(t *testing.T) {
	ca := newAuthority(t, "ca")
	a := start(t, ca, ca)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_ = conn.Close()
		}
	}()
	a.dial(t, &participant{address: listener.Addr().String()})
	if got := a.counted.tell(); got.Failed != 1 || got.Unreachable != 0 {
		t.Errorf("counted %+v, want one failed", got)
	}
}

func TestNewFilesAreInForceWithoutARestart(t *testing.T) {
	old, next := newAuthority(t, "old"), newAuthority(t, "next")
	a, b := start(t, old, old), start(t, old, old)
	for _, p := range []*participant{a, b} {
		p.volume.issue(t, old, old, next)
		p.look(t)
	}
	a.dial(t, b)
	b.volume.issue(t, next, old, next)
	a.dial(t, b)
	b.look(t)
	a.dial(t, b)
	if got := a.counted.tell(); got.Connected != 3 || len(got.Peers[b.address].Issuers) != 2 {
		t.Errorf("counted %+v, want 3 connections to 2 issuers", got)
	}
	if served := b.counted.tell().Served; len(served) != 2 {
		t.Errorf("b served %q, want 2 certificates", served)
	}
}

func TestABadVersionLeavesTheLastGoodOneInForce(t *testing.T) {
	ca, another := newAuthority(t, "ca"), newAuthority(t, "another")
	a, b := start(t, ca, ca), start(t, ca, ca)
	good, err := readPair(string(b.volume))
	must(t, err)
	b.volume.issue(t, another, another)
	other, err := readPair(string(b.volume))
	must(t, err)
	b.volume.swap(t, map[string][]byte{"tls.crt": good[0], "tls.key": other[1], "ca.crt": []byte("hello")})
	if err := b.files.lookAtPair(); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("a key of another certificate gave %v", err)
	}
	if err := b.files.lookAtRoots(); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("no roots gave %v", err)
	}
	b.look(t) // it is told once
	must(t, os.Remove(b.volume.path("..data")))
	if b.files.lookAtPair() == nil || b.files.lookAtRoots() == nil {
		t.Error("files that are gone gave no error")
	}
	if result := a.dial(t, b); result.err != nil {
		t.Error(result.err)
	}
}

func TestOnlyGoodFilesAreOpened(t *testing.T) {
	if _, err := openFiles(t.TempDir(), "nowhere", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an empty folder was opened")
	}
}

func TestFailuresAreToldByTextAndPeerUpToALimit(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := began
	c := newCounts(func() time.Time { return now })
	for port := range 2 {
		now = began.Add(time.Duration(port) * time.Second)
		c.add("one", outcome{err: &net.OpError{Op: "remote error", Err: errors.New("tls: bad"), Addr: &net.TCPAddr{Port: port}}})
	}
	for i := range 2 * kept {
		c.add("two", outcome{err: errors.New(strings.Repeat("x", i))})
	}
	got := c.tell()
	want := failure{Text: "remote error: tls: bad", Peer: "one", First: began, Last: now, Count: 2}
	if got.Failed != 2*kept+2 || len(got.Failures) != kept || got.Failures[0] != want {
		t.Errorf("counted %+v, want %d failures of which %d are told, the first as %+v", got, 2*kept+2, kept, want)
	}
}

func TestStatsAreServedAndReset(t *testing.T) {
	ca, another := newAuthority(t, "ca"), newAuthority(t, "another")
	a, b := start(t, ca, ca, another), start(t, another, another)
	a.dial(t, b) // which refuses a
	stats := httptest.NewServer(statsHandler(b.files, b.counted))
	defer stats.Close()
	got := read(t, stats.URL)
	for len(got.Refused) == 0 && t.Context().Err() == nil { // it counts after it told a
		got = read(t, stats.URL)
	}
	if len(got.Refused) != 1 || !strings.Contains(got.Refused[0].Text, "unknown authority") || len(got.Served) != 0 {
		t.Errorf("b tells %+v, want that it refused one and served nobody", got)
	}
	leaf := b.files.pair.current.Load().Leaf
	if got.Serial != serial(leaf) || !slices.Equal(got.Roots, []string{fingerprint(another.certificate)}) {
		t.Errorf("b tells of %s and %q, want serial number %s and its root", got.Serial, got.Roots, serial(leaf))
	}
	if code, _ := fetch(t, http.MethodPost, stats.URL+"/reset"); code != http.StatusNoContent {
		t.Errorf("a reset gave %d", code)
	}
	if again := read(t, stats.URL); len(again.Refused) != 0 || !again.Since.After(got.Since) {
		t.Errorf("after a reset it tells %+v", again)
	}
	if code, body := fetch(t, http.MethodGet, stats.URL+"/healthz"); code != http.StatusOK || string(body) != "ok\n" {
		t.Errorf("/healthz gave %d %q", code, body)
	}
}

func read(t *testing.T, url string) (told stats) {
	t.Helper()
	_, body := fetch(t, http.MethodGet, url+"/stats")
	must(t, json.Unmarshal(body, &told))
	return told
}

func fetch(t *testing.T, method, url string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	must(t, err)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, body
}

// The program as a whole: two processes but for the process, each with loops of its own.
func TestProgramsDialEachOther(t *testing.T) {
	ca := newAuthority(t, "ca")
	folder := newVolume(t)
	folder.issue(t, ca, ca)
	target := start(t, ca, ca)
	stats := freeAddress(t)
	ended := make(chan error, 1)
	var log bytes.Buffer
	go func() {
		ended <- run(t.Context(), []string{
			"--cert-dir", string(folder), "--address", "127.0.0.1:0", "--stats-address", stats,
			"--peers", target.address, "--interval", "1ms", "--reload", "1ms",
		}, &log)
	}()
	for len(target.counted.tell().Served) == 0 {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, log.String())
		case <-t.Context().Done():
			t.Fatal("it never dialed")
		case <-time.After(time.Millisecond):
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

func TestFlagsThatCannotBe(t *testing.T) {
	for _, args := range [][]string{{"--peers", "nowhere"}, {"--interval", "0s"}, {"--what"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q were taken", args)
		}
	}
}
