package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KeyType is an algorithm with its size or curve, in the words of Kubernetes' pod certificates (core/v1).
type KeyType string

// The key types there are; the table algorithms says what each one means.
const (
	KeyECDSAP256 KeyType = "ECDSAP256"
	KeyECDSAP384 KeyType = "ECDSAP384"
	KeyECDSAP521 KeyType = "ECDSAP521"
	KeyRSA2048   KeyType = "RSA2048"
	KeyRSA3072   KeyType = "RSA3072"
	KeyRSA4096   KeyType = "RSA4096"
	KeyED25519   KeyType = "ED25519"
)

// algorithm is all this package knows of a key type.
type algorithm struct {
	name      KeyType
	generate  func() (crypto.Signer, error)
	matches   func(crypto.PublicKey) bool
	signature x509.SignatureAlgorithm // what a CA with such a key signs with
	text      scheme                  // what a CA with such a key signs text with
	server    x509.KeyUsage           // what a server's certificate adds to digitalSignature
}

// scheme is how a key signs what is no certificate.
type scheme struct {
	algorithm x509.SignatureAlgorithm // as verifiers name it
	options   crypto.SignerOpts       // as signers want it
}

var (
	withSHA256 = scheme{x509.ECDSAWithSHA256, crypto.SHA256}
	withSHA384 = scheme{x509.ECDSAWithSHA384, crypto.SHA384}
	withSHA512 = scheme{x509.ECDSAWithSHA512, crypto.SHA512}
	withPSS    = scheme{
		x509.SHA256WithRSAPSS,
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256},
	}
	withoutHash = scheme{x509.PureEd25519, crypto.Hash(0)}
)

const (
	none = x509.KeyUsage(0)
	// encipherment is for TLS 1.2 without forward secrecy, in which clients encrypt to the server's RSA key. A client's
	// key has no such use (RFC 5280, section 4.2.1.12).
	encipherment = x509.KeyUsageKeyEncipherment
)

var algorithms = []algorithm{
	{KeyECDSAP256, newECDSA(elliptic.P256()), isECDSA(elliptic.P256()), x509.ECDSAWithSHA256, withSHA256, none},
	{KeyECDSAP384, newECDSA(elliptic.P384()), isECDSA(elliptic.P384()), x509.ECDSAWithSHA384, withSHA384, none},
	{KeyECDSAP521, newECDSA(elliptic.P521()), isECDSA(elliptic.P521()), x509.ECDSAWithSHA512, withSHA512, none},
	{KeyRSA2048, newRSA(2048), isRSA(2048), x509.SHA256WithRSA, withPSS, encipherment},
	{KeyRSA3072, newRSA(3072), isRSA(3072), x509.SHA256WithRSA, withPSS, encipherment},
	{KeyRSA4096, newRSA(4096), isRSA(4096), x509.SHA256WithRSA, withPSS, encipherment},
	{KeyED25519, newEd25519, isEd25519, x509.PureEd25519, withoutHash, none},
}

func newECDSA(curve elliptic.Curve) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return ecdsa.GenerateKey(curve, rand.Reader) }
}

func isECDSA(curve elliptic.Curve) func(crypto.PublicKey) bool {
	return func(public crypto.PublicKey) bool {
		key, ok := public.(*ecdsa.PublicKey)
		return ok && key.Curve == curve
	}
}

func newRSA(bits int) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) }
}

func isRSA(bits int) func(crypto.PublicKey) bool {
	return func(public crypto.PublicKey) bool {
		key, ok := public.(*rsa.PublicKey)
		return ok && key.N.BitLen() == bits
	}
}

func newEd25519() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func isEd25519(public crypto.PublicKey) bool {
	_, ok := public.(ed25519.PublicKey)
	return ok
}

// usage is the key usage of a leaf.
func (a algorithm) usage(usages []Usage) x509.KeyUsage {
	if slices.Contains(usages, UsageServer) {
		return x509.KeyUsageDigitalSignature | a.server
	}
	return x509.KeyUsageDigitalSignature
}

// KeyTypes returns every key type, in the order of the table.
func KeyTypes() []KeyType {
	types := make([]KeyType, len(algorithms))
	for i, a := range algorithms {
		types[i] = a.name
	}
	return types
}

// keyTypeList is the end of every error about a key type.
func keyTypeList() string {
	var names []string
	for _, t := range KeyTypes() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// GenerateKey makes a private key. It fails for a type that isn't one of [KeyTypes].
func GenerateKey(t KeyType) (crypto.Signer, error) {
	for _, a := range algorithms {
		if a.name == t {
			return a.generate()
		}
	}
	return nil, fmt.Errorf("unknown key type %s: use one of %s", quote(string(t)), keyTypeList())
}

func algorithmOf(public crypto.PublicKey) (algorithm, error) {
	for _, a := range algorithms {
		if a.matches(public) {
			return a, nil
		}
	}
	return algorithm{}, fmt.Errorf("%s isn't supported: use one of %s", describeKey(public), keyTypeList())
}

func describeKey(public crypto.PublicKey) string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("an RSA key of %d bits", key.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("an ECDSA key on curve %s", key.Params().Name)
	default:
		return "a key of this algorithm"
	}
}

