package pki

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Endorsement is what one CA says of the next one: this certificate is the generation with this number of this
// authority. Whoever may write where CAs are stored, but has no CA's key, can't say it.
type Endorsement struct {
	// Authority is its namespace and name, as namespace/name.
	Authority string
	// Number of the generation, from 1 on.
	Number int64
	// Fingerprint of the new CA's certificate, as [Fingerprint] writes it.
	Fingerprint string
}

// endorsementPrefix keeps what is signed apart from everything else that is signed with a CA's key, now and later:
// certificates, requests and revocation lists are DER, which begins with 0x30.
const endorsementPrefix = "mtls-operator.io endorsement v1"

var endorsementEncoding = base64.StdEncoding.Strict()

var isFingerprint = regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString

// message is one field a line, so that no two endorsements have the same one.
func (e Endorsement) message() ([]byte, error) {
	switch {
	case e.Authority == "" || strings.ContainsFunc(e.Authority, isUnprintable):
		return nil, fmt.Errorf("authority %s of an endorsement isn't one line of text", quote(e.Authority))
	case e.Number < 1:
		return nil, fmt.Errorf("number %d of an endorsement isn't positive", e.Number)
	case !isFingerprint(e.Fingerprint):
		return nil, errors.New("the fingerprint of an endorsement isn't a SHA-256 in lower-case hex")
	}
	return fmt.Appendf(nil, "%s\n%s\n%d\n%s\n", endorsementPrefix, e.Authority, e.Number, e.Fingerprint), nil
}

// Endorsed tells whether [Authority.Endorse] of this issuer, or of one with the same key, made the signature for
// exactly this endorsement.
func (i Issuer) Endorsed(subject Endorsement, signature string) bool {
	message, err := subject.message()
	if err != nil || i.certificate == nil {
		return false
	}
	decoded, err := endorsementEncoding.DecodeString(signature)
	if err != nil || endorsementEncoding.EncodeToString(decoded) != signature { // the decoder skips line breaks
		return false
	}
	algorithm, err := algorithmOf(i.certificate.PublicKey)
	return err == nil && i.certificate.CheckSignature(algorithm.text.algorithm, message, decoded) == nil
}
