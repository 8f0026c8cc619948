package controllers

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// Indexes of the cache.
const (
	byAuthority      = "authority"      // MTLSCertificates by namespace/name of their authority; generation Secrets by its name
	bySecretName     = "secretName"     // MTLSCertificates by the name of their Secret
	byImportedSecret = "importedSecret" // MTLSAuthorities by the Secret they import
	bySigner         = "signer"         // MTLSAuthorities by namespace/name of the one above
	byIssuer         = "issuer"         // leaf Secrets by namespace/name of the authority that issued their certificate
)

func indexFields(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object client.Object
		name   string
		value  func(client.Object) string
	}{
		{&v1alpha1.MTLSCertificate{}, byAuthority, func(o client.Object) string {
			return authorityKey(o.(*v1alpha1.MTLSCertificate)).String()
		}},
		{&v1alpha1.MTLSCertificate{}, bySecretName, func(o client.Object) string {
			return secretName(o.(*v1alpha1.MTLSCertificate))
		}},
		{&v1alpha1.MTLSAuthority{}, byImportedSecret, importedSecret},
		{&v1alpha1.MTLSAuthority{}, bySigner, func(o client.Object) string {
			authority := o.(*v1alpha1.MTLSAuthority)
			if authority.Spec.SignedBy == nil {
				return ""
			}
			return parentKey(authority).String()
		}},
		{&corev1.Secret{}, byAuthority, generationOf},
		{&corev1.Secret{}, byIssuer, func(o client.Object) string {
			return o.GetAnnotations()[v1alpha1.IssuedByAnnotation]
		}},
	} {
		err := indexer.IndexField(ctx, index.object, index.name, func(o client.Object) []string {
			if value := index.value(o); value != "" {
				return []string{value}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// authorityKey is the authority a certificate refers to.
func authorityKey(certificate *v1alpha1.MTLSCertificate) types.NamespacedName {
	reference := certificate.Spec.AuthorityRef
	if reference.Namespace == "" {
		reference.Namespace = certificate.Namespace
	}
	return types.NamespacedName{Namespace: reference.Namespace, Name: reference.Name}
}

// secretName is the name of the Secret of a certificate.
func secretName(certificate *v1alpha1.MTLSCertificate) string {
	if certificate.Spec.SecretName != "" {
		return certificate.Spec.SecretName
	}
	return certificate.Name
}

func importedSecret(object client.Object) string {
	if imported := object.(*v1alpha1.MTLSAuthority).Spec.Imported; imported != nil {
		return imported.SecretName
	}
	return ""
}

// generationOf is the name of the authority a Secret is a CA generation of, empty for other Secrets.
func generationOf(object client.Object) string {
	secret := object.(*corev1.Secret)
	if secret.Type != v1alpha1.AuthoritySecretType {
		return ""
	}
	return secret.Labels[v1alpha1.AuthorityLabel]
}

// generationNumber that a Secret's label tells; 0 when it tells none.
func generationNumber(secret client.Object) int64 {
	number, err := strconv.ParseInt(secret.GetLabels()[v1alpha1.GenerationLabel], 10, 64)
	if err != nil || number < 1 || number > plan.MaxNumber {
		return 0
	}
	return number
}

// certificatesOfSecret wakes the certificates that a Secret, ours or foreign, is of interest to.
func (o *operator) certificatesOfSecret(ctx context.Context, object client.Object) []reconcile.Request {
	if secret, ok := object.(*corev1.Secret); ok && generationOf(secret) != "" {
		return nil // see certificatesOfCA
	}
	return o.find(ctx, &v1alpha1.MTLSCertificateList{},
		client.InNamespace(object.GetNamespace()), client.MatchingFields{bySecretName: object.GetName()})
}

// othersOfSecret are those of them that it isn't the Secret of, although they ask for its name.
func (o *operator) othersOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	return slices.DeleteFunc(o.certificatesOfSecret(ctx, secret), func(request reconcile.Request) bool {
		return request.Name == secret.GetAnnotations()[v1alpha1.CertificateAnnotation]
	})
}

// itself wakes the object that an event is about.
func itself(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(object)}}
}

// certificatesOfAuthority wakes the certificates that refer to an authority.
func (o *operator) certificatesOfAuthority(ctx context.Context, authority client.Object) []reconcile.Request {
	return o.certificatesOf(ctx, client.ObjectKeyFromObject(authority))
}

// certificatesWaitingFor wakes those of them that have no certificate, or not the one they ask for.
func (o *operator) certificatesWaitingFor(ctx context.Context, authority client.Object) []reconcile.Request {
	return o.findOnly(ctx, isWaiting, &v1alpha1.MTLSCertificateList{},
		client.MatchingFields{byAuthority: client.ObjectKeyFromObject(authority).String()})
}

// isWaiting tells whether a certificate is not there, or not the one that is asked for.
func isWaiting(certificate client.Object) bool {
	return !meta.IsStatusConditionTrue(certificate.(*v1alpha1.MTLSCertificate).Status.Conditions, v1alpha1.ConditionReady)
}

func (o *operator) certificatesOf(ctx context.Context, authority types.NamespacedName) []reconcile.Request {
	return o.find(ctx, &v1alpha1.MTLSCertificateList{}, client.MatchingFields{byAuthority: authority.String()})
}

// certificatesIn wakes the certificates of a namespace, whose labels decide which authorities permit it.
func (o *operator) certificatesIn(ctx context.Context, namespace client.Object) []reconcile.Request {
	return o.find(ctx, &v1alpha1.MTLSCertificateList{}, client.InNamespace(namespace.GetName()))
}

// certificatesWaitingIn wakes those of them that have no certificate, or not the one they ask for.
func (o *operator) certificatesWaitingIn(ctx context.Context, namespace client.Object) []reconcile.Request {
	return o.findOnly(ctx, isWaiting, &v1alpha1.MTLSCertificateList{}, client.InNamespace(namespace.GetName()))
}

// authorityOfSecret wakes the authority that a Secret is a generation of, or that wants its name for one.
func (o *operator) authorityOfSecret(_ context.Context, secret client.Object) []reconcile.Request {
	name, _ := parseGenerationName(secret.GetName())
	if secret, ok := secret.(*corev1.Secret); ok {
		name = cmp.Or(generationOf(secret), name)
	}
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: secret.GetNamespace(), Name: name}}}
}

