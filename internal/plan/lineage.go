package plan

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Lineage is what the generations of an authority are to each other. It follows from the facts recorded with them: no
// stage is stored anywhere.
type Lineage struct {
	// Live are those whose roots everybody is to trust, oldest first.
	Live []Generation
	// Dead are those that were retired, or withdrawn before they signed: they are trusted by nobody and wait to be deleted.
	Dead []Generation
	// Refused are those that cannot be used, each with its Problem.
	Refused []Generation
	// Retired are the numbers of all generations that are no more.
	Retired Numbers

	signer, next int // places in Live, -1 for none
}

// NewLineage sorts out the generations of an authority.
func NewLineage(generations []Generation) Lineage {
	lineage := Lineage{signer: -1, next: -1}
	sorted := slices.SortedFunc(slices.Values(generations), func(a, b Generation) int { return cmp.Compare(a.Number, b.Number) })
	for _, generation := range sorted {
		if generation.Problem == "" && !generation.Keyless { // one without a key never signed anything to record it
			lineage.Retired = lineage.Retired.Union(generation.Retired)
		}
	}
	for _, generation := range sorted {
		switch {
		case generation.Problem != "":
			lineage.Refused = append(lineage.Refused, generation)
		case lineage.Retired.Has(generation.Number) || generation.stillborn():
			lineage.Dead = append(lineage.Dead, generation)
		default:
			lineage.Live = append(lineage.Live, generation)
		}
	}
	for i, generation := range lineage.Live {
		switch {
		case generation.maySign():
			lineage.signer, lineage.next = i, -1
		case generation.waits():
			lineage.next = i
		}
	}
	return lineage
}

// Signer is the generation that signs: the newest that may. False when there is none.
func (l Lineage) Signer() (Generation, bool) { return l.at(l.signer) }

// Next is the generation that is to sign once everybody trusts it. False when there is none.
func (l Lineage) Next() (Generation, bool) { return l.at(l.next) }

func (l Lineage) at(i int) (Generation, bool) {
	if i < 0 || i >= len(l.Live) {
		return Generation{}, false
	}
	return l.Live[i], true
}

// Beside are the live generations but one.
func (l Lineage) Beside(number int64) []Generation {
	return filter(l.Live, func(g Generation) bool { return g.Number != number })
}

// Retiring are the live generations that are neither signer nor next.
func (l Lineage) Retiring() []Generation {
	var all []Generation
	for i, generation := range l.Live {
		if i != l.signer && i != l.next {
			all = append(all, generation)
		}
	}
	return all
}

// Find returns the live generation with a number.
func (l Lineage) Find(number int64) (Generation, bool) {
	return l.at(slices.IndexFunc(l.Live, func(g Generation) bool { return g.Number == number }))
}

// Has tells whether a generation is accounted for: it is there, of use or not, or was retired.
func (l Lineage) Has(number int64) bool {
	return l.Retired.Has(number) || slices.ContainsFunc(slices.Concat(l.Live, l.Dead, l.Refused), func(g Generation) bool {
		return g.Number == number
	})
}

// Signed is the highest number of a generation that was ever allowed to sign, as far as generations tell.
func (l Lineage) Signed() int64 {
	signed := l.Retired.Max()
	for _, generation := range slices.Concat(l.Live, l.Dead) {
		if !generation.Activated.IsZero() {
			signed = max(signed, generation.Number)
		}
	}
	return signed
}

// Newest is the highest number there ever was, as far as generations tell that can be believed.
func (l Lineage) Newest() int64 {
	newest := l.Retired.Max()
	for _, generation := range slices.Concat(l.Live, l.Dead) {
		newest = max(newest, generation.Number)
	}
	return newest
}

// MaxNumber is the highest number of a generation. No authority comes near it: what is above was made up by somebody, and
// might be too large to add to.
const MaxNumber int64 = 1 << 53

