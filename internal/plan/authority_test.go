package plan_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func authority(spec v1alpha1.MTLSAuthoritySpec) *v1alpha1.MTLSAuthority {
	a := &v1alpha1.MTLSAuthority{Spec: spec}
	a.Namespace, a.Name = "pki", "my-ca"
	return a
}

func authorityWish(t testing.TB, spec v1alpha1.MTLSAuthoritySpec) plan.AuthorityWish {
	t.Helper()
	wish, err := plan.NewAuthorityWish(authority(spec))
	if err != nil {
		t.Fatalf("the wish of the test is invalid: %v", err)
	}
	return wish
}

// signing is an authority of 100 days whose one generation signs since noon.
func signing(t testing.TB, spec v1alpha1.MTLSAuthoritySpec) plan.AuthorityInput {
	t.Helper()
	wish := authorityWish(t, spec)
	return plan.AuthorityInput{
		Wish: wish,
		Generations: []plan.Generation{{
			Number: 1, SecretName: "my-ca-ca-1", Issuer: newCA(t, 100*day, noon).Issuer(), Activated: true, SpecHash: wish.Hash,
		}},
		Known: []int64{1},
	}
}

func wantVerdict(t testing.TB, what string, got plan.Verdict, reason, message string) {
	t.Helper()
	if got.Reason != reason || !strings.Contains(got.Message, message) || (got.Message == "") != (reason == "") {
		t.Errorf("%s is %s: %q; want %s with %q", what, got.Reason, got.Message, reason, message)
	}
}

func TestAnAuthorityWithoutASigner(t *testing.T) {
	own := v1alpha1.MTLSAuthoritySpec{}
	from := v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}}
	wrong := pki.FieldErrors{{Field: "duration", Message: "must be at least 1h"}}
	unusable := []plan.Generation{
		{Number: 1, SecretName: "my-ca-ca-1", Problem: "tls.key: is missing", Activated: true},
		{Number: 2, SecretName: "my-ca-ca-2"},
	}
	for sentence, c := range map[string]struct {
		spec            v1alpha1.MTLSAuthoritySpec
		edit            func(*plan.AuthorityInput)
		mint            int64
		reason, message string
	}{
		"makes one when it is new":   {own, func(*plan.AuthorityInput) {}, 1, "", ""},
		"imports one when it is new": {from, func(in *plan.AuthorityInput) { in.Imported.Fingerprint = "ab" }, 1, "", ""},
		"waits while its spec is bad": {
			own, func(in *plan.AuthorityInput) { in.WishErr = wrong }, 0, "InvalidSpec", "duration: must be at least 1h",
		},
		"waits for the Secret to import": {
			from, func(in *plan.AuthorityInput) { in.Imported.Missing = true }, 0,
			"ImportedSecretNotFound", `Secret "corp-ca" doesn't exist`,
		},
		"refuses what cannot be a CA": {
			from, func(in *plan.AuthorityInput) { in.Imported.Problem = "tls.crt: expired" }, 0,
			"ImportedInvalid", `spec.imported.secretName: Secret "corp-ca": tls.crt: expired`,
		},
		"makes no other one when its Secret is gone": {
			own, func(in *plan.AuthorityInput) { in.Known = []int64{1} }, 0, "CALost", "the Secret of generation 1 is gone. Restore it",
		},
		"makes no other one when its Secret is gone and there is one to import": {
			from, func(in *plan.AuthorityInput) { in.Known = []int64{1}; in.Imported.Fingerprint = "ab" }, 0, "CALost", "Restore it",
		},
		"tells of a lost CA before a bad spec": {
			own, func(in *plan.AuthorityInput) { in.Known, in.WishErr = []int64{3}, wrong }, 0, "CALost", "generation 3 is gone",
		},
		"makes no other one when it was restored without it": {
			own, func(in *plan.AuthorityInput) { in.Restored, in.FirstSecret = true, "my-ca-ca-1" }, 0, "CALost",
			`this object was restored from a backup, and its CA's Secret, "my-ca-ca-1"`,
		},
		"tells how to begin anew when it was restored without its CA": {
			own, func(in *plan.AuthorityInput) { in.Restored = true }, 0, "CALost",
			"annotations; or, to begin with a CA that nobody trusts yet, remove annotation mtls-operator.io/made-for",
		},
		"makes no other one when it was restored without it and there is one to import": {
			from, func(in *plan.AuthorityInput) { in.Restored, in.Imported.Fingerprint = true, "ab" }, 0, "CALost", "restored",
		},
		"tells that its CA wasn't restored before a bad spec": {
			own, func(in *plan.AuthorityInput) { in.Restored, in.WishErr = true, wrong }, 0, "CALost", "restored",
		},
		"tells what status knows of a lost CA before that it was restored": {
			own, func(in *plan.AuthorityInput) { in.Restored, in.Known = true, []int64{3} }, 0, "CALost", "generation 3 is gone",
		},
		"tells of every Secret it cannot use": {
			own, func(in *plan.AuthorityInput) { in.Generations, in.Known = unusable, nil }, 0, "CALost",
			`Secret "my-ca-ca-1": tls.key: is missing; Secret "my-ca-ca-2" lacks annotation mtls-operator.io/activated-at. Restore`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := plan.AuthorityInput{Wish: authorityWish(t, c.spec)}
			c.edit(&in)
			got := plan.Authority(in, noon)
			if got.Mint != c.mint || got.Signer != nil || !got.Next.IsZero() {
				t.Errorf("mint %d, signer %v, next %s; want %d, none, never", got.Mint, got.Signer, got.Next, c.mint)
			}
			wantVerdict(t, "not ready", got.NotReady, c.reason, c.message)
			wantVerdict(t, "stalled", got.Stalled, c.reason, c.message)
		})
	}
}

