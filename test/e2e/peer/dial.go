package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// outcome of one attempt: it came to an answer of a server whose certificate is of issuer, or to an error.
type outcome struct {
	issuer string
	err    error
	// unreachable: it failed before TLS began.
	unreachable bool
}

// dialAll dials every peer again and again, one after the other with the interval between, until ctx ends. A peer that
// doesn't answer doesn't hold up the others.
func dialAll(ctx context.Context, o options, files *files, counted *counts) {
	for i, peer := range o.peers {
		d := &dialer{peer: peer, files: files, timeout: o.timeout}
		go d.run(ctx, time.Duration(i+1)*o.interval, time.Duration(len(o.peers))*o.interval, counted)
	}
}

// dialer makes attempts at one peer. It is not for concurrent use.
type dialer struct {
	peer    string // host:port
	files   *files
	timeout time.Duration
	// address is what the host stands for, looked up again after the peer wasn't reached: what is to be seen is TLS, and
	// not the cluster's DNS.
	address string
}

func (d *dialer) run(ctx context.Context, first, interval time.Duration, counted *counts) {
	next := time.NewTimer(first)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			next.Reset(interval)
		}
		result := d.attempt(ctx)
		if ctx.Err() == nil { // cut off, it would look like a failure
			counted.add(d.peer, result)
		}
	}
}

// attempt dials, shakes hands, sends a request and waits for the answer.
func (d *dialer) attempt(ctx context.Context) outcome {
	deadline := time.Now().Add(d.timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	raw, err := d.connect(ctx)
	if err != nil {
		d.address = ""
		return outcome{err: err, unreachable: true}
	}
	defer raw.Close()
	if err := raw.SetDeadline(deadline); err != nil {
		return outcome{err: err, unreachable: true}
	}
	conn := tls.Client(raw, d.config())
	if err := conn.HandshakeContext(ctx); err != nil {
		return outcome{err: err}
	}
	seen := issuer(conn.ConnectionState().PeerCertificates[0])
	return outcome{issuer: seen, err: exchange(conn)}
}

func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	if d.address == "" {
		host, port, err := net.SplitHostPort(d.peer)
		if err != nil {
			return nil, err
		}
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			return nil, err
		}
		d.address = net.JoinHostPort(found[0], port)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", d.address)
}

// config of one handshake, with what is in force. There is no session cache: every one is a full handshake.
func (d *dialer) config() *tls.Config {
	host, _, _ := net.SplitHostPort(d.peer)
	pair := d.files.pair.current.Load()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		RootCAs:    d.files.roots.current.Load().pool,
		// Certificates would send nothing to a server that doesn't list our issuer.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil },
	}
}

// exchange sends a request and reads the answer, also when the request couldn't be written: the server's verdict on the
// client's certificate is an alert in place of the answer.
func exchange(conn io.ReadWriter) error {
	message := []byte("0123456789abcdef")
	_, writeErr := conn.Write(message)
	answer := make([]byte, messageSize)
	_, err := io.ReadFull(conn, answer)
	switch {
	case err != nil && writeErr != nil:
		return fmt.Errorf("%w (after %w)", err, writeErr)
	case err != nil:
		return err
	case !bytes.Equal(answer, message):
		return errors.New("the answer isn't what was sent")
	}
	return nil
}
