package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// Generation is one CA of an authority, as observed of its Secret: the certificate, and the facts recorded with it. A time
// is zero for what didn't happen.
type Generation struct {
	Number     int64
	SecretName string
	SecretUID  types.UID
	Issuer     pki.Issuer
	// Problem says why the Secret cannot be used, empty when it can; Issuer has no meaning then.
	Problem string
	// Keyless: the key was lost, and the certificate is kept so that it stays trusted for as long as that is needed.
	Keyless bool
	// Made is when the Secret was created.
	Made time.Time
	// Activated is since when it may sign, Withdrawn since when it may never again, for the reason WithdrawnFor.
	Activated, Withdrawn time.Time
	WithdrawnFor         string
	// Cause for which it was made, and what identifies it.
	Cause, CauseID string
	// SpecHash of the spec it was made from.
	SpecHash string
	// SignedBy is the authority above that signed it, as namespace/name, empty for none. Its UID may not be known.
	SignedBy    string
	SignedByUID types.UID
	// RotateServed is the request for a rotation that it serves.
	RotateServed string
	// EndorsedBy is the endorsement by the generation before it.
	EndorsedBy string
	// Retired are the numbers of generations that are no more, as recorded with the signer at RetiredAt.
	Retired   Numbers
	RetiredAt time.Time
	// AbortedCauses of rotations that a person stopped, each as causeOf writes it.
	AbortedCauses []string
	// Deleting: somebody deleted the Secret; its finalizer holds it.
	Deleting bool
}

// maySign tells whether it was allowed to sign, and still is.
func (g Generation) maySign() bool {
	return g.Problem == "" && !g.Keyless && !g.Activated.IsZero() && g.Withdrawn.IsZero()
}

// waits tells whether it may sign later.
func (g Generation) waits() bool {
	return g.Problem == "" && !g.Keyless && g.Activated.IsZero() && g.Withdrawn.IsZero()
}

// stillborn: withdrawn before it signed anything. It can go at once.
func (g Generation) stillborn() bool { return !g.Withdrawn.IsZero() && g.Activated.IsZero() }

// served is the cause it was made for, in one text.
func (g Generation) served() string { return causeOf(g.Cause, g.CauseID) }

func (g Generation) end() time.Time { return g.Issuer.Validity().NotAfter }

// life from the time it was made on.
func (g Generation) life() time.Duration {
	validity := g.Issuer.Validity()
	return validity.Life() - min(pki.Backdate, validity.Life()/2)
}

func causeOf(cause, id string) string { return cause + ":" + id }

// Numbers is a set of generation numbers. In one text it stays short however many there are, since most follow each other:
// "<=5,7,9-12".
type Numbers struct {
	spans []span // sorted, with gaps between them
}

// span is the numbers from one to another, both included.
type span struct{ from, to int64 }

// NewNumbers makes a set of these numbers.
func NewNumbers(numbers ...int64) Numbers { return Numbers{}.With(numbers...) }

// ParseNumbers reads what String writes, or numbers separated by commas. What isn't a number is left out: a person may
// have written it.
func ParseNumbers(text string) Numbers {
	var spans []span
	for part := range strings.SplitSeq(text, ",") {
		if one, ok := parseSpan(strings.TrimSpace(part)); ok {
			spans = append(spans, one)
		}
	}
	return numbersOf(spans)
}

// parseSpan reads one of "7", "<=5" and "9-12".
func parseSpan(text string) (span, bool) {
	digits, upTo := strings.CutPrefix(text, "<=")
	first, last, isRange := strings.Cut(digits, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	switch {
	case err != nil || from < 1 || upTo && isRange:
		return span{}, false
	case upTo:
		return span{1, from}, true
	case !isRange:
		return span{from, from}, true
	}
	to, err := strconv.ParseInt(last, 10, 64)
	return span{from, to}, err == nil && from <= to
}

// numbersOf is the set of what is in any of the spans, which may be in any order and overlap.
func numbersOf(spans []span) Numbers {
	sorted := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var joined []span
	for _, one := range sorted {
		if last := len(joined) - 1; last >= 0 && one.from-1 <= joined[last].to {
			joined[last].to = max(joined[last].to, one.to)
			continue
		}
		joined = append(joined, one)
	}
	return Numbers{joined}
}

// Has tells whether the number is in the set.
func (n Numbers) Has(number int64) bool {
	return slices.ContainsFunc(n.spans, func(s span) bool { return s.from <= number && number <= s.to })
}

// With returns the set with these numbers too. What is no number of a generation is left out.
func (n Numbers) With(numbers ...int64) Numbers {
	spans := slices.Clone(n.spans)
	for _, number := range numbers {
		if number > 0 {
			spans = append(spans, span{number, number})
		}
	}
	return numbersOf(spans)
}

// Union returns the set of what is in either.
func (n Numbers) Union(other Numbers) Numbers { return numbersOf(slices.Concat(n.spans, other.spans)) }

// Max is the highest number of the set, 0 for none.
func (n Numbers) Max() int64 {
	if n.Empty() {
		return 0
	}
	return n.spans[len(n.spans)-1].to
}

// Empty tells whether there is no number.
func (n Numbers) Empty() bool { return len(n.spans) == 0 }

// String writes the set in its short form, empty for none.
func (n Numbers) String() string {
	parts := make([]string, len(n.spans))
	for i, s := range n.spans {
		switch s.from {
		case 1:
			parts[i] = fmt.Sprintf("<=%d", s.to)
		case s.to:
			parts[i] = strconv.FormatInt(s.to, 10)
		default:
			parts[i] = fmt.Sprintf("%d-%d", s.from, s.to)
		}
	}
	return strings.Join(parts, ",")
}
