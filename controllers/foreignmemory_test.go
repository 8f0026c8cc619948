package controllers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const (
	manySecrets = 20_000
	// mostEach is what a foreign Secret may cost, in bytes: its names, and its share of the maps it stands in.
	mostEach = 1500
	// annotationSize is that of what kubectl apply leaves in each: more than mostEach, so that keeping it is noticed.
	annotationSize = 2 << 10
)

// manyForeign is an API server that has many Secrets with a large annotation and with data, and is asked for nothing but
// their metadata, in the form in which caches begin (a watch that sends what there is first).
func manyForeign(t *testing.T) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		query := request.URL.Query()
		preferred, _, _ := strings.Cut(request.Header.Get("Accept"), ",")
		if !strings.Contains(preferred, "as=PartialObjectMetadata;") {
			t.Errorf("asks for %q: the data of all Secrets would be sent", preferred)
		}
		if got, want := query.Get("labelSelector"), "!"+v1alpha1.GenerationLabel; got != want {
			t.Errorf("selects %q, want %q", got, want)
		}
		if request.URL.Path != "/api/v1/secrets" || query.Get("sendInitialEvents") != "true" {
			http.Error(response, "there is nothing else here", http.StatusNotFound)
			return
		}
		response.Header().Set("Content-Type", "application/json")
		send(t, response, "BOOKMARK", manySecrets, "", map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		<-request.Context().Done()
	}
}

// send the events of all Secrets up to a number and then the last one.
func send(t *testing.T, to http.ResponseWriter, last string, number int, name string, annotations map[string]string) {
	large := map[string]string{corev1.LastAppliedConfigAnnotation: strings.Repeat("x", annotationSize)}
	for i := range number {
		writeEvent(t, to, "ADDED", fmt.Sprintf("secret-%d", i), i+1, large)
	}
	writeEvent(t, to, last, name, number+1, annotations)
	_ = http.NewResponseController(to).Flush()
}

func writeEvent(t *testing.T, to io.Writer, kind, name string, version int, annotations map[string]string) {
	event, err := json.Marshal(map[string]any{"type": kind, "object": metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team", Name: name, ResourceVersion: fmt.Sprint(version), Annotations: annotations,
			Labels: map[string]string{"owner": "helm"}, Finalizers: []string{"example.com/kept"},
		},
	}})
	if err != nil {
		t.Error(err)
	}
	_, _ = to.Write(event) // a reader that is gone has seen what it wanted
}

func TestForeignSecretsCostTheirNamesOnly(t *testing.T) {
	server := httptest.NewServer(manyForeign(t))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	mgr, err := ctrl.NewManager(&rest.Config{Host: server.URL}, ctrl.Options{
		Scheme:  Scheme(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			mapper := meta.NewDefaultRESTMapper(nil)
			mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
			return mapper, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := foreignSecrets(mgr, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.GetInformer(t.Context(), secretMetadata(), cache.BlockUntilSynced(false)); err != nil {
		t.Fatal(err)
	}
	before := heap()
	go func() { _ = foreign.Start(t.Context()) }()
	if !foreign.WaitForCacheSync(t.Context()) {
		t.Fatal("the cache doesn't fill")
	}
	each := (heap() - before) / manySecrets
	t.Logf("%d bytes each", each)
	if each > mostEach {
		t.Errorf("a foreign Secret costs %d bytes, want at most %d", each, mostEach)
	}
	names := &metav1.PartialObjectMetadataList{}
	names.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := foreign.List(t.Context(), names); err != nil || len(names.Items) != manySecrets {
		t.Fatalf("%d Secrets are known, want %d; error: %v", len(names.Items), manySecrets, err)
	}
	for _, item := range names.Items {
		if len(item.Annotations)+len(item.Labels)+len(item.Finalizers)+len(item.ManagedFields) > 0 {
			t.Fatalf("more than a name is kept: %v", item)
		}
	}
}

// heap is the memory in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
