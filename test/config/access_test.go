package config_test

import (
	"fmt"
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// parts returns the names of the ClusterRoles that make up a built-in one, found as the controller finds them that
// copies their rules in a cluster.
func parts(name string, all []rbacv1.ClusterRole) []string {
	var names []string
	for _, role := range all {
		if role.Name != name {
			continue
		}
		if role.AggregationRule == nil {
			return []string{name}
		}
		for _, selector := range role.AggregationRule.ClusterRoleSelectors {
			for _, part := range all {
				if labels.SelectorFromSet(selector.MatchLabels).Matches(labels.Set(part.Labels)) {
					names = append(names, parts(part.Name, all)...)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bind gives a user what a built-in ClusterRole gives in a namespace, and waits until the API server knows.
func bind(t *testing.T, user, role, namespace string) {
	t.Helper()
	var all rbacv1.ClusterRoleList
	if err := as(t, "").List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	names := parts(role, all.Items)
	if len(names) < 2 {
		t.Fatalf("ClusterRole %q consists of %q", role, names)
	}
	for _, name := range names {
		create(t, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})
	}
	// Bindings arrive in order: when the last one counts, those before it do.
	marker := rbacv1.PolicyRule{APIGroups: []string{"test"}, Resources: []string{user}, Verbs: []string{"mark"}}
	create(t, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: user, Namespace: namespace}, Rules: []rbacv1.PolicyRule{marker},
	})
	create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user, Namespace: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	eventually(t, "the bindings of "+user, func() error {
		if !may(t, user, access{namespace, "mark", "test", user}) {
			return fmt.Errorf("%s has no rights yet", user)
		}
		return nil
	})
}

// newUser returns the name of a user that nobody has given anything yet.
func newUser(t *testing.T, role string) string {
	t.Helper()
	users++
	return fmt.Sprintf("%s-%d", role, users)
}

var users int

func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := as(t, "").Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// access is a verb on a resource of an API group.
type access struct{ namespace, verb, group, resource string }

// may asks the API server.
func may(t *testing.T, user string, what access) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: what.namespace, Verb: what.verb, Group: what.group, Resource: what.resource,
		},
	}}
	if err := as(t, "").Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

func TestPeopleMayDoWhatTheirBuiltInRoleSays(t *testing.T) {
	namespace := newNamespace(t, nil)
	const authorities, certificates, status = "mtlsauthorities", "mtlscertificates", "mtlscertificates/status"
	for _, test := range []struct {
		role            string
		resource        string
		allowed, denied []string
	}{
		{"view", authorities, []string{"get", "list", "watch"}, []string{"create", "update", "patch", "delete", "issue"}},
		{"view", certificates, []string{"get", "list", "watch"}, []string{"create", "update", "patch", "delete"}},
		{
			"edit", certificates,
			[]string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
			nil,
		},
		{"edit", authorities, []string{"get", "list", "watch"}, []string{"create", "update", "patch", "delete", "issue"}},
		{
			"admin", authorities,
			[]string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "issue"},
			nil,
		},
		{
			"admin", certificates,
			[]string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
			nil,
		},
		{"admin", status, nil, []string{"update", "patch"}},
	} {
		t.Run(test.role+" of "+test.resource, func(t *testing.T) {
			user := newUser(t, test.role)
			bind(t, user, test.role, namespace)
			for _, verb := range slices.Concat(test.allowed, test.denied) {
				want := slices.Contains(test.allowed, verb)
				if got := may(t, user, access{namespace, verb, v1alpha1.GroupVersion.Group, test.resource}); got != want {
					t.Errorf("%s: allowed is %v, want %v", verb, got, want)
				}
				elsewhere := access{"default", verb, v1alpha1.GroupVersion.Group, test.resource}
				if may(t, user, elsewhere) {
					t.Errorf("%s is allowed in another namespace", verb)
				}
			}
		})
	}
}

func TestTheOperatorMayDoWhatItNeedsAndNoMore(t *testing.T) {
	const ours = "mtls-operator.io"
	for _, what := range []access{
		{"any", "issue", ours, "mtlsauthorities"},
		{"any", "list", ours, "mtlsauthorities"},
		{"any", "watch", ours, "mtlscertificates"},
		{"any", "patch", ours, "mtlscertificates/status"},
		{"any", "patch", ours, "mtlsauthorities/status"},
		{"any", "create", "", "secrets"},
		{"any", "patch", "", "secrets"},
		{"any", "patch", "", "configmaps"},
		{"any", "list", "", "pods"},
		{"", "list", "", "nodes"},
		{"", "create", "certificates.k8s.io", "clustertrustbundles"},
		{"mtls-system", "create", "coordination.k8s.io", "leases"},
		{"mtls-system", "update", "coordination.k8s.io", "leases"},
		{"mtls-system", "create", "", "events"},
		{"", "create", "authentication.k8s.io", "tokenreviews"},
		{"", "create", "authorization.k8s.io", "subjectaccessreviews"},
	} {
		if !may(t, operator, what) {
			t.Errorf("the operator needs %+v", what)
		}
	}
	for _, what := range []access{
		{"any", "*", "*", "*"},
		{"any", "update", "", "secrets"}, // an Update from a cache without keys would take the key away
		{"any", "deletecollection", "", "secrets"},
		{"any", "create", ours, "mtlscertificates"},
		{"any", "create", ours, "mtlsauthorities"},
		{"any", "update", "", "configmaps"},
		{"any", "get", "", "pods"}, // it lists them, and only while a CA is replaced
		{"any", "create", "", "pods"},
		{"", "watch", "", "nodes"},
		{"any", "publish", ours, "mtlsauthorities"},
		{"any", "create", "coordination.k8s.io", "leases"},
		{"mtls-system", "delete", "coordination.k8s.io", "leases"},
		{"", "escalate", rbacv1.GroupName, "clusterroles"},
		{"", "create", rbacv1.GroupName, "clusterrolebindings"},
		{"", "impersonate", "", "users"},
	} {
		if may(t, operator, what) {
			t.Errorf("the operator doesn't need %+v", what)
		}
	}
}
