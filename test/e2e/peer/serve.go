package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"
)

// messageSize is that of a request, which the answer repeats.
const messageSize = 16

// server answers who proves to have a certificate of one of the roots.
type server struct {
	files   *files
	counted *counts
	timeout time.Duration
}

// serve answers on listener until ctx ends.
func (s *server) serve(ctx context.Context, listener net.Listener) {
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // nothing else closes it
		}
		go s.answer(conn)
	}
}

// answer shakes hands with what is in force as the client comes, and answers one request.
func (s *server) answer(raw net.Conn) {
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return
	}
	pair := s.files.pair.current.Load()
	conn := tls.Server(raw, &tls.Config{
		MinVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{*pair},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              s.files.roots.current.Load().pool,
		SessionTicketsDisabled: true,
	})
	if err := conn.Handshake(); err != nil {
		host, _, _ := net.SplitHostPort(raw.RemoteAddr().String())
		s.counted.refuse(host, err)
		return
	}
	s.counted.served(serial(pair.Leaf))
	if _, err := io.CopyN(conn, conn, messageSize); err == nil {
		_ = conn.Close()
	}
}