func TestAPairThatIsNotYetValidIsLookedAtWhenItIs(t *testing.T) {
	spec := v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}}
	end := noon.Add(100*day + time.Second) // of the signer, if there is one
	for sentence, c := range map[string]struct {
		pair           plan.ImportedPair
		unsigned, with time.Time // the next pass, without a signer and with one
	}{
		"when it begins":                {plan.ImportedPair{Problem: "x", Begins: noon.Add(day)}, noon.Add(day), noon.Add(day)},
		"not again when it has begun":   {plan.ImportedPair{Problem: "x", Begins: noon}, time.Time{}, end},
		"never when it has ended":       {plan.ImportedPair{Problem: "x"}, time.Time{}, end},
		"not before a signer ends":      {plan.ImportedPair{Problem: "x", Begins: end.Add(day)}, end.Add(day), end},
		"never when there is no Secret": {plan.ImportedPair{Missing: true}, time.Time{}, end},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := plan.AuthorityInput{Wish: authorityWish(t, spec), Imported: c.pair}
			if got := plan.Authority(in, noon); !got.Next.Equal(c.unsigned) || got.NotReady.Reason == "" {
				t.Errorf("without a signer the next pass is at %s, want %s; not ready: %v", got.Next, c.unsigned, got.NotReady)
			}
			in = signing(t, spec)
			in.Imported = c.pair
			if got := plan.Authority(in, noon); !got.Next.Equal(c.with) {
				t.Errorf("with a signer the next pass is at %s, want %s", got.Next, c.with)
			}
		})
	}
}

func madeFrom(specHash string) func(*plan.AuthorityInput) {
	return func(in *plan.AuthorityInput) { in.Generations[0].SpecHash = specHash }
}

