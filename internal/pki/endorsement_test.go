package pki

import (
	"bytes"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func endorsement() Endorsement {
	return Endorsement{Authority: "shop/root", Number: 2, Fingerprint: strings.Repeat("0a", 32)}
}

func endorse(t testing.TB, authority *Authority, subject Endorsement) string {
	t.Helper()
	signature, err := authority.Endorse(subject)
	wantNoError(t, err)
	return signature
}

func TestEveryTypeOfKeyEndorses(t *testing.T) {
	for _, keyType := range KeyTypes() {
		t.Run(string(keyType), func(t *testing.T) {
			authority := rootOf(t, keyType)
			signature := endorse(t, authority, endorsement())
			if !authority.Issuer().Endorsed(endorsement(), signature) {
				t.Fatal("the CA doesn't know its own endorsement")
			}
			for _, other := range KeyTypes() {
				if other != keyType && rootOf(t, other).issuer.Endorsed(endorsement(), signature) {
					t.Errorf("the CA with %s takes it for its own", other)
				}
			}
			another := selfSigned(t, AuthorityFields{KeyType: keyType})
			if another.issuer.Endorsed(endorsement(), signature) {
				t.Error("a CA with another key takes it for its own")
			}
		})
	}
}

func TestARenewedCAKnowsWhatTheOldOneEndorsed(t *testing.T) {
	if signature := endorse(t, root(t), endorsement()); !renewedRoot(t).issuer.Endorsed(endorsement(), signature) {
		t.Error("it doesn't")
	}
}

func TestEndorseRefusesWhatIsNotOneLinePerField(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Endorsement)
		want   string
	}{
		"no authority":         {func(e *Endorsement) { e.Authority = "" }, `authority "" of an endorsement isn't one line of text`},
		"a newline":            {func(e *Endorsement) { e.Authority = "a/b\n1" }, `authority "a/b\n1" of an endorsement`},
		"a carriage return":    {func(e *Endorsement) { e.Authority = "a/b\r" }, "isn't one line of text"},
		"a line separator":     {func(e *Endorsement) { e.Authority = "a/b\u2028" }, "isn't one line of text"},
		"no number":            {func(e *Endorsement) { e.Number = 0 }, "number 0 of an endorsement isn't positive"},
		"a negative number":    {func(e *Endorsement) { e.Number = -1 }, "number -1 of an endorsement isn't positive"},
		"no fingerprint":       {func(e *Endorsement) { e.Fingerprint = "" }, "isn't a SHA-256 in lower-case hex"},
		"a short fingerprint":  {func(e *Endorsement) { e.Fingerprint = e.Fingerprint[1:] }, "isn't a SHA-256"},
		"a fingerprint + line": {func(e *Endorsement) { e.Fingerprint += "\n" }, "isn't a SHA-256"},
		"upper case":           {func(e *Endorsement) { e.Fingerprint = strings.ToUpper(e.Fingerprint) }, "isn't a SHA-256"},
	} {
		t.Run(name, func(t *testing.T) {
			subject := endorsement()
			test.change(&subject)
			signature, err := root(t).Endorse(subject)
			wantText(t, err, test.want)
			if signature != "" || root(t).issuer.Endorsed(subject, endorse(t, root(t), endorsement())) {
				t.Error("it was endorsed all the same")
			}
		})
	}
	authority := newAuthority(root(t).issuer, broken{root(t).key()})
	_, err := authority.Endorse(endorsement())
	wantText(t, err, "can't sign the endorsement: the key is locked")
}

func anyEndorsement() *rapid.Generator[Endorsement] {
	return rapid.Custom(func(t *rapid.T) Endorsement {
		return Endorsement{
			Authority:   rapid.StringMatching(`[a-z0-9]{1,4}/[a-z0-9]{1,4}`).Draw(t, "authority"),
			Number:      rapid.Int64Min(1).Draw(t, "number"),
			Fingerprint: rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "fingerprint"),
		}
	})
}

