package pki

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// PairHash is the SHA-256 over certificates and key as they are written, in hex. Recorded beside a pair that was checked,
// it tells later whether that pair still stands there, without parsing the key.
func PairHash(certificates, key []byte) string {
	hash := sha256.New()
	length := binary.BigEndian.AppendUint64(nil, uint64(len(certificates)))
	for _, part := range [][]byte{length, certificates, key} {
		_, _ = hash.Write(part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// EncodingOf tells the encoding of a key from its first line alone; false when that is none the operator writes.
func EncodingOf(key []byte) (KeyEncoding, bool) {
	switch line, _, _ := bytes.Cut(key, []byte("\n")); string(line) {
	case "-----BEGIN PRIVATE KEY-----":
		return EncodingPKCS8, true
	case "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----":
		return EncodingPKCS1, true
	default:
		return "", false
	}
}
