package controllers

import (
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// lineages are those that were found last. To find one is to parse and to verify certificates; each pass over an object needs
// one, and of thousands of passes all need the same.
type lineages struct {
	mu  sync.Mutex
	all map[types.NamespacedName]foundLineage
}

// foundLineage is what versions of an authority and of its Secrets tell.
type foundLineage struct {
	versions string
	lineage  plan.Lineage
}

func newLineages() *lineages { return &lineages{all: map[types.NamespacedName]foundLineage{}} }

// of an authority with these Secrets, from its generations. It must not be changed.
func (l *lineages) of(authority *v1alpha1.MTLSAuthority, secrets []corev1.Secret) plan.Lineage {
	key, versions := client.ObjectKeyFromObject(authority), versionsOf(authority, secrets)
	l.mu.Lock()
	known, found := l.all[key]
	l.mu.Unlock()
	if found && known.versions == versions {
		return known.lineage
	}
	lineage := lineageOf(authority, secrets)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[key] = foundLineage{versions, lineage}
	return lineage
}

// forget an authority that is no more.
func (l *lineages) forget(authority types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, authority)
}

// versionsOf all that a lineage is found from.
func versionsOf(authority *v1alpha1.MTLSAuthority, secrets []corev1.Secret) string {
	var versions strings.Builder
	add := func(object metav1.Object) {
		versions.WriteString(string(object.GetUID()) + " " + object.GetResourceVersion() + "\n")
	}
	add(authority)
	for i := range secrets {
		add(&secrets[i])
	}
	return versions.String()
}
