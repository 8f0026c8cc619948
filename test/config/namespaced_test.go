package config_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAnOperatorOfANamespaceHasNothingOutsideOfIt(t *testing.T) {
	for _, folder := range []string{"namespaced/operator", "namespaced/served"} {
		for _, object := range manifests(t, folder) {
			kind := object.GetObjectKind().GroupVersionKind()
			mapping, err := cluster.mapper.RESTMapping(kind.GroupKind(), kind.Version)
			if err != nil {
				t.Fatal(err)
			}
			if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
				t.Errorf("config/%s: %s %s is in no namespace", folder, kind.Kind, nameOf(t, object))
			}
		}
	}
}

// The rules come from the generated ClusterRole, whatever is in it.
func TestAnOperatorOfANamespaceMayDoThereWhatOthersMayDoEverywhere(t *testing.T) {
	everywhere := only[*rbacv1.ClusterRole](manifests(t, "default"))
	for _, folder := range []string{"namespaced/operator", "namespaced/served"} {
		objects := manifests(t, folder)
		role, binding := named(only[*rbacv1.Role](objects)), named(only[*rbacv1.RoleBinding](objects))
		if !reflect.DeepEqual(role.Rules, named(everywhere).Rules) {
			t.Errorf("config/%s: the rules of the Role aren't those of the ClusterRole: %v", folder, role.Rules)
		}
		if want := (rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}); binding.RoleRef != want {
			t.Errorf("config/%s: the RoleBinding is to %v, want %v", folder, binding.RoleRef, want)
		}
	}
}

// named returns the object that is named after the operator itself, or the zero value.
func named[T client.Object](objects []T) (found T) {
	for _, object := range objects {
		if object.GetName() == "mtls-operator" {
			found = object
		}
	}
	return found
}

// The last flag of a name counts, and nothing is served that would need rights in the whole cluster.
func TestAnOperatorOfANamespaceServesItsOwn(t *testing.T) {
	deployment := only[*appsv1.Deployment](manifests(t, "namespaced/operator"))[0]
	container := deployment.Spec.Template.Spec.Containers[0]
	values := map[string]string{}
	for _, argument := range container.Args {
		name, value, _ := strings.Cut(argument, "=")
		values[name] = value
	}
	if values["--namespaces"] != "$(NAMESPACE)" || values["--metrics-bind-address"] != "0" {
		t.Errorf("the flags are %q", container.Args)
	}
	for _, variable := range container.Env {
		if variable.Name == "NAMESPACE" && variable.ValueFrom.FieldRef.FieldPath == "metadata.namespace" {
			return
		}
	}
	t.Errorf("NAMESPACE isn't that of the pod: %v", container.Env)
}

// Whoever makes a Role must have what it gives.
func TestTheAdminOfANamespaceCanGiveTheOperatorItsRights(t *testing.T) {
	rights := only[*rbacv1.Role](manifests(t, "namespaced/served"))[0]
	create := func(user, namespace string) error {
		role := rights.DeepCopy()
		role.Namespace = namespace
		return as(t, user).Create(t.Context(), role)
	}
	without, namespace := newUser(t, "admin"), newNamespace(t, nil)
	bind(t, without, "admin", namespace)
	if err := create(without, namespace); !apierrors.IsForbidden(err) {
		t.Errorf("without config/namespaced/cluster: %v, want Forbidden", err)
	}
	mustKubectl(t, "apply", "-k", manifestFolder("namespaced/cluster"))
	t.Cleanup(func() {
		output, err := kubectl(context.Background(), "delete", "-f", manifestFolder("namespaced/cluster/admins.yaml"))
		if err != nil {
			t.Errorf("%v: %s", err, output) // and other tests find admins with this right
		}
	})
	with, namespace := newUser(t, "admin"), newNamespace(t, nil)
	bind(t, with, "admin", namespace)
	if err := create(with, namespace); err != nil {
		t.Error(err)
	}
}
