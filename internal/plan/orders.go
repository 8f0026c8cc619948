package plan

import (
	"strconv"
	"strings"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// Orders are what people ask for by annotations. All but Rotate name generations.
type Orders struct {
	// Rotate is an opaque request, empty for none.
	Rotate                             string
	Abort, Compromised, IgnoreBlockers Numbers
}

// NewOrders reads an authority's annotations.
func NewOrders(annotations map[string]string) Orders {
	return Orders{
		Rotate:         annotations[v1alpha1.RotateRequestedAtAnnotation],
		Abort:          named(annotations[v1alpha1.AbortAnnotation]),
		Compromised:    named(annotations[v1alpha1.CompromisedAnnotation]),
		IgnoreBlockers: named(annotations[v1alpha1.IgnoreBlockersAnnotation]),
	}
}

// named are the generations that a person named, one by one: "<=99" would be about those to come as well.
func named(text string) Numbers {
	var numbers []int64
	for part := range strings.SplitSeq(text, ",") {
		if number, err := strconv.ParseInt(strings.TrimSpace(part), 10, 64); err == nil {
			numbers = append(numbers, number)
		}
	}
	return NewNumbers(numbers...)
}
