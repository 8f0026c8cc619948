package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
)

var errBrokeOff = errors.New("the answer broke off: the server stopped in the middle of it, its log says more")

// maxBody is how much of an answer is read, in bytes.
const maxBody = 64 << 10

// client makes requests, each over a connection of its own. It is not for concurrent use.
type client struct {
	options
	files *reload.Files
}

// result is what one request showed.
type result struct {
	server string // serial number of the certificate the server proved to hold; empty if no handshake was completed
	client string // serial number of the certificate we answered the server with; empty if it didn't ask
	body   string
	err    error
}

// request dials, shakes hands and makes one request. An http.Client would do the same in fewer lines and is right for
// most programs. Here the connection is used directly: the handshake is in view, nothing is retried, and an answer is
// read even after a failed write. With TLS 1.3 that matters: the client is done with the handshake before the server
// judged the client's certificate, and learns the verdict from an alert where the answer should be (RFC 8446, section
// 4.4.2.4).
func (c *client) request(ctx context.Context) (r result) {
	deadline := time.Now().Add(c.timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	dialer := tls.Dialer{Config: c.tlsConfig(&r.client)}
	conn, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		r.err = err
		return r
	}
	defer conn.Close()
	r.server = reload.Serial(conn.(*tls.Conn).ConnectionState().PeerCertificates[0])
	if r.err = conn.SetDeadline(deadline); r.err != nil {
		return r
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, http.NoBody)
	if err != nil {
		r.err = err
		return r
	}
	r.body, r.err = exchange(conn, request)
	if r.err == nil && c.expect != "" && strings.TrimSpace(r.body) != c.expect {
		r.err = fmt.Errorf("the server answered %q, expected %q: see --expect", firstLine(r.body), c.expect)
	}
	return r
}

// tlsConfig is made for each connection from one snapshot, so that certificate and roots belong together. It keeps no
// session cache: every handshake shows both certificates. The serial number of the certificate that is presented is
// written to presented.
func (c *client) tlsConfig(presented *string) *tls.Config {
	snapshot := c.files.Current()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: c.serverName,
		RootCAs:    snapshot.Roots,
		// tls.Config.Certificates would send nothing if the server doesn't list our issuer among the CAs it accepts, and
		// the server would then miss a certificate where it should name the CA it doesn't know.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			*presented = reload.Serial(snapshot.Certificate.Leaf)
			return &snapshot.Certificate, nil
		},
	}
}

// exchange sends request over conn and returns the body of a 200 answer.
func exchange(conn io.ReadWriter, request *http.Request) (string, error) {
	request.Close = true
	writeErr := request.Write(conn)
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	switch {
	case err != nil && writeErr != nil:
		return "", fmt.Errorf("%w (after %w)", err, writeErr)
	case err != nil:
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return "", fmt.Errorf("%w: %w", errBrokeOff, err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %s: %s", response.Status, firstLine(string(body)))
	}
	return string(body), nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