// KeyTypeOf tells the type of a public key. The error for a key of any other kind says what it is and what to use.
func KeyTypeOf(public crypto.PublicKey) (KeyType, error) {
	a, err := algorithmOf(public)
	return a.name, err
}

// SameKey tells whether two public keys are the same; false for what isn't a public key.
func SameKey(public, other crypto.PublicKey) bool {
	key, ok := public.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && key.Equal(other)
}

// keyID makes a key identifier: the first 160 bits of the SHA-256 of the subjectPublicKey (RFC 7093, section 2,
// method 1).
func keyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("key identifier: %w", err)
	}
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("key identifier: %w", err)
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20], nil
}

// KeyEncoding is a form of a private key.
type KeyEncoding string

// The encodings of private keys.
const (
	// EncodingPKCS8 is PKCS #8 (RFC 5208), which holds every algorithm.
	EncodingPKCS8 KeyEncoding = "PKCS8"
	// EncodingPKCS1 is the traditional form of the algorithm: PKCS #1 (RFC 8017) for RSA, SEC 1 (RFC 5915) for ECDSA.
	EncodingPKCS1 KeyEncoding = "PKCS1"
)

const (
	blockPKCS8        = "PRIVATE KEY"
	blockPKCS1        = "RSA PRIVATE KEY"
	blockSEC1         = "EC PRIVATE KEY"
	blockECParameters = "EC PARAMETERS"
	blockEncrypted    = "ENCRYPTED PRIVATE KEY"
)

// EncodeKey returns the key as one PEM block. It fails for an unknown encoding, and for PKCS1 with a key that has no
// traditional form.
func EncodeKey(key crypto.Signer, encoding KeyEncoding) ([]byte, error) {
	block, err := keyBlock(key, encoding)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

func keyBlock(key crypto.Signer, encoding KeyEncoding) (*pem.Block, error) {
	switch encoding {
	case EncodingPKCS8:
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, errors.New("this private key can't be written as PKCS8")
		}
		return &pem.Block{Type: blockPKCS8, Bytes: der}, nil
	case EncodingPKCS1:
		return traditionalBlock(key)
	default:
		return nil, fmt.Errorf("unknown encoding %s of a private key: use PKCS8 or PKCS1", quote(string(encoding)))
	}
}

func traditionalBlock(key crypto.Signer) (*pem.Block, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return &pem.Block{Type: blockPKCS1, Bytes: x509.MarshalPKCS1PrivateKey(key)}, nil
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return nil, errors.New("this private key can't be written in the form of SEC 1")
		}
		return &pem.Block{Type: blockSEC1, Bytes: der}, nil
	default:
		return nil, errors.New("this private key has no traditional form: use the encoding PKCS8")
	}
}

var errEncryptedKey = errors.New(`the private key is encrypted with a password: ` +
	`decrypt it first, with "openssl pkey -in tls.key -out decrypted.key"`)

// ParseKey reads exactly one PEM block with an unencrypted private key of a supported type, in PKCS #8, PKCS #1 or
// SEC 1, and tells which form it had. An EC PARAMETERS block before it is skipped: "openssl ecparam -genkey" writes
// one. No error contains anything of a key.
func ParseKey(data []byte) (crypto.Signer, KeyEncoding, error) {
	blocks, err := readPEM(data)
	if err != nil {
		return nil, "", err
	}
	if len(blocks) > 1 && blocks[0].Type == blockECParameters {
		blocks = blocks[1:]
	}
	if len(blocks) != 1 {
		return nil, "", fmt.Errorf("%d PEM blocks: there must be exactly one, a private key", len(blocks))
	}
	key, encoding, err := parseKeyBlock(blocks[0])
	if err != nil {
		return nil, "", err
	}
	if _, err := KeyTypeOf(key.Public()); err != nil {
		return nil, "", err
	}
	return key, encoding, nil
}

func parseKeyBlock(block *pem.Block) (crypto.Signer, KeyEncoding, error) {
	if block.Type == blockEncrypted || block.Headers["Proc-Type"] != "" || block.Headers["DEK-Info"] != "" {
		return nil, "", errEncryptedKey
	}
	var key any
	var err error
	encoding := EncodingPKCS1
	switch block.Type {
	case blockPKCS8:
		encoding = EncodingPKCS8
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case blockPKCS1:
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case blockSEC1:
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, "", fmt.Errorf("a PEM block of type %s: there must be a private key, of type %q, %q or %q",
			quote(block.Type), blockPKCS8, blockPKCS1, blockSEC1)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		// The cause is left out: it comes from a parser that reads key bytes.
		return nil, "", fmt.Errorf("the PEM block of type %q holds no private key of a supported algorithm: use one of %s",
			block.Type, keyTypeList())
	}
	return signer, encoding, nil
}
