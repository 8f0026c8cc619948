package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// authorityRow is a problem of an authority.
type authorityRow struct {
	sentence string
	reason   string
	// before the authority is made.
	before func(*world)
	// arrange the world; has a CA already when the row begins with one.
	arrange func(*world)
	spec    func(*v1alpha1.MTLSAuthority)
	begins  bool   // with an authority that can sign
	message string // parts, separated by "|"
	waits   bool   // nobody needs to act
	again   time.Duration
	tries   int // Secrets that every pass tries to create in vain
	// replaced: another CA is made, which is delivered to everybody and then signs.
	replaced bool
}

// authorityRows has every reason of Ready=False of authority "ca".
var authorityRows = []authorityRow{
	{
		sentence: "the selector of namespaces has an operator that doesn't exist", reason: v1alpha1.ReasonInvalidSpec,
		spec: func(a *v1alpha1.MTLSAuthority) {
			a.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: "Selector", Selector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Like", Values: []string{"a"}}},
			}}
		},
		message: `spec.allowedNamespaces.selector|"Like"`,
	},
	{
		sentence: "the Secret to import doesn't exist", reason: v1alpha1.ReasonImportedSecretNotFound,
		spec:    imports("walk-through"),
		message: `spec.imported.secretName|"walk-through" doesn't exist in this namespace|Create it|tls.crt|tls.key`,
	},
	{
		sentence: "the pair to import is a server's", reason: v1alpha1.ReasonImportedInvalid,
		arrange: func(w *world) {
			w.authority("my-ca")
			w.issued("server")
			w.check(w.admin.Create(w.ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "walk-through"},
				Data:       w.secret("server").Data,
			}))
		},
		spec:    imports("walk-through"),
		message: `spec.imported.secretName|"walk-through"|tls.crt|isn't a CA's|CA:TRUE`,
	},
	{
		sentence: "the CA has ended", reason: v1alpha1.ReasonCAExpired, begins: true,
		arrange: func(w *world) { w.later(8760*time.Hour + time.Second) },
		message: "generation 1 ended at", replaced: true, again: rotationInterval,
	},
	{
		sentence: "the imported CA has ended", reason: v1alpha1.ReasonCAExpired, begins: true,
		before: func(w *world) { w.putSecret("walk-through", "", makeCA(w.t, "walk-through", nil, nil).secret()) },
		spec:   imports("walk-through"),
		arrange: func(w *world) {
			w.check(w.admin.Delete(w.ctx, w.secret("walk-through")))
			w.later(8760*time.Hour + time.Minute)
		},
		message: "generation 1 ended at",
	},
	{
		sentence: "the clock went back to before the CA", reason: v1alpha1.ReasonCANotYetValid, begins: true,
		arrange: func(w *world) { w.later(-time.Hour) },
		message: "generation 1 begins at", waits: true, again: 55 * time.Minute,
	},
	{
		sentence: "the Secret of the CA is gone", reason: v1alpha1.ReasonCALost, begins: true,
		arrange: func(w *world) { w.loseGeneration("ca-ca-1") },
		message: "the CA's key is gone|Another CA is delivered to everybody|backup", waits: true, replaced: true,
		again: 90 * time.Second,
	},
	{
		sentence: "the Secret of the CA doesn't say that it may sign", reason: v1alpha1.ReasonCALost, begins: true,
		arrange: func(w *world) {
			w.editSecret("ca-ca-1", func(s *corev1.Secret) { delete(s.Annotations, "mtls-operator.io/activated-at") })
		},
		message: `Secret "ca-ca-1" lacks annotation mtls-operator.io/activated-at|once everybody is seen to trust it`, waits: true,
		again: 90 * time.Second,
	},
	{
		sentence: "all names of its Secrets are taken", reason: v1alpha1.ReasonCASecretConflict,
		arrange: func(w *world) {
			for i := range maxNumbersTried {
				w.foreignSecret(fmt.Sprintf("ca-ca-%d", i+1))
			}
		},
		message: `"ca-ca-1"|"ca-ca-8"|delete these|another name`, tries: maxNumbersTried,
	},
	{
		sentence: "the API server refuses the Secret", reason: v1alpha1.ReasonCASecretRejected,
		arrange: func(w *world) { w.refuseSecrets() },
		message: `the API server refuses Secret "ca-ca-1"|exceeded quota`, again: rejectedDelay, tries: 1,
	},
}

func imports(secret string) func(*v1alpha1.MTLSAuthority) {
	return func(a *v1alpha1.MTLSAuthority) { a.Spec.Imported = &v1alpha1.Imported{SecretName: secret} }
}

// foreignSecret makes a Secret that isn't ours.
func (w *world) foreignSecret(name string) *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		StringData: map[string]string{"password": "of somebody else"},
	}
	w.check(w.admin.Create(w.ctx, secret))
	return w.secret(name)
}

// loseGeneration deletes a generation Secret with force.
func (w *world) loseGeneration(name string) {
	w.t.Helper()
	w.editSecret(name, func(s *corev1.Secret) { s.Finalizers = nil })
	w.removeSecret(name)
}

func TestEveryReasonNotToBeReadyOfAnAuthority(t *testing.T) {
	for _, row := range slices.Concat(authorityRows, parentRows) {
		t.Run(row.sentence, func(t *testing.T) {
			w := newWorld(t)
			authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: "ca"}}
			if row.before != nil {
				row.before(w)
			}
			if row.spec != nil {
				row.spec(authority)
			}
			if row.begins {
				w.create(authority)
				w.reconcileAuthority(authority)
				w.wantReady(authority, "True", v1alpha1.ReasonSigning, "generation 1 signs")
			}
			if row.arrange != nil {
				row.arrange(w)
			}
			if !row.begins {
				w.create(authority)
			}
			before := w.secretVersions()
			w.told.take()

			result := w.reconcileAuthority(authority)

			row.verify(w, authority)
			if row.replaced {
				before = w.secretVersions()
			}
			if result.RequeueAfter != row.again {
				t.Errorf("the next pass is in %v, want %v", result.RequeueAfter, row.again)
			}
			var inVain []string
			if row.tries > 0 {
				inVain = []string{"POST secrets"}
			}
			w.wantNoWrites(func() { w.reconcileAuthority(authority) }, inVain...)
			w.wantVersions(before)
		})
	}
}

// wantTold checks which events were told since the last time: each begins as it is said here.
func (w *world) wantTold(begin ...string) {
	w.t.Helper()
	events := w.told.take()
	matches := slices.EqualFunc(events, begin, strings.HasPrefix)
	if !matches {
		w.t.Errorf("events: %q, want these: %q", events, begin)
	}
}

func (r authorityRow) verify(w *world, authority *v1alpha1.MTLSAuthority) {
	w.t.Helper()
	w.wantReady(authority, "False", r.reason, r.message)
	if r.waits {
		w.wantCondition(authority, "Stalled", "False", v1alpha1.ReasonProgressing, "")
	} else {
		w.wantCondition(authority, "Stalled", "True", r.reason, r.message)
	}
	var told []string
	if r.replaced {
		told = append(told, "Normal "+v1alpha1.ReasonGenerationMade)
	}
	if !r.waits {
		told = append(told, "Warning "+r.reason)
	}
	w.wantTold(told...)
	if authority.Status.ObservedGeneration != authority.Generation {
		w.t.Errorf("observedGeneration is %d of %d", authority.Status.ObservedGeneration, authority.Generation)
	}
	if known := len(authority.Status.Generations) > 0; r.reason == v1alpha1.ReasonCALost && !known {
		w.t.Error("status forgets the generation that was lost")
	}
}
