package plan

import (
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// Consumer is somebody to whom an authority's roots are delivered. All of them are expected: they follow from what people
// asked for, not from what is found, so that one that lost a label or was deleted isn't forgotten.
type Consumer struct {
	ConsumerRef

	// Born is when the object was made that the consumer exists for: the MTLSCertificate, the Namespace, the MTLSAuthority.
	// It is the API server's time and can't be changed by deleting the consumer itself.
	Born time.Time
	// Missing: it existed and doesn't now. Pods may still have what was in it.
	Missing bool
	// Holds are the live generations all of whose roots are in it.
	Holds []int64
	// BundleSince is when the set of roots in it changed last; zero when that isn't known.
	BundleSince time.Time
	// Current: its roots are exactly those that everybody is to have.
	Current bool
	// Problem says why it can't be written, empty when it can.
	Problem string
	// Reload tells how the programs that use it follow a change.
	Reload v1alpha1.Reload

	// Leaf is its certificate, nil when it has none of a live generation.
	Leaf *ConsumerLeaf
}

// ConsumerLeaf is the certificate of a consumer.
type ConsumerLeaf struct {
	// On is the generation that signed it.
	On int64
	// Ends is when it ends.
	Ends time.Time
	// Since is when its issuer changed last; zero when that isn't known.
	Since time.Time
	// Kept says why it isn't issued again, empty when it will be.
	Kept string
	// Refused says why the next generation can't issue it, empty when it can or there is none.
	Refused string
	// RenewBefore its end it is renewed.
	RenewBefore time.Duration
}

func (c *Consumer) holds(number int64) bool { return !c.Missing && slices.Contains(c.Holds, number) }

// bornAfter tells whether it never was without what began at a time. Times of the API server are whole seconds.
func (c *Consumer) bornAfter(at time.Time) bool { return !at.IsZero() && c.Born.After(at) }

// longestRenewBefore of the certificates of all consumers.
func longestRenewBefore(consumers []Consumer) time.Duration {
	var longest time.Duration
	for i := range consumers {
		if leaf := consumers[i].Leaf; leaf != nil {
			longest = max(longest, leaf.RenewBefore)
		}
	}
	return longest
}

// reissues are the consumers whose certificates are to be issued again by the signer: those that end first come first, and
// those that can't be issued again come last, so that they don't hold up the others.
func reissues(lineage Lineage, consumers []Consumer, now time.Time) []Consumer {
	signer, found := lineage.Signer()
	if !found {
		return nil
	}
	next, _ := lineage.Next() // one with the key of the signer, as when an imported CA was renewed, signed the same
	var all []Consumer
	for i := range consumers {
		leaf := consumers[i].Leaf
		if leaf != nil && leaf.On != signer.Number && leaf.On != next.Number && !now.After(leaf.Ends) {
			all = append(all, consumers[i])
		}
	}
	slices.SortStableFunc(all, func(a, b Consumer) int {
		if (a.Leaf.Kept == "") != (b.Leaf.Kept == "") {
			if a.Leaf.Kept == "" {
				return -1
			}
			return 1
		}
		return a.Leaf.Ends.Compare(b.Leaf.Ends)
	})
	return all
}
