package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// counts of requests by verb and resource, such as "POST secrets" or "PATCH mtlscertificates/status".
type counts map[string]float64

// ownResources are what a contender reads and writes. Other requests are those of the API server with itself.
var ownResources = []string{
	"clustertrustbundles", "configmaps", "events", "mtlsauthorities", "mtlsauthorities/status", "mtlscertificates",
	"mtlscertificates/status", "namespaces", "nodes", "pods", "secrets",
}

// requests tells what was asked of the API server until now, by its own count.
func (s *server) requests(ctx context.Context) (counts, error) {
	text, err := s.rest().Get().AbsPath("/metrics").SetHeader("Accept", "text/plain").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	families, err := parseMetrics(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	all := counts{}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := labelsOf(metric)
		resource := strings.TrimSuffix(labels["resource"]+"/"+labels["subresource"], "/")
		if slices.Contains(ownResources, resource) {
			all[labels["verb"]+" "+resource] += metric.GetCounter().GetValue()
		}
	}
	return all, nil
}

func parseMetrics(text io.Reader) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(text)
}

func labelsOf(metric *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, pair := range metric.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

// since is what came after another count. The objects that are made for a measurement don't count.
func (c counts) since(before counts) counts {
	after := maps.Clone(c)
	for request, n := range before {
		after[request] -= n
	}
	delete(after, "POST mtlscertificates")
	maps.DeleteFunc(after, func(_ string, n float64) bool { return n == 0 })
	return after
}

// writes are all that change something, reads all that ask etcd or the watch cache once.
func (c counts) writes() float64 {
	return c.sum("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION")
}

func (c counts) reads() float64 { return c.sum("GET", "LIST") }

func (c counts) sum(verbs ...string) float64 {
	var sum float64
	for request, n := range c {
		verb, _, _ := strings.Cut(request, " ")
		if slices.Contains(verbs, verb) {
			sum += n
		}
	}
	return sum
}

// stored is how many bytes etcd's data takes, and after compacting how many are left.
func (s *server) stored(ctx context.Context) (before, after float64, err error) {
	before, revision, err := s.etcdStatus(ctx)
	if err != nil {
		return 0, 0, err
	}
	compact := map[string]any{"revision": revision, "physical": true}
	err = s.askEtcd(ctx, "/v3/kv/compaction", compact, nil)
	if err != nil && !strings.Contains(err.Error(), "has been compacted") {
		return 0, 0, err
	}
	after, _, err = s.etcdStatus(ctx)
	return before, after, err
}

func (s *server) etcdStatus(ctx context.Context) (inUse float64, revision string, err error) {
	var status struct {
		Header struct{ Revision string }
		InUse  json.Number `json:"dbSizeInUse"`
	}
	if err := s.askEtcd(ctx, "/v3/maintenance/status", struct{}{}, &status); err != nil {
		return 0, "", err
	}
	inUse, err = status.InUse.Float64()
	return inUse, status.Header.Revision, err
}

// askEtcd by its JSON gateway.
func (s *server) askEtcd(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		s.environment.ControlPlane.Etcd.URL.String()+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	answer, err := send(request)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// send a request, and return what is answered. An answer that isn't OK is an error.
func send(request *http.Request) ([]byte, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", request.URL, response.Status, answer)
	}
	return answer, err
}
