package main

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
)

// authorize lets the clients through that go by one of the allowed names; an empty list lets every client of the CA
// through. It works on requests and not in the handshake, because who a client is and what it may do are two questions:
// the second often depends on the path, and its answer should reach the client as a sentence. A refused handshake
// reaches it as "bad certificate" or a reset connection, and people then search for the fault in their certificates.
func authorize(allowed []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names := namesOf(r.TLS.PeerCertificates[0])
		client := 0
		if len(allowed) > 0 {
			client = slices.IndexFunc(names, func(name string) bool { return slices.Contains(allowed, name) })
		}
		if client < 0 {
			http.Error(w, fmt.Sprintf("client %q is not allowed in: the server's --allow lists none of its names", names),
				http.StatusForbidden)
			return
		}
		w.Header().Set("X-Client", headerText(names[client]))
		next.ServeHTTP(w, r)
	})
}

// namesOf lists what the holder of a certificate is known by, at least one name. All of them are vouched for by the CA;
// a server with several CAs that don't trust each other would have to look at the chain as well.
func namesOf(certificate *x509.Certificate) []string {
	var names []string
	if certificate.Subject.CommonName != "" {
		names = append(names, certificate.Subject.CommonName)
	}
	names = append(names, certificate.DNSNames...)
	for _, uri := range certificate.URIs {
		names = append(names, uri.String())
	}
	names = append(names, certificate.EmailAddresses...)
	if len(names) == 0 {
		names = append(names, "serial:"+reload.Serial(certificate))
	}
	return names
}

// headerText keeps a name that isn't printable ASCII from breaking the header it is put in.
func headerText(name string) string {
	return strings.Trim(strconv.QuoteToASCII(name), `"`)
}
