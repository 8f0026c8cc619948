package pki

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// chainSpecs are CAs of which each may or may not be allowed below the one before it, the root first.
func chainSpecs() *rapid.Generator[[]AuthorityFields] {
	hosts := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "x.a", "y.a", "x.b"}), 0, 2, rapid.ID[string])
	ranges := rapid.SliceOfNDistinct(
		rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "::/0"}), 0, 2, rapid.ID[string])
	set := rapid.Custom(func(t *rapid.T) NameConstraintSet {
		return NameConstraintSet{DNSDomains: hosts.Draw(t, "dns"), IPRanges: ranges.Draw(t, "ips")}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) AuthorityFields {
		return AuthorityFields{
			Subject: Subject{CommonName: rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "commonName")},
			KeyType: KeyECDSAP256, Duration: year, MaxPathLength: rapid.IntRange(0, 3).Draw(t, "maxPathLength"),
			NameConstraints: NameConstraints{set.Draw(t, "permitted"), set.Draw(t, "excluded")},
		}
	}), 2, 4)
}

// Whatever is asked for, an intermediate is refused by field, or signs what Go's verifier then accepts, and no less.
func TestChainsOfIntermediates(t *testing.T) {
	var made, refused, signedLeaves, refusedLeaves int
	key := keyFor(t, "leaf", KeyECDSAP256).Public()
	names := rapid.Custom(func(t *rapid.T) Names {
		hosts := rapid.SampledFrom([]string{"a", "b", "x.a", "y.a", "x.b", "q.x.a", "c"})
		ips := rapid.SampledFrom([]string{"10.0.0.1", "10.1.0.1", "fd00::1", "fe80::1", "11.0.0.1"})
		return Names{
			DNSNames:    rapid.SliceOfNDistinct(hosts, 1, 2, rapid.ID[string]).Draw(t, "dns"),
			IPAddresses: rapid.SliceOfNDistinct(ips, 0, 1, rapid.ID[string]).Draw(t, "ips"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		authority := growChain(t, chainSpecs().Draw(t, "chain"), &made, &refused)
		request, err := NewRequest(names.Draw(t, "names"), bothUsages)
		if err != nil {
			t.Fatal(err)
		}
		issuer := authority.Issuer()
		validity := issuer.LeafValidity(noon, time.Hour)
		_, err = authority.Sign(request, key, validity, issuer.Bundle())
		var wrong *NameConstraintError
		switch accepted := goAccepts(t, authority, request, validity); {
		case err != nil && !errors.As(err, &wrong):
			t.Fatalf("it wasn't noticed before signing: %v", err)
		case (err == nil) != accepted:
			t.Fatalf("signing says %v, Go accepts it: %t", err, accepted)
		case accepted:
			signedLeaves++
		default:
			refusedLeaves++
		}
		if (issuer.Allows(request) == nil) != (err == nil) {
			t.Fatal("the dry run says something else")
		}
	})
	if min(made, refused, signedLeaves, refusedLeaves) == 0 {
		t.Errorf("%d CAs, %d refused, %d leaves, %d refused", made, refused, signedLeaves, refusedLeaves)
	}
}

// growChain makes a root and then one CA below the other for as long as it is allowed.
func growChain(t *rapid.T, specs []AuthorityFields, made, refused *int) *Authority {
	var authority *Authority
	for at, fields := range specs {
		request, err := NewAuthorityRequest(fields)
		if err != nil {
			t.Fatal(err)
		}
		if at == 0 {
			if authority, err = SelfSign(request, noon); err != nil {
				t.Fatal(err)
			}
			continue
		}
		child, err := authority.SignAuthority(request, noon)
		if (authority.issuer.AllowsAuthority(request) == nil) != (err == nil) {
			t.Fatalf("the dry run doesn't say %v", err)
		}
		if err != nil {
			wantJustified(t, err, specs[:at+1])
			*refused++
			return authority
		}
		wantRoom(t, specs[:at+1])
		*made++
		authority = child
	}
	return authority
}

// wantJustified compares a refusal with what was asked for, the root first and the refused one last.
func wantJustified(t *rapid.T, err error, specs []AuthorityFields) {
	var wrong FieldErrors
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	last := specs[len(specs)-1]
	for _, one := range wrong {
		switch {
		case one.Field == "maxPathLength" && !hasRoom(specs):
		case one.Field == "commonName" && slices.ContainsFunc(specs[:len(specs)-1], func(f AuthorityFields) bool {
			return f.Subject.CommonName == last.Subject.CommonName
		}):
		case strings.HasPrefix(one.Field, "nameConstraints.permitted."): // the test above is about these
		default:
			t.Fatalf("%s, but %v", one, specs)
		}
	}
}

func wantRoom(t *rapid.T, specs []AuthorityFields) {
	if !hasRoom(specs) {
		t.Fatalf("signed, though a path length leaves no room: %v", specs)
	}
}

func hasRoom(specs []AuthorityFields) bool {
	last := len(specs) - 1
	for at, f := range specs[:last] {
		if f.MaxPathLength < specs[last].MaxPathLength+last-at {
			return false
		}
	}
	return true
}

// goAccepts signs the leaf without looking at anything, and lets Go verify it.
func goAccepts(t *rapid.T, authority *Authority, request Request, validity Validity) bool {
	public := authority.key().Public() // any key
	template, err := leafTemplate(request, public, validity)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := sign(template, authority.issuer.certificate, public, authority.key())
	if err != nil {
		t.Fatal(err)
	}
	_, err = verify(leaf, authority.issuer, authority.issuer.roots, x509.ExtKeyUsageServerAuth)
	return err == nil
}
