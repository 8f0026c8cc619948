package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// verdicts explains the alerts by which a server refuses a client (RFC 8446, section 6.2). crypto/tls doesn't export
// their numbers, so they are told apart by their text.
var verdicts = map[string]string{
	"tls: unknown certificate authority": "the server doesn't know the CA of our certificate: " +
		"tls.crt must be signed by a CA in the server's ca.crt",
	"tls: expired certificate": "our certificate has expired: renew tls.crt",
	"tls: bad certificate": "the server refused our certificate: " +
		"tls.crt must be for clients (extended key usage clientAuth) and of a CA in the server's ca.crt; its log says more",
	"tls: unsupported certificate": "the server refused our certificate: " +
		"tls.crt must be for clients (extended key usage clientAuth)",
	"tls: certificate required":           "the server didn't get our certificate: something between us ends TLS",
	"tls: protocol version not supported": "the server speaks neither TLS 1.2 nor TLS 1.3",
}

// explain says what went wrong and what to do. Equal causes give equal texts: ports and the time of day are left out.
func explain(err error) string {
	if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return explainServer(refused.Err)
	}
	op, isOp := errors.AsType[*net.OpError](err)
	if isOp && op.Op == "remote error" {
		if verdict, ok := verdicts[op.Err.Error()]; ok {
			return fmt.Sprintf("%s (%v)", verdict, op.Err)
		}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the server doesn't speak TLS: check host and port of --url"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time: see --timeout"
	case errors.Is(err, errBrokeOff):
		return errBrokeOff.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at the address: check host and port of --url, and that the server runs"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return "the server closed the connection without an answer: it stops, or refused our certificate; its log says more"
	case isOp:
		return fmt.Sprintf("%s: %v", op.Op, op.Err)
	}
	return err.Error()
}

// explainServer explains why we refused the server's certificate.
func explainServer(err error) string {
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Sprintf("the server's certificate was signed by %q and our ca.crt holds no such CA: "+
			"get the ca.crt of the authority that signed it (%v)", unknown.Cert.Issuer, err)
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the server's certificate is not for %q: give a name it carries by --server-name, "+
			"or have the name put into it (%v)", name.Host, err)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch invalid.Reason {
		case x509.Expired:
			return fmt.Sprintf("the certificate %q on the server's side is valid from %s to %s only: renew it",
				invalid.Cert.Subject, invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
		case x509.IncompatibleUsage:
			return "the server's certificate is not for servers: it lacks the extended key usage serverAuth"
		}
	}
	return err.Error()
}
