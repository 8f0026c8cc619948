package pki

import (
	"slices"
	"testing"
)

func TestPairHashDependsOnBothParts(t *testing.T) {
	hashes := []string{
		PairHash([]byte("ab"), []byte("c")), PairHash([]byte("a"), []byte("bc")),
		PairHash([]byte("ab"), nil), PairHash(nil, []byte("ab")),
	}
	slices.Sort(hashes)
	if len(slices.Compact(hashes)) != 4 {
		t.Error("two different pairs have the same hash")
	}
	if again := PairHash([]byte("ab"), []byte("c")); !slices.Contains(hashes, again) {
		t.Error("the same pair has two hashes")
	}
}

func TestEncodingOfTellsWhatEncodeKeyWrote(t *testing.T) {
	for _, keyType := range KeyTypes() {
		for _, encoding := range []KeyEncoding{EncodingPKCS8, EncodingPKCS1} {
			key, err := EncodeKey(keyFor(t, "table", keyType), encoding)
			if err != nil {
				continue // no such form, which another test asserts
			}
			if has, known := EncodingOf(key); has != encoding || !known {
				t.Errorf("%s: %s %t, want %s", keyType, has, known, encoding)
			}
		}
	}
	for _, other := range []string{"", "-----BEGIN CERTIFICATE-----\n", "key"} {
		if has, known := EncodingOf([]byte(other)); known {
			t.Errorf("%q: %s", other, has)
		}
	}
}
