package pki

import (
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
)

// subtreeKind is how the subtrees of one kind of name are compared with each other, as kind is for names: two of them
// have nothing in common unless one lies within the other. As there, permitted is the narrow reading and excluded is
// the wide one.
type subtreeKind struct {
	field               string
	of                  func(constraintSet) []string
	permitted, excluded func(inner, outer string) bool
}

var subtreeKinds = []subtreeKind{
	{"dnsDomains", func(s constraintSet) []string { return s.dns }, isUnder, isUnder},
	{"ipRanges", func(s constraintSet) []string { return texts(s.ips) }, isNetworkWithin, isNetworkWithin},
	{"emailAddresses", func(s constraintSet) []string { return s.emails }, isMailWithin, mayBeMailWithin},
	{"uriDomains", func(s constraintSet) []string { return s.uris }, isHost, isUnder},
}

// permitted wants every subtree that a CA shall permit to have something in common with what is permitted above, and
// not to be excluded there as a whole: nothing could be signed under it. A subtree may be wider than those above, and
// kinds of names that it doesn't list stay as they are above: verifiers take what all CAs of a chain permit (RFC 5280,
// section 6.1.4, step g).
func (e *fieldChecks) permitted(set constraintSet, above []*x509.Certificate) {
	for _, k := range subtreeKinds {
		for i, subtree := range k.of(set) {
			e.add(fmt.Sprintf("nameConstraints.permitted.%s[%d]", k.field, i), k.check(subtree, above))
		}
	}
}

// check takes what is left of a subtree under all CAs above. What is excluded comes last: it may be just the part that
// another CA permits.
func (k subtreeKind) check(subtree string, above []*x509.Certificate) string {
	left := []string{subtree}
	for _, authority := range above {
		permits := k.of(constraintsOf(authority).permitted)
		if len(permits) == 0 {
			continue
		}
		if left = k.common(left, permits); len(left) == 0 {
			return useless(subtree, "nothing in common with what is permitted by", authority, permits)
		}
	}
	for _, authority := range above {
		excludes := k.of(constraintsOf(authority).excluded)
		left = slices.DeleteFunc(left, func(one string) bool {
			return slices.ContainsFunc(excludes, func(outer string) bool { return k.excluded(one, outer) })
		})
		if len(left) == 0 {
			return useless(subtree, "only names that are excluded by", authority, excludes)
		}
	}
	return ""
}

// useless says why nothing can be signed under a subtree. The last CA may not be the only one that has a share in it.
func useless(subtree, why string, authority *x509.Certificate, limits []string) string {
	return fmt.Sprintf("%s has %s CA %s, which lists %s: remove it, or use another CA",
		quote(subtree), why, quote(SubjectText(authority)), quote(strings.Join(limits, ", ")))
}

// common returns the narrower one of each two subtrees of which one lies within the other.
func (k subtreeKind) common(some, others []string) []string {
	var both []string
	for _, one := range some {
		for _, other := range others {
			switch {
			case k.permitted(one, other):
				both = append(both, one)
			case k.permitted(other, one):
				both = append(both, other)
			}
		}
	}
	slices.Sort(both)
	return slices.Compact(both)
}

func isNetworkWithin(inner, outer string) bool {
	ip, network, err := net.ParseCIDR(inner)
	_, wide, errWide := net.ParseCIDR(outer)
	if err != nil || errWide != nil {
		return false
	}
	bits, total := network.Mask.Size()
	wideBits, wideTotal := wide.Mask.Size()
	return total == wideTotal && bits >= wideBits && wide.Contains(ip)
}

func isMailWithin(inner, outer string) bool {
	if strings.Contains(inner, "@") {
		return isMailbox(inner, outer)
	}
	return isHost(inner, outer) // never one mailbox, which has an "@"
}

func mayBeMailWithin(inner, outer string) bool {
	if strings.Contains(inner, "@") {
		return mayBeMailbox(inner, outer)
	}
	return isUnder(inner, outer)
}
