package compat

import (
	"crypto/x509"
	"os/exec"
	"slices"
	"strings"
	"testing"

	zcrypto "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

func TestZlintFindsNothingInAnyCertificate(t *testing.T) {
	registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lint.SourceList{
		lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC8813, lint.Community,
	}})
	check(t, err)
	if lints := len(registry.Names()); lints < 100 {
		t.Fatalf("only %d lints were selected", lints)
	}
	forEachCertificate(t, func(t *testing.T, authority *pki.Authority, leaf files, _ []pki.Usage) {
		for _, certificate := range []*x509.Certificate{authority.Issuer().Certificate(), leaf.certificate} {
			for _, finding := range findings(t, registry, certificate.Raw) {
				t.Errorf("CA:%t %s", certificate.IsCA, finding)
			}
		}
	})
}

func TestZlintDoesFindWhatIsWrong(t *testing.T) {
	output, err := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=wrong",
		"-set_serial", "0", "-keyout", "/dev/null").Output()
	check(t, err)
	certificates, err := pki.ParseCertificates(output)
	check(t, err)
	if len(findings(t, lint.GlobalRegistry(), certificates[0].Raw)) == 0 {
		t.Error("no lint finds anything in a certificate with serial number 0")
	}
}

// findings are the errors and warnings.
func findings(t *testing.T, registry lint.Registry, der []byte) []string {
	t.Helper()
	certificate, err := zcrypto.ParseCertificate(der)
	check(t, err)
	var all []string
	for name, result := range zlint.LintCertificateEx(certificate, registry).Results {
		if result.Status >= lint.Warn {
			all = append(all, name+": "+result.Details)
		}
	}
	slices.Sort(all)
	return all
}

func TestOpenSSLAcceptsEveryCertificateStrictly(t *testing.T) {
	purposes := map[pki.Usage]string{pki.UsageServer: "sslserver", pki.UsageClient: "sslclient"}
	forEachCertificate(t, func(t *testing.T, _ *pki.Authority, leaf files, usages []pki.Usage) {
		for usage, purpose := range purposes {
			output, err := exec.Command("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile",
				leaf.path("ca.crt"), leaf.path("tls.crt")).CombinedOutput()
			accepted, wanted := err == nil, slices.Contains(usages, usage)
			if accepted != wanted {
				t.Errorf("openssl verify -purpose %s: accepted is %t, want %t\n%s", purpose, accepted, wanted,
					strings.TrimSpace(string(output)))
			}
		}
	})
}
