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
	wish, err := plan.NewAuthorityWish(authority(spec), leastDelay)
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
		RotationInput: plan.RotationInput{Wish: wish, Lineage: plan.NewLineage([]plan.Generation{{
			Number: 1, SecretName: "my-ca-ca-1", SecretUID: "secret-1", Issuer: newCA(t, 100*day, noon).Issuer(), Made: noon,
			Activated: noon, Cause: v1alpha1.CauseInitial, SpecHash: wish.Hash,
		}})},
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
	unusable := plan.NewLineage([]plan.Generation{
		{Number: 2, SecretName: "my-ca-ca-2", Problem: "no earlier CA endorsed it"},
		{Number: 1, SecretName: "my-ca-ca-1", Problem: "tls.crt: is missing", Activated: noon},
	})
	other := newCA(t, 10*year, noon).Issuer()
	for sentence, c := range map[string]struct {
		spec            v1alpha1.MTLSAuthoritySpec
		edit            func(*plan.AuthorityInput)
		mint            int64
		reason, message string
	}{
		"makes one when it is new":   {own, func(*plan.AuthorityInput) {}, 1, "", ""},
		"imports one when it is new": {from, func(in *plan.AuthorityInput) { in.Imported.Issuer = other }, 1, "", ""},
		"uses no number twice":       {own, func(in *plan.AuthorityInput) { in.Highest = 3 }, 4, "", ""},
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
		"makes no other one when it was restored without it": {
			own, func(in *plan.AuthorityInput) { in.Restored, in.FirstSecret = true, "my-ca-ca-1" }, 0, "CALost",
			`this object was restored from a backup, and its CA's Secret, "my-ca-ca-1"`,
		},
		"tells how to begin anew when it was restored without its CA": {
			own, func(in *plan.AuthorityInput) { in.Restored = true }, 0, "CALost",
			"annotations; or, to begin with a CA that nobody trusts yet, remove annotation mtls-operator.io/made-for",
		},
		"makes no other one when it was restored without it and there is one to import": {
			from, func(in *plan.AuthorityInput) { in.Restored, in.Imported.Issuer = true, other }, 0, "CALost", "restored",
		},
		"tells that its CA wasn't restored before a bad spec": {
			own, func(in *plan.AuthorityInput) { in.Restored, in.WishErr = true, wrong }, 0, "CALost", "restored",
		},
		"makes no other one when status knows of it and it was restored without it": {
			own, func(in *plan.AuthorityInput) { in.Restored, in.Known = true, []int64{3} }, 0, "CALost", "restored",
		},
		"tells of every Secret it cannot use": {
			own, func(in *plan.AuthorityInput) { in.Lineage = unusable }, 0, "CALost",
			`Secret "my-ca-ca-1": tls.crt: is missing; Secret "my-ca-ca-2": no earlier CA endorsed it. Restore`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := plan.AuthorityInput{RotationInput: plan.RotationInput{Wish: authorityWish(t, c.spec)}}
			c.edit(&in)
			got := plan.Authority(in, noon)
			if got.Step.Number != c.mint || got.Signer != nil || !got.Next.IsZero() {
				t.Errorf("step %+v, signer %v, next %s; want to mint %d, none, never", got.Step, got.Signer, got.Next, c.mint)
			}
			if c.mint > 0 && (got.Step.Kind != plan.StepMint || got.Step.Cause != v1alpha1.CauseInitial) {
				t.Errorf("got %+v, want the initial generation", got.Step)
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
			in := plan.AuthorityInput{RotationInput: plan.RotationInput{Wish: authorityWish(t, spec), Imported: c.pair}}
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
	return func(in *plan.AuthorityInput) { in.Lineage.Live[0].SpecHash = specHash }
}

func TestAnAuthorityGoesOnSigning(t *testing.T) {
	own := v1alpha1.MTLSAuthoritySpec{}
	from := v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}}
	end := noon.Add(100*day + time.Second)
	due := noon.Add(1600 * time.Hour) // two thirds of 100 days
	for sentence, c := range map[string]struct {
		spec            v1alpha1.MTLSAuthoritySpec
		edit            func(*plan.AuthorityInput)
		next            time.Time
		reason, message string
	}{
		"when all is well": {own, func(*plan.AuthorityInput) {}, due, "", ""},
		"with a bad spec": {own, func(in *plan.AuthorityInput) {
			in.Wish, in.WishErr = plan.AuthorityWish{}, errors.New("duration: x")
		}, due, "InvalidSpec", "duration: x"},
		"with a spec hash of another version":   {own, madeFrom("v2:ab"), due, "", ""},
		"without a spec hash":                   {own, madeFrom(""), due, "", ""},
		"with a spec hash of a version like v1": {own, madeFrom("v10:ab"), due, "", ""},
		"with its CA to import": {from, func(in *plan.AuthorityInput) {
			in.Imported.Issuer = in.Lineage.Live[0].Issuer
		}, end, "", ""},
		"with a broken CA to import": {
			from, func(in *plan.AuthorityInput) { in.Imported.Problem = "tls.key: is missing" }, end,
			"ImportedInvalid", `spec.imported.secretName: Secret "corp-ca": tls.key: is missing. The CA that was imported goes on`,
		},
		"with the Secret it was imported from gone": {
			from, func(in *plan.AuthorityInput) { in.Imported.Missing = true }, end, "", "",
		},
		"that was restored with its CA": {
			own, func(in *plan.AuthorityInput) { in.Restored, in.Known = true, nil }, due, "", "",
		},
		"with nothing known of it in status":     {own, func(in *plan.AuthorityInput) { in.Known = nil }, due, "", ""},
		"while another is made for another spec": {own, madeFrom("v1:ab"), due, "", ""},
		"while another is made for its Secret": {
			own, func(in *plan.AuthorityInput) { in.Lineage.Live[0].Deleting = true }, due, "", "",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := signing(t, c.spec)
			c.edit(&in)
			got := plan.Authority(in, noon)
			if got.Signer == nil || got.Signer.Number != 1 {
				t.Errorf("the signer is %v, want generation 1", got.Signer)
			}
			wantVerdict(t, "not ready", got.NotReady, "", "")
			wantVerdict(t, "stalled", got.Stalled, c.reason, c.message)
			if !got.Next.Equal(c.next) {
				t.Errorf("next is %s, want %s", got.Next, c.next)
			}
		})
	}
}

