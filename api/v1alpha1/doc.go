// Package v1alpha1 is the vocabulary of mtls-operator.io: the kinds MTLSAuthority and MTLSCertificate, their conditions
// and reasons, and every label, annotation and key name the operator reads or writes. It has no behaviour: what the
// words lead to is decided in internal/plan and internal/policy and done in controllers.
//
// +kubebuilder:object:generate=true
// +groupName=mtls-operator.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "mtls-operator.io", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&MTLSAuthority{}, &MTLSAuthorityList{},
		&MTLSCertificate{}, &MTLSCertificateList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