func TestAnAuthorityGoesOnSigning(t *testing.T) {
	own := v1alpha1.MTLSAuthoritySpec{}
	from := v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}}
	for sentence, c := range map[string]struct {
		spec            v1alpha1.MTLSAuthoritySpec
		edit            func(*plan.AuthorityInput)
		reason, message string
	}{
		"when all is well": {own, func(*plan.AuthorityInput) {}, "", ""},
		"with a bad spec": {own, func(in *plan.AuthorityInput) {
			in.Wish, in.WishErr = plan.AuthorityWish{}, errors.New("duration: x")
		}, "InvalidSpec", "duration: x"},
		"with another spec": {own, func(in *plan.AuthorityInput) {
			in.Wish = authorityWish(t, v1alpha1.MTLSAuthoritySpec{CommonName: "x"})
		}, "RotationNeeded", "generation 1 goes on signing although the spec no longer describes it. To change the CA, make another"},
		"with a spec hash of another version":   {own, madeFrom("v2:ab"), "", ""},
		"without a spec hash":                   {own, madeFrom(""), "", ""},
		"with a spec hash of a version like v1": {own, madeFrom("v10:ab"), "", ""},
		"with another spec hash of its version": {own, madeFrom("v1:ab"), "RotationNeeded", "the spec no longer"},
		"with its CA to import": {from, func(in *plan.AuthorityInput) {
			in.Imported.Fingerprint = in.Generations[0].Issuer.Fingerprint()
		}, "", ""},
		"with another CA to import": {
			from, func(in *plan.AuthorityInput) { in.Imported.Fingerprint = "ab" },
			"RotationNeeded", `although Secret "corp-ca" holds another CA. `,
		},
		"with a broken CA to import": {
			from, func(in *plan.AuthorityInput) { in.Imported.Problem = "tls.key: is missing" },
			"RotationNeeded", `although Secret "corp-ca": tls.key: is missing`,
		},
		"with the Secret it was imported from gone": {from, func(in *plan.AuthorityInput) { in.Imported.Missing = true }, "", ""},
		"with its own Secret deleted": {
			own, func(in *plan.AuthorityInput) { in.Generations[0].Deleting = true },
			"RotationNeeded", `although Secret "my-ca-ca-1" was deleted and is held by its finalizer`,
		},
		"with all of that at once": {from, func(in *plan.AuthorityInput) {
			in.Generations[0].Deleting, in.Generations[0].SpecHash, in.Imported.Fingerprint = true, "v1:ab", "ab"
		}, "RotationNeeded", `describes it and Secret "corp-ca" holds another CA and Secret "my-ca-ca-1" was deleted`},
		"that was restored with its CA":      {own, func(in *plan.AuthorityInput) { in.Restored, in.Known = true, nil }, "", ""},
		"with nothing known of it in status": {own, func(in *plan.AuthorityInput) { in.Known = nil }, "", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := signing(t, c.spec)
			c.edit(&in)
			got := plan.Authority(in, noon)
			if got.Mint != 0 || got.Signer == nil || got.Signer.Number != 1 {
				t.Errorf("mint %d, signer %v; want 0 and generation 1", got.Mint, got.Signer)
			}
			wantVerdict(t, "not ready", got.NotReady, "", "")
			wantVerdict(t, "stalled", got.Stalled, c.reason, c.message)
			if want := noon.Add(100*day + time.Second); !got.Next.Equal(want) {
				t.Errorf("next is %s, want %s", got.Next, want)
			}
		})
	}
}

func TestTheLifeOfASigner(t *testing.T) {
	begin, end := noon.Add(-pki.Backdate), noon.Add(100*day)
	for sentence, c := range map[string]struct {
		now             time.Time
		reason, stalled string
		message         string
		next            time.Time
	}{
		"isn't there yet":          {begin.Add(-time.Second), "CANotYetValid", "", "begins at 2026-11-24T11:55:00Z", begin},
		"begins":                   {begin, "", "", "", end.Add(time.Second)},
		"lasts to its last moment": {end, "", "", "", end.Add(time.Second)},
		"is over":                  {end.Add(1), "CAExpired", "CAExpired", "ended at 2027-03-04T12:00:00Z", end.Add(time.Second)},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := plan.Authority(signing(t, v1alpha1.MTLSAuthoritySpec{}), c.now)
			wantVerdict(t, "not ready", got.NotReady, c.reason, c.message)
			wantVerdict(t, "stalled", got.Stalled, c.stalled, "")
			if got.Signer == nil || !got.Next.Equal(c.next) {
				t.Errorf("signer %v, next %s; want one, %s", got.Signer, got.Next, c.next)
			}
		})
	}
}

// An expired CA is what a person must act on first: it hides the wish for another one.
func TestAnEndedCAIsToldBeforeAWishForAnother(t *testing.T) {
	in := signing(t, v1alpha1.MTLSAuthoritySpec{})
	in.Generations[0].Deleting, in.WishErr = true, errors.New("duration: x")
	wantVerdict(t, "stalled", plan.Authority(in, noon.Add(101*day)).Stalled, "CAExpired", "generation 1 ended")
}

func TestTheSignerIs(t *testing.T) {
	good := func(number int64) plan.Generation { return plan.Generation{Number: number, Activated: true} }
	broken := plan.Generation{Number: 2, Activated: true, Problem: "x"}
	deleting := plan.Generation{Number: 2, Activated: true, Deleting: true}
	for sentence, c := range map[string]struct {
		generations []plan.Generation
		want        int64
	}{
		"none of none":                         {nil, 0},
		"the newest":                           {[]plan.Generation{good(1), good(3), good(2)}, 3},
		"not one that may not sign":            {[]plan.Generation{good(1), {Number: 2}}, 1},
		"not one that is broken":               {[]plan.Generation{good(1), broken}, 1},
		"one that was deleted, while it lasts": {[]plan.Generation{good(1), deleting}, 2},
		"none when none can":                   {[]plan.Generation{{Number: 1}, broken}, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, found := plan.Signer(c.generations)
			if got.Number != c.want || found != (c.want > 0) {
				t.Errorf("got %d, found %t; want %d", got.Number, found, c.want)
			}
		})
	}
}
