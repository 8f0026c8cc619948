package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxPEM is more than the largest Secret.
	maxPEM = 1 << 20
	// maxCertificates bounds the work a stranger's Secret can make.
	maxCertificates = 64

	blockCertificate = "CERTIFICATE"
)

var (
	pemBegin = []byte("-----BEGIN")
	pemEnd   = []byte("-----END")
)

// readPEM splits data into its PEM blocks. encoding/pem skips whatever it can't read; here nothing is skipped but text
// before a block, which openssl writes there.
func readPEM(data []byte) ([]*pem.Block, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%d bytes: there may be no more than %d", len(data), maxPEM)
	}
	var blocks []*pem.Block
	for {
		at := bytes.Index(data, pemBegin)
		if at < 0 {
			break
		}
		if err := checkOutside(data[:at], len(blocks)+1); err != nil {
			return nil, err
		}
		block, rest := pem.Decode(data[at:])
		if block == nil || bytes.Count(data[at:len(data)-len(rest)], pemBegin) != 1 {
			return nil, fmt.Errorf("PEM block %d is damaged: paste it again as a whole, from -----BEGIN to -----END",
				len(blocks)+1)
		}
		if blocks = append(blocks, block); len(blocks) > maxCertificates {
			return nil, fmt.Errorf("more than %d PEM blocks", maxCertificates)
		}
		data = rest
	}
	if len(blocks) == 0 {
		return nil, errors.New("no PEM block, which begins with -----BEGIN")
	}
	if len(bytes.TrimSpace(data)) > 0 {
		return nil, fmt.Errorf("something follows PEM block %d that isn't PEM: remove it", len(blocks))
	}
	return blocks, nil
}

// checkOutside wants the bytes before a PEM block to be lines of text.
func checkOutside(outside []byte, block int) error {
	wholeLines := len(outside) == 0 || outside[len(outside)-1] == '\n'
	strange := func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune("\t\r\n", r) }
	if !wholeLines || !utf8.Valid(outside) || bytes.ContainsFunc(outside, strange) || bytes.Contains(outside, pemEnd) {
		return fmt.Errorf("something before PEM block %d is neither PEM nor lines of text: remove it", block)
	}
	return nil
}

// EncodeCertificates writes PEM blocks one after the other, without comments, with a newline at the end.
func EncodeCertificates(certificates ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certificates {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: c.Raw}))
	}
	return out.Bytes()
}

// ParseCertificates reads one or more certificates in PEM, of at most 1 MiB and 64 certificates. Between the blocks
// may be whitespace and, since openssl writes them, lines of text before a block. Every other block is an error, and
// so is a certificate that can't be parsed.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	blocks, err := readPEM(data)
	if err != nil {
		return nil, err
	}
	certificates := make([]*x509.Certificate, 0, len(blocks))
	for i, block := range blocks {
		c, err := parseCertificateBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", i+1, err)
		}
		certificates = append(certificates, c)
	}
	return certificates, nil
}

func parseCertificateBlock(block *pem.Block) (*x509.Certificate, error) {
	switch {
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("a private key among certificates: remove it, and replace the key if others could read it")
	case block.Type != blockCertificate:
		return nil, fmt.Errorf("of type %s: only %q is allowed here", quote(block.Type), blockCertificate)
	case len(block.Headers) > 0:
		return nil, errors.New("a certificate with PEM headers: remove them")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not a certificate: %s", printable(cut(err.Error(), 200)))
	}
	return c, nil
}

// Fingerprint is the SHA-256 of the certificate's DER, in lower-case hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// SerialNumber is the serial number in lower-case hex, two digits per octet, without colons.
func SerialNumber(c *x509.Certificate) string {
	text := c.SerialNumber.Text(16)
	if len(text)%2 == 1 && !strings.HasPrefix(text, "-") {
		return "0" + text
	}
	return text
}

// SubjectText is the subject as text (RFC 4514), "" when it is empty. What isn't printable is escaped as hex, so that
// it can be shown on a terminal.
func SubjectText(c *x509.Certificate) string {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(c.RawSubject, &name); err != nil {
		return printable(c.Subject.String())
	}
	return printable(name.String())
}

// printable escapes the bytes of what isn't printable as "\" and two hex digits (RFC 4514, section 2.4).
func printable(text string) string {
	var out strings.Builder
	for i, r := range text {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(text[i:])
		}
		if unicode.IsPrint(r) && (r != utf8.RuneError || size == 3) {
			out.WriteRune(r)
			continue
		}
		for _, b := range []byte(text[i : i+size]) {
			fmt.Fprintf(&out, `\%02X`, b)
		}
	}
	return out.String()
}

// shown is how many characters of a user's text errors show.
const shown = 64

// quote makes a user's text fit for an error: quoted, escaped and cut.
func quote(text string) string { return strconv.Quote(cut(text, shown)) }

func cut(text string, most int) string {
	for i := range text {
		if most == 0 {
			return text[:i] + "…"
		}
		most--
	}
	return text
}
