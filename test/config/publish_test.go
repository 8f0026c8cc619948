package config_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// publishing is an authority that writes its roots into a ConfigMap of each namespace, or one that doesn't.
func publishing(namespace string, yes bool) *v1alpha1.MTLSAuthority {
	authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{GenerateName: "ca-", Namespace: namespace}}
	publish(authority, yes)
	return authority
}

func publish(authority *v1alpha1.MTLSAuthority, yes bool) {
	authority.Spec.TrustBundle = nil
	if yes {
		authority.Spec.TrustBundle = &v1alpha1.TrustBundle{ConfigMap: &v1alpha1.TrustBundleConfigMap{
			Name: "roots", NamespaceSelector: &metav1.LabelSelector{},
		}}
	}
}

// mayNotPublish is what the policy says to a user who lacks the verb.
func mayNotPublish(user string) string {
	return "spec.trustBundle.configMap writes into other namespaces, and " + user + " lacks the verb publish on " +
		"mtlsauthorities.mtls-operator.io in the whole cluster: ask who administers it"
}

func TestOnlyWhoMayPublishWritesIntoOtherNamespaces(t *testing.T) {
	who := newTenants(t)
	eventually(t, "the policy", func() error {
		err := as(t, who.admin).Create(t.Context(), publishing(who.namespace, true), client.DryRunAll)
		return checkRefused(err, mayNotPublish(who.admin))
	})
	for sentence, test := range map[string]struct {
		user        string
		before, now bool
		refused     bool
	}{
		"an admin of a namespace can't begin to publish":                 {who.admin, false, true, true},
		"an admin of a namespace may have an authority that doesn't":     {who.admin, false, false, false},
		"an admin of a namespace may stop it":                            {who.admin, true, false, false},
		"an admin of a namespace may change another field of one":        {who.admin, true, true, false},
		"the administrator of the cluster may, who may do everything":    {"", false, true, false},
		"the operator may change the metadata of one, which it looks at": {operator, true, true, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			authority := publishing(who.namespace, test.before)
			create(t, authority)
			before := authority.DeepCopy()
			publish(authority, test.now)
			authority.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: "now"}
			err := as(t, test.user).Patch(t.Context(), authority, client.MergeFrom(before))
			if test.refused {
				err = checkRefused(err, mayNotPublish(test.user))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