func TestTheLifeOfASigner(t *testing.T) {
	begin, end := noon.Add(-pki.Backdate), noon.Add(100*day)
	due := noon.Add(1600 * time.Hour)
	for sentence, c := range map[string]struct {
		now             time.Time
		reason, message string
		mint            bool
		next            time.Time
	}{
		"isn't there yet": {
			begin.Add(-time.Second), "CANotYetValid", "begins at 2026-11-24T11:55:00Z", false, begin,
		},
		"begins":                            {begin, "", "", false, due},
		"is long enough until it is due":    {due.Add(-1), "", "", false, due},
		"is due":                            {due, "", "", true, end.Add(time.Second)},
		"lasts to its last moment":          {end, "", "", true, end.Add(time.Second)},
		"is over, but it is still replaced": {end.Add(1), "CAExpired", "ended at 2027-03-04T12:00:00Z", true, end.Add(time.Second)},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := plan.Authority(signing(t, v1alpha1.MTLSAuthoritySpec{}), c.now)
			wantVerdict(t, "not ready", got.NotReady, c.reason, c.message)
			wantVerdict(t, "stalled", got.Stalled, "", "")
			if (got.Step.Kind == plan.StepMint) != c.mint {
				t.Errorf("step is %+v, want one to mint: %t", got.Step, c.mint)
			}
			if got.Signer == nil || !got.Next.Equal(c.next) {
				t.Errorf("signer %v, next %s; want one, %s", got.Signer, got.Next, c.next)
			}
		})
	}
}

// An imported CA that ended is what a person must act on.
func TestAnEndedImportedCAIsTold(t *testing.T) {
	in := signing(t, v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}})
	in.Imported.Issuer = in.Lineage.Live[0].Issuer
	got := plan.Authority(in, noon.Add(101*day))
	wantVerdict(t, "stalled", got.Stalled, "CAExpired", "generation 1 ended")
	if got.Step.Kind != "" || !got.Next.IsZero() {
		t.Errorf("step %+v, next %s; want none, never", got.Step, got.Next)
	}
}
