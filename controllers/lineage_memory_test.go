package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// Every change of what it is found from has another version.
func TestALineageIsFoundAgainWhenAnythingOfItChanged(t *testing.T) {
	data, err := generationData(newCA(t, "my-ca", time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "pki", Name: "my-ca"}
	secret := *newGenerationSecret(key, 1, data, map[string]string{v1alpha1.ActivatedAtAnnotation: "2026-11-24T12:00:00Z"})
	secret.UID, secret.ResourceVersion = "s", "1"
	_, _ = dropKey(&secret)
	authority := &v1alpha1.MTLSAuthority{}
	authority.Namespace, authority.Name, authority.UID, authority.ResourceVersion = "pki", "my-ca", "a", "2"
	memory := newLineages()
	find := func() any { return &memory.of(authority, []corev1.Secret{secret}).Live[0] }
	first := find()
	if find() != first {
		t.Error("it is found twice")
	}
	for sentence, change := range map[string]func(){
		"the authority changed":    func() { authority.ResourceVersion = "3" },
		"it is another authority":  func() { authority.UID = "b" },
		"the Secret changed":       func() { secret.ResourceVersion = "4" },
		"it is another Secret":     func() { secret.UID = "t" },
		"the authority was absent": func() { memory.forget(client.ObjectKeyFromObject(authority)) },
	} {
		before := find()
		change()
		if find() == before {
			t.Errorf("%s, and it isn't found again", sentence)
		}
	}
	if none := memory.of(authority, nil); len(none.Live) > 0 {
		t.Errorf("without Secrets there are %d generations", len(none.Live))
	}
}
