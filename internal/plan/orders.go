package plan

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// Orders are what people ask for by annotations. All but Rotate name what they are about.
type Orders struct {
	// Rotate is an opaque request, empty for none.
	Rotate string
	// Abort, Compromised and IgnoreBlockers are about generations.
	Abort, Compromised, IgnoreBlockers Numbers
	// AdoptRoots are SHA-256 fingerprints, in hex.
	AdoptRoots []string
	// Unread tells of a value that can't be read, empty when all can.
	Unread string
}

// NewOrders reads an authority's annotations.
func NewOrders(annotations map[string]string) Orders {
	orders := Orders{Rotate: annotations[v1alpha1.RotateRequestedAtAnnotation]}
	for _, about := range []struct {
		annotation string
		numbers    *Numbers
	}{
		{v1alpha1.AbortAnnotation, &orders.Abort},
		{v1alpha1.CompromisedAnnotation, &orders.Compromised},
		{v1alpha1.IgnoreBlockersAnnotation, &orders.IgnoreBlockers},
	} {
		*about.numbers = orders.numbers(about.annotation, annotations[about.annotation])
	}
	for _, part := range listed(annotations[v1alpha1.AdoptRootAnnotation]) {
		fingerprint := strings.ToLower(strings.ReplaceAll(part, ":", "")) // as openssl writes it
		if bytes, err := hex.DecodeString(fingerprint); err != nil || len(bytes) != 32 {
			orders.misread(v1alpha1.AdoptRootAnnotation, part, "the SHA-256 fingerprint of a root in hex")
			continue
		}
		orders.AdoptRoots = append(orders.AdoptRoots, fingerprint)
	}
	return orders
}

// numbers are the generations that a person named, one by one: "<=99" would be about those to come as well.
func (o *Orders) numbers(annotation, text string) Numbers {
	var numbers []int64
	for _, part := range listed(text) {
		number, err := strconv.ParseInt(part, 10, 64)
		if err != nil || number < 1 {
			o.misread(annotation, part, "the numbers of CAs as in status.generations, such as 1,2")
			continue
		}
		numbers = append(numbers, number)
	}
	return NewNumbers(numbers...)
}

func (o *Orders) misread(annotation, part, instead string) {
	if o.Unread == "" {
		o.Unread = fmt.Sprintf("annotation %s: %.40q says nothing: write %s", annotation, part, instead)
	}
}

func listed(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// unserved tells of what a person asked for and won't get, empty when there is nothing.
func (r *rotation) unserved() Verdict {
	newest := max(r.Highest, r.Lineage.Newest())
	served := r.signer.RotateServed == r.Orders.Rotate
	var message string
	switch {
	case r.Orders.Unread != "":
		message = r.Orders.Unread
	case r.Orders.Compromised.Max() > newest:
		message = fmt.Sprintf("annotation %s: there is no CA %d, the newest is %d", v1alpha1.CompromisedAnnotation,
			r.Orders.Compromised.Max(), newest)
	case r.Orders.Abort.Max() > newest:
		message = fmt.Sprintf("annotation %s: there is no CA %d, the newest is %d", v1alpha1.AbortAnnotation,
			r.Orders.Abort.Max(), newest)
	case r.signer.Number > 0 && r.Orders.Abort.Has(r.signer.Number) && !r.canGoBack():
		message = fmt.Sprintf("annotation %s: CA %d signs, and there is no other to go back to, or it ends too soon: remove the "+
			"annotation; another CA is made when you set %s", v1alpha1.AbortAnnotation, r.signer.Number,
			v1alpha1.RotateRequestedAtAnnotation)
	case r.signer.Number > 0 && r.Orders.Rotate != "" && r.Wish.ImportedSecret != "" && !served:
		message = fmt.Sprintf("annotation %s: an imported CA isn't made here: put another pair into Secret %q, and remove the "+
			"annotation", v1alpha1.RotateRequestedAtAnnotation, r.Wish.ImportedSecret)
	default:
		return Verdict{}
	}
	return Verdict{v1alpha1.ReasonInvalidAnnotation, message}
}
