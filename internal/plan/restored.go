package plan

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// MadeFor is the value of v1alpha1.MadeForAnnotation that says: this object, and no other one of its name.
func MadeFor(authority metav1.Object) string {
	return anyOfItsName(authority) + string(authority.GetUID())
}

// Restored tells whether an authority came out of a backup and its CA wasn't seen since: it carries the mark of another
// object with its namespace and name. With the mark of another namespace or name it is a copy, and an authority of its own.
func Restored(authority metav1.Object) bool {
	mark := authority.GetAnnotations()[v1alpha1.MadeForAnnotation]
	return mark != MadeFor(authority) && strings.HasPrefix(mark, anyOfItsName(authority))
}

func anyOfItsName(authority metav1.Object) string {
	return authority.GetNamespace() + "/" + authority.GetName() + "/"
}

// IsOrWas tells whether the UID is that of the authority, or of the one whose mark it came out of a backup with.
func IsOrWas(authority metav1.Object, uid types.UID) bool {
	return uid != "" && (uid == authority.GetUID() ||
		authority.GetAnnotations()[v1alpha1.MadeForAnnotation] == anyOfItsName(authority)+string(uid))
}