// Free is the lowest number above another that no Secret has. Whoever may create Secrets can't make the numbers run out by
// one with the highest there is. It is never above MaxNumber.
func (l Lineage) Free(above int64) int64 {
	number := min(above, MaxNumber-1) + 1
	for number < MaxNumber && slices.ContainsFunc(l.Refused, func(g Generation) bool { return g.Number == number }) {
		number++
	}
	return number
}

// Bundle is the roots that everybody is to trust: those of all live generations.
func (l Lineage) Bundle() pki.Bundle {
	var bundle pki.Bundle
	for _, generation := range l.Live {
		bundle = bundle.Union(generation.Issuer.Bundle())
	}
	return bundle
}

// In are the numbers of the live generations all of whose roots are in a bundle in PEM.
func (l Lineage) In(bundle []byte) []int64 {
	var all []int64
	for _, generation := range l.Live {
		if generation.Issuer.Bundle().In(bundle) {
			all = append(all, generation.Number)
		}
	}
	return all
}

// BundleBeside is the roots of those live generations that another authority than this one signed, or none. Those that it
// did sign have its roots, which it knows better: theirs are as old as they are. One that was made anew under the same name
// is another one.
func (l Lineage) BundleBeside(authority metav1.Object) pki.Bundle {
	name := authority.GetNamespace() + "/" + authority.GetName()
	return Lineage{Live: filter(l.Live, func(g Generation) bool {
		return g.SignedBy != name || g.SignedByUID != "" && !IsOrWas(authority, g.SignedByUID)
	})}.Bundle()
}

// On is the number of the live generation that a certificate was signed by: of two with the same key, as when an imported
// CA was renewed, the newer. One that will never sign again counts only when it is the only one: nothing that is issued by
// another with its key could be told from what it signed. It is 0 for none.
func (l Lineage) On(leaf *x509.Certificate) int64 {
	var on int64
	for _, generation := range slices.Backward(l.Live) {
		switch {
		case !generation.Issuer.Issued(leaf):
		case generation.Withdrawn.IsZero() && !generation.Keyless:
			return generation.Number
		case on == 0:
			on = generation.Number
		}
	}
	return on
}

// Accept refuses, by setting Problem, the generations that others may have planted: whoever may create Secrets can make one
// that looks like a CA of the authority, also with a certificate of it, which anybody has. The authority's are those that
// status tells of, known by number and fingerprint; the others must be endorsed by one of these. When status tells of none the
// oldest one begins: of an authority that was restored nothing else can be told.
func Accept(authority string, generations []Generation, known map[int64]string) []Generation {
	all := slices.SortedFunc(slices.Values(generations), func(a, b Generation) int { return cmp.Compare(a.Number, b.Number) })
	isKnown := func(g Generation) bool { return g.Problem == "" && known[g.Number] == g.Issuer.Fingerprint() }
	var accepted []Generation
	for i := range all {
		generation := &all[i]
		if generation.Problem != "" {
			continue
		}
		begins := len(known) == 0 && len(accepted) == 0 && !generation.Activated.IsZero()
		if !begins && !isKnown(*generation) && !generation.endorsed(authority, accepted) {
			generation.Problem = fmt.Sprintf("no earlier CA of MTLSAuthority %q endorsed it", authority)
			continue
		}
		accepted = append(accepted, *generation)
	}
	return all
}

func filter(all []Generation, keep func(Generation) bool) []Generation {
	return slices.DeleteFunc(slices.Clone(all), func(g Generation) bool { return !keep(g) })
}

// endorsed tells whether one of the others, older than the generation, signed that it is the authority's.
func (g Generation) endorsed(authority string, others []Generation) bool {
	endorsement := pki.Endorsement{Authority: authority, Number: g.Number, Fingerprint: g.Issuer.Fingerprint()}
	return slices.ContainsFunc(others, func(other Generation) bool { return other.Issuer.Endorsed(endorsement, g.EndorsedBy) })
}
