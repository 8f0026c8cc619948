package controllers

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// needles are the texts by which a private key would be found, by how they begin. Each goes with what it is.
type needles map[string]map[string]string

// beginning is how long the common beginning of needles is: no needle is shorter.
const beginning = 16

func (n needles) put(needle, what string) {
	first := needle[:beginning]
	if n[first] == nil {
		n[first] = map[string]string{}
	}
	n[first][needle] = what
}

// add the key of a Secret, if it has one that can be read.
func (n needles) add(secret *corev1.Secret) {
	text := secret.Data[v1alpha1.PrivateKeyKey]
	key, _, err := pki.ParseKey(text)
	if err != nil {
		return
	}
	name := secret.Namespace + "/" + secret.Name
	for _, part := range append(secretNumbers(key), text) {
		for form, encoded := range encodings(part) {
			n.put(encoded, fmt.Sprintf("the key of Secret %s, %s", name, form))
		}
	}
}

// secretNumbers are the parts of a key that nobody may learn.
func secretNumbers(key crypto.Signer) [][]byte {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		number, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		return [][]byte{number}
	case *rsa.PrivateKey:
		return [][]byte{key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()}
	case ed25519.PrivateKey:
		return [][]byte{key.Seed()}
	default:
		panic(fmt.Sprintf("%T", key))
	}
}

// encodings of bytes in text, wherever in a longer piece of bytes they stand.
func encodings(part []byte) map[string]string {
	all := map[string]string{
		"in hex":          hex.EncodeToString(part),
		"in HEX":          strings.ToUpper(hex.EncodeToString(part)),
		"as a number":     new(big.Int).SetBytes(part).String(),
		"as bytes":        strings.Trim(fmt.Sprintf("%d", part), "[]"),
		"as Go's bytes":   strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}"),
		"as it is":        string(part),
		"as it is quoted": strings.Trim(fmt.Sprintf("%q", part), `"`),
	}
	for skip := range 3 {
		whole := part[skip : len(part)-(len(part)-skip)%3]
		all[fmt.Sprintf("in base64, %d bytes on", skip)] = base64.StdEncoding.EncodeToString(whole)
		all[fmt.Sprintf("in base64 for URLs, %d bytes on", skip)] = base64.URLEncoding.EncodeToString(whole)
	}
	return all
}

// found tells which keys are in a text. Line breaks, also escaped ones, are passed over.
func (n needles) found(text string) []string {
	joined := strings.NewReplacer("\n", "", `\\n`, "", `\n`, "").Replace(text)
	return slices.Concat(n.search(text), n.search(joined))
}

func (n needles) search(text string) []string {
	var all []string
	for i := range max(len(text)-beginning, 0) {
		for needle, what := range n[text[i:i+beginning]] {
			if strings.HasPrefix(text[i:], needle) {
				all = append(all, what)
			}
		}
	}
	return all
}

func TestAKeyIsFoundInWhateverFormItIsWritten(t *testing.T) {
	for _, keyType := range pki.KeyTypes() {
		key, err := pki.GenerateKey(keyType)
		if err != nil {
			t.Fatal(err)
		}
		text, err := pki.EncodeKey(key, pki.EncodingPKCS8)
		if err != nil {
			t.Fatal(err)
		}
		secret := &corev1.Secret{Data: map[string][]byte{"tls.key": text}}
		n := needles{}
		n.add(secret)
		asJSON, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		for form, haystack := range map[string]string{
			"PEM":                  string(text),
			"PEM, quoted":          fmt.Sprintf("%q", text),
			"PEM, quoted twice":    fmt.Sprintf("%q", fmt.Sprintf("%q", text)),
			"PEM without its ends": string(bytes.Join(bytes.Split(text, []byte("\n"))[1:4], nil)),
			"a Secret as JSON":     string(asJSON),
			"a Secret, printed":    fmt.Sprintf("%v", secret.Data),
			"a Secret in Go":       fmt.Sprintf("%#v", secret.Data),
			"the key, printed":     fmt.Sprintf("%+v", key),
			"hex":                  fmt.Sprintf("%x", secretNumbers(key)[0]),
		} {
			if strings.HasPrefix(string(keyType), "RSA") && form == "PEM without its ends" {
				continue // three lines of a long key are of its public half
			}
			if n.found(haystack) == nil {
				t.Errorf("%s: %s isn't found", keyType, form)
			}
			if n.found("nothing of it "+string(keyType)) != nil {
				t.Error("a key is found where there is none")
			}
		}
	}
}