func TestAnEndorsementIsForExactlyOneThing(t *testing.T) {
	types := []KeyType{KeyECDSAP256, KeyED25519, KeyRSA2048}
	issuers := map[KeyType]*Authority{}
	for _, keyType := range types {
		issuers[keyType] = rootOf(t, keyType)
	}
	rapid.Check(t, func(t *rapid.T) {
		authority := issuers[rapid.SampledFrom(types).Draw(t, "type")]
		one, other := anyEndorsement().Draw(t, "one"), anyEndorsement().Draw(t, "other")
		signature, err := authority.Endorse(one)
		if err != nil || !authority.issuer.Endorsed(one, signature) {
			t.Fatalf("%v", err)
		}
		for _, changed := range []Endorsement{
			other,
			{other.Authority, one.Number, one.Fingerprint},
			{one.Authority, other.Number, one.Fingerprint},
			{one.Authority, one.Number, other.Fingerprint},
			{one.Fingerprint, one.Number, one.Fingerprint},
		} {
			if changed != one && authority.issuer.Endorsed(changed, signature) {
				t.Fatalf("%v is endorsed by the signature for %v", changed, one)
			}
		}
		spoiled := []byte(signature)
		spoiled[rapid.IntRange(0, len(spoiled)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		for _, text := range []string{string(spoiled), signature + "\n", "\n" + signature, signature[1:], signature + signature, ""} {
			if authority.issuer.Endorsed(one, text) {
				t.Fatalf("signature %q is good for what %q was made for", text, signature)
			}
		}
	})
}

func FuzzEndorsed(f *testing.F) {
	authority := root(f)
	good := endorse(f, authority, endorsement())
	f.Add("shop/root", int64(2), endorsement().Fingerprint, good)
	f.Add("", int64(-1), "\n", "====")
	f.Add("a\nb", int64(1), "00", base64.StdEncoding.EncodeToString([]byte{0x30, 0x80, 0, 0}))
	f.Fuzz(func(t *testing.T, name string, number int64, fingerprint, signature string) {
		subject := Endorsement{name, number, fingerprint}
		has := authority.issuer.Endorsed(subject, signature)
		// Who knows a good ECDSA signature knows the one with the negative second number too: it says the same.
		if has && (subject != endorsement() || signature != good && signature != mirrored(t, good)) {
			t.Errorf("%q is taken for an endorsement of %v", signature, subject)
		}
		if (Issuer{}).Endorsed(subject, signature) {
			t.Error("nobody endorsed it")
		}
	})
}

// mirrored turns (r, s) into (r, n-s).
func mirrored(t testing.TB, signature string) string {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(signature)
	wantNoError(t, err)
	var numbers struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(der, &numbers)
	wantNoError(t, err)
	numbers.S.Sub(elliptic.P256().Params().N, numbers.S)
	der, err = asn1.Marshal(numbers)
	wantNoError(t, err)
	return base64.StdEncoding.EncodeToString(der)
}

func TestAnEndorsementCanNotBeTakenForAnythingElseThatIsSigned(t *testing.T) {
	message, err := endorsement().message()
	wantNoError(t, err)
	const sequence = 0x30 // what certificates, requests and revocation lists begin with
	if message[0] == sequence || message[0] == ' ' /* TLS */ || !bytes.HasPrefix(message, []byte("mtls-operator.io ")) {
		t.Errorf("%q", message)
	}
	if want := "mtls-operator.io endorsement v1\nshop/root\n2\n" + endorsement().Fingerprint + "\n"; string(message) != want {
		t.Errorf("%q, want %q", message, want)
	}
	for _, keyType := range KeyTypes() {
		authority := rootOf(t, keyType)
		c := authority.issuer.certificate
		if authority.issuer.Endorsed(endorsement(), base64.StdEncoding.EncodeToString(c.Signature)) {
			t.Errorf("%s: the signature of a certificate endorses", keyType)
		}
		signature, err := base64.StdEncoding.DecodeString(endorse(t, authority, endorsement()))
		wantNoError(t, err)
		algorithm, err := algorithmOf(c.PublicKey)
		wantNoError(t, err)
		if c.CheckSignature(algorithm.signature, c.RawTBSCertificate, signature) == nil {
			t.Errorf("%s: an endorsement signs a certificate", keyType)
		}
	}
}
