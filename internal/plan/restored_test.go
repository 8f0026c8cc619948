package plan_test

import (
	"testing"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func TestAnAuthorityIsRestored(t *testing.T) {
	for sentence, c := range map[string]struct {
		mark string
		want bool
	}{
		"when it is marked under its name as another object": {"pki/my-ca/uid-1", true},
		"when the mark's end was lost":                       {"pki/my-ca/", true},
		"but not when it has no mark":                        {"", false},
		"but not when the mark is its own":                   {"pki/my-ca/uid-2", false},
		"but not when it is a copy with another name":        {"pki/other/uid-1", false},
		"but not when its name begins the other's":           {"pki/my-ca-2/uid-1", false},
		"but not when it is a copy in another namespace":     {"other/my-ca/uid-1", false},
		"but not when the mark is no mark":                   {"yes", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			a := authority(v1alpha1.MTLSAuthoritySpec{})
			a.UID = "uid-2"
			if c.mark != "" {
				a.Annotations = map[string]string{"mtls-operator.io/made-for": c.mark}
			}
			if got := plan.Restored(a); got != c.want {
				t.Errorf("with %q: %t, want %t", c.mark, got, c.want)
			}
		})
	}
}

func TestTheMarkOfAnAuthorityIsItsOwn(t *testing.T) {
	a := authority(v1alpha1.MTLSAuthoritySpec{})
	a.UID = "uid-2"
	if got := plan.MadeFor(a); got != "pki/my-ca/uid-2" {
		t.Errorf("it is %q", got)
	}
}