// authoritiesOfForeign wakes the authorities that import a Secret or that it stands in the way of.
func (o *operator) authoritiesOfForeign(ctx context.Context, secret client.Object) []reconcile.Request {
	return append(o.authoritiesImporting(ctx, secret), o.authorityOfSecret(ctx, secret)...)
}

func (o *operator) authoritiesImporting(ctx context.Context, secret client.Object) []reconcile.Request {
	return o.find(ctx, &v1alpha1.MTLSAuthorityList{},
		client.InNamespace(secret.GetNamespace()), client.MatchingFields{byImportedSecret: secret.GetName()})
}

// authorityLeft wakes an authority that is being deleted when a certificate may have been the last that refers to it.
func (o *operator) authorityLeft(ctx context.Context, object client.Object) []reconcile.Request {
	key := authorityKey(object.(*v1alpha1.MTLSCertificate))
	authority := &v1alpha1.MTLSAuthority{}
	if err := o.cache.Get(ctx, key, authority); err != nil || authority.DeletionTimestamp.IsZero() {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// authoritiesLeftIn wakes the authorities that are being deleted and that certificates of a namespace refer to: by its
// labels they may have permitted it, and been held by these alone.
func (o *operator) authoritiesLeftIn(ctx context.Context, namespace client.Object) []reconcile.Request {
	certificates := &v1alpha1.MTLSCertificateList{}
	err := o.cache.List(ctx, certificates, client.InNamespace(namespace.GetName()), client.UnsafeDisableDeepCopy)
	if err != nil {
		logf.FromContext(ctx).Error(err, "cannot tell what a change is of interest to")
		return nil
	}
	var requests []reconcile.Request
	for i := range certificates.Items {
		requests = append(requests, o.authorityLeft(ctx, &certificates.Items[i])...)
	}
	return requests
}

// authoritiesOfNamespace wakes those that authoritiesLeftIn tells of, and the authorities of a namespace that another one
// signs: by the namespace's labels that one permits them, and they wait for nothing else.
func (o *operator) authoritiesOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	isSigned := func(object client.Object) bool { return object.(*v1alpha1.MTLSAuthority).Spec.SignedBy != nil }
	return append(o.authoritiesLeftIn(ctx, namespace),
		o.findOnly(ctx, isSigned, &v1alpha1.MTLSAuthorityList{}, client.InNamespace(namespace.GetName()))...)
}

// find lists the names of what a change is of interest to. The cache cannot fail but at the end of the process.
func (o *operator) find(ctx context.Context, list client.ObjectList, options ...client.ListOption) []reconcile.Request {
	all := func(client.Object) bool { return true }
	return o.findOnly(ctx, all, list, options...)
}

func (o *operator) findOnly(ctx context.Context, wanted func(client.Object) bool, list client.ObjectList,
	options ...client.ListOption,
) []reconcile.Request {
	if err := o.cache.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		logf.FromContext(ctx).Error(err, "cannot tell what a change is of interest to")
		return nil
	}
	var requests []reconcile.Request
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if object := item.(client.Object); wanted(object) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)})
		}
		return nil
	})
	return requests
}

// specOrRequestChanged passes what people change on an object. Status is the operator's own writing.
func specOrRequestChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, annotationChanged(v1alpha1.RenewRequestedAtAnnotation))
}

// specOrOrderChanged passes what people change on an authority.
func specOrOrderChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, annotationChanged(v1alpha1.MadeForAnnotation,
		v1alpha1.RotateRequestedAtAnnotation, v1alpha1.AbortAnnotation, v1alpha1.CompromisedAnnotation,
		v1alpha1.IgnoreBlockersAnnotation, v1alpha1.AdoptRootAnnotation))
}

// sinceTheStart leaves out what was there when the operator started: each object is looked at then anyway.
func sinceTheStart() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}
}

func annotationChanged(names ...string) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return e.ObjectOld.GetAnnotations()[name] != e.ObjectNew.GetAnnotations()[name]
		})
	}}
}

// deletionChanged passes that an object is to be deleted.
func deletionChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
}

// abilityChanged passes the changes of an authority that matter to certificates: its spec, and whether it can sign.
func abilityChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*v1alpha1.MTLSAuthority), e.ObjectNew.(*v1alpha1.MTLSAuthority)
		return before.Generation != after.Generation || readyText(before.Status.Conditions) != readyText(after.Status.Conditions)
	}}
}

func readyText(conditions []metav1.Condition) string {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return ""
	}
	return string(ready.Status) + ready.Message
}

// watched tells whether the operator works in a namespace.
func (o Options) watched(namespace string) bool {
	return len(o.Namespaces) == 0 || sets.New(o.Namespaces...).Has(namespace)
}
