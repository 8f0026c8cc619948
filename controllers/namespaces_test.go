package controllers

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// With rights in some namespaces only, the labels of namespaces can't be seen: nobody is to wait for them to count.
func TestAnAuthorityTellsThatLabelsOfNamespacesAreNotSeen(t *testing.T) {
	w := newWorld(t)
	for name, row := range map[string]struct {
		allowed    v1alpha1.AllowedNamespaces
		namespaces []string
		told       bool
	}{
		"selects": {bySelector(map[string]string{"team": "shop"}), []string{w.namespace}, true},
		"all":     {bySelector(nil), []string{w.namespace}, false},
		"shared":  {v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}, []string{w.namespace}, false},
		"seen":    {bySelector(map[string]string{"team": "shop"}), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.authorities.options.Namespaces = row.namespaces
			authority := w.authority(name, func(a *v1alpha1.MTLSAuthority) { a.Spec.AllowedNamespaces = &row.allowed })
			message := authority.Status.Conditions[0].Message
			if told := strings.Contains(message, "cannot see the labels of namespaces"); told != row.told {
				t.Errorf("the message is %q", message)
			}
		})
	}
}

func bySelector(labels map[string]string) v1alpha1.AllowedNamespaces {
	return v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: labels}}
}
