package config_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// refusal is what the policy says to a user who lacks the verb.
func refusal(user, namespace string) string {
	return "type mtls-operator.io/ca is kept for the CA keys that mtls-operator makes, and " + user + " lacks the verb " +
		"issue on mtlsauthorities.mtls-operator.io in namespace " + namespace + ": make an MTLSAuthority, and put a CA " +
		"from elsewhere into a Secret of type kubernetes.io/tls that its spec.imported names"
}

// caSecret is one as the operator makes them.
func caSecret(namespace string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "my-ca-ca-", Namespace: namespace, Finalizers: []string{v1alpha1.KeyFinalizer},
		},
		Immutable: new(true),
		Type:      v1alpha1.AuthoritySecretType,
	}
}

// tenants are a namespace with an editor and an admin, who edits another namespace, under the policy in force.
type tenants struct{ namespace, editor, admin, elsewhere string }

func newTenants(t *testing.T) tenants {
	t.Helper()
	who := tenants{
		namespace: newNamespace(t, nil), elsewhere: newNamespace(t, nil),
		editor: newUser(t, "edit"), admin: newUser(t, "admin"),
	}
	bind(t, who.editor, "edit", who.namespace)
	bind(t, who.admin, "admin", who.namespace)
	bind(t, who.admin, "edit", who.elsewhere)
	eventually(t, "the policy", func() error {
		err := as(t, who.editor).Create(t.Context(), caSecret(who.namespace), client.DryRunAll)
		return checkRefused(err, refusal(who.editor, who.namespace))
	})
	return who
}

func checkRefused(err error, message string) error {
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("error is %v, want Forbidden", err) //nolint:errorlint // it may be nil
	}
	if !strings.HasSuffix(err.Error(), "denied request: "+message) {
		return fmt.Errorf("error is %w, want it to end in %q", err, message)
	}
	return nil
}

func TestOnlyWhoMayIssueMakesCASecrets(t *testing.T) {
	who := newTenants(t)
	for sentence, test := range map[string]struct {
		user, namespace string
		refused         bool
	}{
		"the editor of a namespace is refused":                        {who.editor, who.namespace, true},
		"the admin of a namespace may":                                {who.admin, who.namespace, false},
		"the admin of one namespace is refused where they only edit":  {who.admin, who.elsewhere, true},
		"the operator may, with the rights that config/rbac gives it": {operator, who.namespace, false},
		"the administrator of the cluster may, who may do everything": {"", who.namespace, false},
		"the operator may in every namespace, nobody has to bind it":  {operator, who.elsewhere, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := as(t, test.user).Create(t.Context(), caSecret(test.namespace))
			if test.refused {
				err = checkRefused(err, refusal(test.user, test.namespace))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOnlyWhoMayIssueChangesCASecrets(t *testing.T) {
	who := newTenants(t)
	label := func(secret *corev1.Secret) { secret.Labels = map[string]string{v1alpha1.AuthorityLabel: "mine"} }
	activate := func(secret *corev1.Secret) {
		secret.Annotations = map[string]string{v1alpha1.ActivatedAtAnnotation: "2026-01-01T00:00:00Z"}
	}
	release := func(secret *corev1.Secret) { secret.Finalizers = nil }
	nothing := func(*corev1.Secret) {}
	for sentence, test := range map[string]struct {
		user    string
		change  func(*corev1.Secret)
		refused bool
	}{
		"an editor can't give it to another authority":            {who.editor, label, true},
		"an editor can't say that it was activated":               {who.editor, activate, true},
		"an editor can't take the finalizer that keeps it":        {who.editor, release, true},
		"an editor's write that changes nothing is let through":   {who.editor, nothing, false},
		"an admin of the namespace may take the finalizer":        {who.admin, release, false},
		"an admin of the namespace may change labels":             {who.admin, label, false},
		"the administrator of the cluster may take the finalizer": {"", release, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			secret := caSecret(who.namespace)
			create(t, secret)
			test.change(secret)
			err := as(t, test.user).Update(t.Context(), secret)
			if test.refused {
				err = checkRefused(err, refusal(test.user, who.namespace))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Encrypting storage anew is done by who may patch everything and issue nothing, with a patch that says which version
// was read.
func TestStorageCanBeMigratedWithoutTheVerb(t *testing.T) {
	who := newTenants(t)
	secret := caSecret(who.namespace)
	create(t, secret)
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"resourceVersion":%q}}`, secret.UID, secret.ResourceVersion)
	err := as(t, who.editor).Patch(t.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(patch)))
	if err != nil {
		t.Error(err)
	}
}

func TestOtherSecretsAreNobodysBusiness(t *testing.T) {
	who := newTenants(t)
	for _, kind := range []corev1.SecretType{"", corev1.SecretTypeOpaque, "mtls-operator.io/ca2", "example.com/ca"} {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "my-ca-ca-", Namespace: who.namespace}, Type: kind,
		}
		if err := as(t, who.editor).Create(t.Context(), secret); err != nil {
			t.Errorf("type %q: %v", kind, err)
			continue
		}
		secret.Data = map[string][]byte{"tls.key": []byte("x")}
		if err := as(t, who.editor).Update(t.Context(), secret); err != nil {
			t.Errorf("type %q: %v", kind, err)
		}
	}
}
