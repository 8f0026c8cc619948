package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// apiServer is the configuration of an administrator of the real API server that all tests of this package share.
var apiServer *rest.Config

func TestMain(m *testing.M) {
	os.Exit(withAPIServer(m))
}

func withAPIServer(m *testing.M) int {
	ctrl.SetLogger(logged.logger())
	klog.SetLogger(logged.logger())
	environment := &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join("..", "config", "crd")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute, // busy machines
		ControlPlaneStopTimeout:  time.Minute,
	}
	config, err := environment.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "envtest:", err)
		return 1
	}
	config.QPS = -1
	apiServer = config
	defer func() { _ = environment.Stop() }()
	return m.Run()
}

// start is the time at which the fake clock of a world stands at first. The API server stamps objects with the real
// time, and TLS stacks look at it too, so it is now.
func start() time.Time { return time.Now().UTC().Truncate(time.Second) }

// world is one operator against the real API server, with a fake clock, its caches running and its passes called by hand.
// It has a namespace of its own.
type world struct {
	*operator
	t         testing.TB
	ctx       context.Context
	admin     client.Client // another person, who sees the API server as it is
	client    client.Client // the operator's own: what is written with it, the next pass sees
	clock     *clocktesting.FakePassiveClock
	requests  *requests
	told      *told
	namespace string
	made      []string           // all namespaces of this world
	stop      context.CancelFunc // ends the operator
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), clock: clocktesting.NewFakePassiveClock(start())}
	w.admin = newClient(t, apiServer)
	w.namespace = w.newNamespace("", nil)
	w.restart()
	t.Cleanup(func() {
		w.stop()
		w.clear()
	})
	return w
}

// clear removes what was made in the namespaces of this world: all operators after it would have it in their caches.
func (w *world) clear() {
	ctx := context.WithoutCancel(w.ctx)
	unheld := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	for _, namespace := range w.made {
		for _, list := range []client.ObjectList{
			&v1alpha1.MTLSCertificateList{}, &v1alpha1.MTLSAuthorityList{}, &corev1.SecretList{}, &corev1.ConfigMapList{},
		} {
			_ = w.admin.List(ctx, list, client.InNamespace(namespace))
			_ = meta.EachListItem(list, func(item runtime.Object) error {
				object := item.(client.Object)
				if len(object.GetFinalizers()) > 0 {
					_ = w.admin.Patch(ctx, object, unheld)
				}
				return w.admin.Delete(ctx, object)
			})
		}
	}
	w.made = nil
}

// restart ends the operator and starts another one, with empty caches and no keys in memory.
func (w *world) restart() {
	w.t.Helper()
	w.requests = &requests{}
	config := rest.CopyConfig(apiServer)
	config.Wrap(w.requests.around)
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  Scheme(),
		Cache:   CacheOptions(nil),
		Client:  ClientOptions(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Logger:  log.Log,
	})
	w.check(err)
	if w.stop != nil {
		w.stop()
	}
	ctx, cancel := context.WithCancel(w.ctx)
	w.stop = cancel
	w.operator, err = newOperator(ctx, mgr, Options{ClusterDomain: "cluster.local", Concurrency: 1, Clock: w.clock})
	w.check(err)
	w.told = &told{}
	w.authorities.events, w.certificates.events, w.trust.events = w.told, w.told, w.told
	w.client = mgr.GetClient()
	for _, informers := range []interface {
		Start(context.Context) error
		WaitForCacheSync(context.Context) bool
	}{mgr.GetCache(), w.foreign} {
		go func() { _ = informers.Start(ctx) }()
	}
	for _, object := range []client.Object{&corev1.Secret{}, &v1alpha1.MTLSAuthority{}, &v1alpha1.MTLSCertificate{}} {
		_, err := mgr.GetCache().GetInformer(ctx, object)
		w.check(err)
	}
	_, err = w.foreign.GetInformer(ctx, secretMetadata())
	w.check(err)
	if !mgr.GetCache().WaitForCacheSync(ctx) || !w.foreign.WaitForCacheSync(ctx) {
		w.t.Fatal("the caches don't fill")
	}
	w.requests.reset()
}

