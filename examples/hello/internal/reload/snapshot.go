package reload

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// Snapshot is what one version of the folder holds. It never changes; a reload makes another.
type Snapshot struct {
	// Certificate is tls.crt (the leaf first, then intermediates) with the key that belongs to it. Its Leaf is set.
	Certificate tls.Certificate
	// Roots is ca.crt, one or more of them.
	Roots *x509.CertPool

	rootSerials []string
}

// Serial is the serial number of a certificate in lower-case hex, two digits for each octet.
func Serial(certificate *x509.Certificate) string {
	return hex.EncodeToString(certificate.SerialNumber.Bytes())
}

// Verify checks that the chain a peer presented, its leaf first, leads to one of the roots of this snapshot and may be
// used for usage (RFC 5280, section 6).
func (s *Snapshot) Verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("the peer presented no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         s.Roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	return err
}

// parse turns a version of the folder into a snapshot, or says which file is wrong. It asks no clock: the same bytes
// are always judged the same, so a version needs to be judged only once.
func parse(c contents) (*Snapshot, error) {
	if _, err := parseCertificates(c.certificate); err != nil {
		return nil, fmt.Errorf("%s: %w", certificateFile, err)
	}
	pair, err := tls.X509KeyPair(c.certificate, c.key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certificateFile, keyFile, err)
	}
	roots, err := parseCertificates(c.roots)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rootsFile, err)
	}
	snapshot := &Snapshot{Certificate: pair, Roots: x509.NewCertPool()}
	for _, root := range roots {
		snapshot.Roots.AddCert(root)
		snapshot.rootSerials = append(snapshot.rootSerials, Serial(root))
	}
	return snapshot, nil
}

// parseCertificates accepts all or nothing. The standard library's readers of PEM files skip what they can't read, so a
// file caught half written would quietly lose its intermediates, or stop trusting half of the peers. A file cut exactly
// between two certificates looks complete; only a swap of the whole folder is safe from that.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	begun := bytes.Count(data, []byte("-----BEGIN"))
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %q found, only CERTIFICATE blocks belong here", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certificates)+1, err)
		}
		certificates = append(certificates, certificate)
		data = rest
	}
	switch {
	case len(certificates) != begun || (begun > 0 && len(bytes.TrimSpace(data)) > 0):
		return nil, fmt.Errorf("only the first %d certificates are complete, the file is damaged or half written",
			len(certificates))
	case begun == 0:
		return nil, errors.New("no certificate found, put at least one into it (PEM)")
	}
	return certificates, nil
}
