package pki

import (
	"testing"
	"time"
)

func BenchmarkSign(b *testing.B) {
	for _, keyType := range []KeyType{KeyECDSAP256, KeyED25519, KeyRSA2048} {
		b.Run(string(keyType), func(b *testing.B) {
			authority, request := rootOf(b, keyType), hello(b)
			issuer := authority.Issuer()
			public := keyFor(b, "table", keyType).Public()
			for b.Loop() {
				validity := issuer.LeafValidity(noon, time.Hour)
				if _, err := authority.Sign(request, public, validity, issuer.Bundle()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	authority, request := root(b), hello(b)
	issuer := authority.Issuer()
	public := keyFor(b, "table", KeyECDSAP256).Public()
	leaf := issue(b, authority, request, public)
	validity := issuer.LeafValidity(noon, time.Hour)
	for b.Loop() {
		if err := Check(leaf, request, public, issuer, validity, issuer.Bundle()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGenerateKey(b *testing.B) {
	for b.Loop() {
		if _, err := GenerateKey(KeyECDSAP256); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewRequest(b *testing.B) {
	names := hello(b).Names()
	for b.Loop() {
		if _, err := NewRequest(names, bothUsages); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDifference(b *testing.B) {
	request := hello(b)
	leaf := issue(b, root(b), request, keyFor(b, "table", KeyECDSAP256).Public())
	for b.Loop() {
		if difference := request.Difference(leaf, KeyECDSAP256); difference != "" {
			b.Fatal(difference)
		}
	}
}

func BenchmarkParseKey(b *testing.B) {
	data := encodeKey(b, keyFor(b, "table", KeyECDSAP256), EncodingPKCS8)
	for b.Loop() {
		if _, _, err := ParseKey(data); err != nil {
			b.Fatal(err)
		}
	}
}