func newClient(t testing.TB, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// newNamespace makes a namespace; without a name it gets one.
func (w *world) newNamespace(name string, labels map[string]string) string {
	w.t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if name == "" {
		namespace.GenerateName = "test-"
	}
	w.check(w.admin.Create(w.ctx, namespace))
	w.made = append(w.made, namespace.Name)
	return namespace.Name
}

// create an object as a person does; the next pass sees it.
func (w *world) create(object client.Object) {
	w.t.Helper()
	if object.GetNamespace() == "" {
		object.SetNamespace(w.namespace)
	}
	w.check(w.client.Create(w.ctx, object))
}

// edit an object of ours as a person does; the next pass sees it.
func edit[T client.Object](w *world, object T, change func(T)) {
	w.t.Helper()
	w.check(w.admin.Get(w.ctx, client.ObjectKeyFromObject(object), object))
	before := object.DeepCopyObject().(client.Object)
	change(object)
	w.check(w.client.Patch(w.ctx, object, client.MergeFrom(before)))
}

// authority makes an MTLSAuthority in the world's namespace and has it reconciled.
func (w *world) authority(name string, change ...func(*v1alpha1.MTLSAuthority)) *v1alpha1.MTLSAuthority {
	w.t.Helper()
	authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, apply := range change {
		apply(authority)
	}
	w.create(authority)
	w.reconcileAuthority(authority)
	return authority
}

// certificate makes an MTLSCertificate of authority my-ca, for servers, in the world's namespace. It isn't reconciled.
func (w *world) certificate(name string, change ...func(*v1alpha1.MTLSCertificate)) *v1alpha1.MTLSCertificate {
	w.t.Helper()
	certificate := &v1alpha1.MTLSCertificate{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.MTLSCertificateSpec{
			AuthorityRef: v1alpha1.AuthorityRef{Name: "my-ca"},
			Usages:       []v1alpha1.Usage{v1alpha1.UsageServer},
			DNSNames:     []string{"localhost"},
		},
	}
	for _, apply := range change {
		apply(certificate)
	}
	w.create(certificate)
	return certificate
}

// issued makes a certificate and has it reconciled until it is Ready.
func (w *world) issued(name string, change ...func(*v1alpha1.MTLSCertificate)) *v1alpha1.MTLSCertificate {
	w.t.Helper()
	certificate := w.certificate(name, change...)
	w.reconcileCertificate(certificate)
	w.wantReady(certificate, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")
	return certificate
}

// catchUp has the cache see all that this process wrote, as it has when an event begins a pass.
func (w *world) catchUp() {
	w.t.Helper()
	for _, list := range []client.ObjectList{&v1alpha1.MTLSCertificateList{}, &v1alpha1.MTLSAuthorityList{}, &corev1.SecretList{}} {
		w.check(w.client.List(w.ctx, list, client.UnsafeDisableDeepCopy))
	}
}

// reconcileCertificate makes one pass, which must not fail, and reads the object anew.
func (w *world) reconcileCertificate(certificate *v1alpha1.MTLSCertificate) ctrl.Result {
	w.t.Helper()
	w.catchUp()
	result, err := w.certificates.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(certificate)})
	w.check(err)
	w.check(client.IgnoreNotFound(w.admin.Get(w.ctx, client.ObjectKeyFromObject(certificate), certificate)))
	return result
}

// reconcileAuthority makes one pass, which must not fail, and reads the object anew.
func (w *world) reconcileAuthority(authority *v1alpha1.MTLSAuthority) ctrl.Result {
	w.t.Helper()
	w.catchUp()
	result, err := w.authorities.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(authority)})
	w.check(err)
	w.check(client.IgnoreNotFound(w.admin.Get(w.ctx, client.ObjectKeyFromObject(authority), authority)))
	return result
}

// secret reads a Secret as it is.
func (w *world) secret(name string) *corev1.Secret {
	w.t.Helper()
	secret := &corev1.Secret{}
	w.check(w.admin.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: name}, secret))
	return secret
}

// wantReady checks condition Ready; every text in contains, separated by "|", must be in its message.
func (w *world) wantReady(object client.Object, status metav1.ConditionStatus, reason, contains string) {
	w.t.Helper()
	w.wantCondition(object, v1alpha1.ConditionReady, status, reason, contains)
}

func (w *world) wantCondition(object client.Object, kind string, status metav1.ConditionStatus, reason, contains string) {
	w.t.Helper()
	w.check(w.admin.Get(w.ctx, client.ObjectKeyFromObject(object), object))
	condition := meta.FindStatusCondition(conditionsOf(object), kind)
	if condition == nil {
		w.t.Fatalf("%s has no condition %s", object.GetName(), kind)
	}
	if condition.Status != status || condition.Reason != reason {
		w.t.Fatalf("%s of %s is %s %s: %s\nwant %s %s", kind, object.GetName(), condition.Status, condition.Reason,
			condition.Message, status, reason)
	}
	for part := range strings.SplitSeq(contains, "|") {
		if !strings.Contains(condition.Message, part) {
			w.t.Errorf("message of %s is %q, want %q in it", kind, condition.Message, part)
		}
	}
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch object := object.(type) {
	case *v1alpha1.MTLSAuthority:
		return object.Status.Conditions
	case *v1alpha1.MTLSCertificate:
		return object.Status.Conditions
	default:
		panic("no conditions")
	}
}

// wantQuiet makes another pass and checks that it writes nothing and reads nothing but caches.
func (w *world) wantQuiet(certificate *v1alpha1.MTLSCertificate) {
	w.t.Helper()
	w.requests.reset()
	w.reconcileCertificate(certificate)
	if all := w.requests.all(); len(all) > 0 {
		w.t.Errorf("a pass that changes nothing makes requests: %v", all)
	}
}

// told records events.
type told struct {
	mu  sync.Mutex
	all []string
}

// Eventf is what the operator tells events with.
func (t *told) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, kind+" "+reason+": "+fmt.Sprintf(note, args...))
}

// take returns what was told since the last call.
func (t *told) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.all
	t.all = nil
	return all
}
