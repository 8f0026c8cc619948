package controllers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// badSpec is what a person wrote wrongly, and what tells them.
type badSpec struct {
	// spec is YAML that is laid over the spec of a good object; null takes a field away.
	spec string
	// reason of condition Ready; empty when the API server refuses the object.
	reason string
	// says are the parts of the message that a stranger needs: the field and what to do, separated by "|".
	says string
	// onlyEdit: it is wrong only as a change of an object.
	onlyEdit bool
}

// fewestBadObjects is how many different bad objects the tables in these tests must have together.
const fewestBadObjects = 40

func TestThereAreManyBadObjects(t *testing.T) {
	count := len(badCertificates) + len(badAuthorities) + len(badImports(t))
	if count < fewestBadObjects {
		t.Errorf("%d bad objects, want %d", count, fewestBadObjects)
	}
}

func TestABadCertificateIsToldAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	w.authority("my-ca")
	for number, sentence := range slices.Sorted(maps.Keys(badCertificates)) {
		bad := badCertificates[sentence]
		t.Run(sentence, func(t *testing.T) {
			w := w.in(t)
			kept := w.issued(fmt.Sprintf("kept-%d", number))
			before := w.secret(kept.Name)
			w.wantCertificateTold(bad, kept.Name, w.applySpec(kept, bad.spec))
			if after := w.secret(kept.Name); !reflect.DeepEqual(before, after) {
				t.Errorf("its Secret isn't what it was: version %s and then %s", before.ResourceVersion, after.ResourceVersion)
			}
			if !bad.onlyEdit {
				w.wantRefusedAnew(bad, fmt.Sprintf("new-%d", number))
			}
			w.issued(fmt.Sprintf("good-%d", number)) // the operator is alive
		})
	}
}

// in is the world for a subtest.
func (w *world) in(t *testing.T) *world {
	inner := *w
	inner.t = t
	return &inner
}

// wantRefusedAnew makes the certificate of a bad spec: there is no Secret for it, and nobody is left in doubt why.
func (w *world) wantRefusedAnew(bad badSpec, name string) {
	w.t.Helper()
	certificate := &v1alpha1.MTLSCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	w.wantCertificateTold(bad, name, w.applySpec(certificate, bad.spec))
	w.wantNoSecret(name)
}

// wantCertificateTold checks what tells a person that a certificate they applied, with this outcome, is bad.
func (w *world) wantCertificateTold(bad badSpec, name string, outcome error) {
	w.t.Helper()
	if bad.reason == "" {
		w.wantRefused(outcome, bad.says)
		return
	}
	w.check(outcome)
	certificate := &v1alpha1.MTLSCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	w.reconcileCertificate(certificate)
	w.wantReady(certificate, metav1.ConditionFalse, bad.reason, bad.says)
	w.wantCondition(certificate, v1alpha1.ConditionStalled, metav1.ConditionTrue, bad.reason, bad.says)
	w.wantFewWords(certificate)
	w.wantQuiet(certificate)
}

// wantRefused checks that the API server refused an object in words that help.
func (w *world) wantRefused(err error, says string) {
	w.t.Helper()
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		w.t.Fatalf("error is %v, want the API server to refuse the object", err)
	}
	for part := range strings.SplitSeq(says, "|") {
		if !strings.Contains(err.Error(), part) {
			w.t.Errorf("the API server says %q, want %q in it", err, part)
		}
	}
}

// wantFewWords: what a user wrote is cut and escaped before it is told.
func (w *world) wantFewWords(object client.Object) {
	w.t.Helper()
	for _, condition := range conditionsOf(object) {
		if len(condition.Message) > 5000 {
			w.t.Errorf("message of %s has %d bytes", condition.Type, len(condition.Message))
		}
		if strings.ContainsFunc(condition.Message, func(r rune) bool { return r < ' ' || r == '\u202e' }) {
			w.t.Errorf("message of %s has characters that can't be shown: %q", condition.Type, condition.Message)
		}
	}
}

// goodSpecs are what bad specs are laid over.
var goodSpecs = map[string]string{
	"MTLSAuthority":   `{}`,
	"MTLSCertificate": `{authorityRef: {name: my-ca}, usages: [Server], dnsNames: [localhost]}`,
}

// applySpec makes an object with a good spec and changes laid over it, or edits it when it exists, as kubectl does: as YAML,
// and so that the API server refuses fields it doesn't know. The next pass sees it.
func (w *world) applySpec(object client.Object, changes ...string) error {
	w.t.Helper()
	kinds, _, err := Scheme().ObjectKinds(object)
	w.check(err)
	applied := &unstructured.Unstructured{}
	applied.SetGroupVersionKind(kinds[0])
	applied.SetName(object.GetName())
	applied.SetNamespace(object.GetNamespace())
	err = w.admin.Get(w.ctx, client.ObjectKeyFromObject(object), applied)
	exists := err == nil
	w.check(client.IgnoreNotFound(err))

	spec := map[string]any{}
	for _, text := range append([]string{goodSpecs[kinds[0].Kind]}, changes...) {
		var layer map[string]any
		w.check(yaml.Unmarshal([]byte(text), &layer))
		maps.Copy(spec, layer)
	}
	maps.DeleteFunc(spec, func(_ string, value any) bool { return value == nil })
	applied.Object["spec"] = spec
	return w.apply(applied, exists)
}

// apply writes an object as it is and has the next pass see it.
func (w *world) apply(applied *unstructured.Unstructured, exists bool) error {
	w.t.Helper()
	write := func() error { return w.admin.Create(w.ctx, applied, client.FieldValidation("Strict")) }
	if exists {
		write = func() error { return w.admin.Update(w.ctx, applied, client.FieldValidation("Strict")) }
	}
	if err := write(); err != nil {
		return err
	}
	typed, err := Scheme().New(applied.GroupVersionKind())
	w.check(err)
	w.check(runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, typed))
	nothing := client.RawPatch(types.MergePatchType, []byte(`{}`)) // the operator's own client waits for what it wrote
	w.check(w.client.Patch(w.ctx, typed.(client.Object), nothing))
	return nil
}
