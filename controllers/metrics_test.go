package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// listReader lists what it holds; a kind that is nil hangs like a cache that isn't filled, or fails when err is set.
type listReader struct {
	client.Reader
	certificates []v1alpha1.MTLSCertificate
	authorities  []v1alpha1.MTLSAuthority
	err          error
	copied       bool
}

func (r *listReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := (&client.ListOptions{}).ApplyOptions(opts)
	r.copied = r.copied || options.UnsafeDisableDeepCopy == nil || !*options.UnsafeDisableDeepCopy
	switch list := list.(type) {
	case *v1alpha1.MTLSCertificateList:
		if r.certificates == nil {
			return r.fail(ctx)
		}
		list.Items = r.certificates
	case *v1alpha1.MTLSAuthorityList:
		if r.authorities == nil {
			return r.fail(ctx)
		}
		list.Items = r.authorities
	}
	return nil
}

func (r *listReader) fail(ctx context.Context) error {
	if r.err != nil {
		return r.err
	}
	<-ctx.Done()
	return ctx.Err()
}

func at(unix int64) metav1.Time { return metav1.Unix(unix, 0) }

func conditions(status metav1.ConditionStatus, reason string) []metav1.Condition {
	return []metav1.Condition{
		{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonProgressing},
		{Type: v1alpha1.ConditionReady, Status: status, Reason: reason},
	}
}

func certificate(name string, status v1alpha1.MTLSCertificateStatus) v1alpha1.MTLSCertificate {
	return v1alpha1.MTLSCertificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Status:     status,
	}
}

// shop is a cluster with every case of a gauge.
func shop() *listReader {
	renewal := at(1_700_000_500)
	return &listReader{
		certificates: []v1alpha1.MTLSCertificate{
			certificate("web", v1alpha1.MTLSCertificateStatus{
				Conditions:  conditions(metav1.ConditionTrue, v1alpha1.ReasonIssued),
				Certificate: &v1alpha1.CertificateStatus{NotAfter: at(1_700_001_000), RenewalTime: &renewal},
			}),
			certificate("api", v1alpha1.MTLSCertificateStatus{
				Conditions:  conditions(metav1.ConditionTrue, v1alpha1.ReasonIssued),
				Certificate: &v1alpha1.CertificateStatus{NotAfter: at(1_700_002_000)},
			}),
			certificate("refused", v1alpha1.MTLSCertificateStatus{
				Conditions: conditions(metav1.ConditionFalse, v1alpha1.ReasonDenied),
			}),
			certificate("new", v1alpha1.MTLSCertificateStatus{ObservedGeneration: -1}),
		},
		authorities: []v1alpha1.MTLSAuthority{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "my-ca"},
			Status: v1alpha1.MTLSAuthorityStatus{
				Conditions: conditions(metav1.ConditionTrue, v1alpha1.ReasonSigning),
				Generations: []v1alpha1.GenerationStatus{
					{Number: 1, Role: "Retiring", NotAfter: at(1_710_000_000)},
					{Number: 2, Role: v1alpha1.RoleSigning, NotAfter: at(1_720_000_000)},
				},
			},
		}},
	}
}

const shopGauges = `
# HELP mtls_authorities Number of MTLSAuthorities by status and reason of condition Ready.
# TYPE mtls_authorities gauge
mtls_authorities{reason="Signing",status="True"} 1
# HELP mtls_authority_not_after_timestamp_seconds When a CA generation of an MTLSAuthority ends, in Unix time.
# TYPE mtls_authority_not_after_timestamp_seconds gauge
mtls_authority_not_after_timestamp_seconds{generation="1",name="my-ca",namespace="shop",role="Retiring"} 1.71e+09
mtls_authority_not_after_timestamp_seconds{generation="2",name="my-ca",namespace="shop",role="Signing"} 1.72e+09
# HELP mtls_certificate_not_after_timestamp_seconds When the certificate of an MTLSCertificate ends, in Unix time.
# TYPE mtls_certificate_not_after_timestamp_seconds gauge
mtls_certificate_not_after_timestamp_seconds{name="api",namespace="shop"} 1.700002e+09
mtls_certificate_not_after_timestamp_seconds{name="web",namespace="shop"} 1.700001e+09
# HELP mtls_certificate_renewal_timestamp_seconds When the certificate of an MTLSCertificate will be renewed, in Unix time.
# TYPE mtls_certificate_renewal_timestamp_seconds gauge
mtls_certificate_renewal_timestamp_seconds{name="web",namespace="shop"} 1.7000005e+09
# HELP mtls_certificates Number of MTLSCertificates by status and reason of condition Ready.
# TYPE mtls_certificates gauge
mtls_certificates{reason="",status="Unknown"} 1
mtls_certificates{reason="Denied",status="False"} 1
mtls_certificates{reason="Issued",status="True"} 2
# HELP mtls_collector_success Whether the objects of a kind could be listed for this scrape (1) or their metrics are left out (0).
# TYPE mtls_collector_success gauge
mtls_collector_success{kind="MTLSAuthority"} 1
mtls_collector_success{kind="MTLSCertificate"} 1
`

var gaugeNames = []string{
	"mtls_authorities", "mtls_authority_not_after_timestamp_seconds", "mtls_certificates",
	"mtls_certificate_not_after_timestamp_seconds", "mtls_certificate_renewal_timestamp_seconds",
	"mtls_collector_success",
}

func TestMetricsShowWhatTheCacheHoldsAtTheScrape(t *testing.T) {
	reader := shop()
	metrics := NewMetrics(reader)
	if err := testutil.CollectAndCompare(metrics, strings.NewReader(shopGauges), gaugeNames...); err != nil {
		t.Error(err)
	}
	if reader.copied {
		t.Error("a scrape copied the objects it counts")
	}

	reader.certificates = reader.certificates[2:3]
	reader.authorities = []v1alpha1.MTLSAuthority{}
	want := `
# HELP mtls_certificates Number of MTLSCertificates by status and reason of condition Ready.
# TYPE mtls_certificates gauge
mtls_certificates{reason="Denied",status="False"} 1
`
	names := gaugeNames[:len(gaugeNames)-1]
	if err := testutil.CollectAndCompare(metrics, strings.NewReader(want), names...); err != nil {
		t.Errorf("after objects were deleted: %v", err)
	}
}

func TestMetricsAreNamedAsPrometheusAsks(t *testing.T) {
	problems, err := testutil.CollectAndLint(NewMetrics(shop()))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestAKindThatCannotBeListedIsLeftOutAndSaidSo(t *testing.T) {
	const listed, failed = 1, 0
	tests := map[string]struct {
		change                    func(*listReader)
		certificates, authorities float64
	}{
		"the cache of certificates isn't filled": {
			func(r *listReader) { r.certificates = nil }, failed, listed,
		},
		"listing authorities fails": {
			func(r *listReader) { r.authorities, r.err = nil, errors.New("broken") }, listed, failed,
		},
		"no cache is filled": {
			func(r *listReader) { r.certificates, r.authorities = nil, nil }, failed, failed,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader := shop()
				test.change(reader)
				start := time.Now()
				got := gather(t, NewMetrics(reader))

				if took := time.Since(start); took > collectTimeout {
					t.Errorf("the scrape took %s, want no more than %s", took, collectTimeout)
				}
				if got["mtls_collector_success{kind=MTLSCertificate}"] != test.certificates ||
					got["mtls_collector_success{kind=MTLSAuthority}"] != test.authorities {
					t.Errorf("want success %v for certificates and %v for authorities, got %v",
						test.certificates, test.authorities, got)
				}
				_, hasCertificates := got["mtls_certificates{reason=Issued,status=True}"]
				_, hasAuthorities := got["mtls_authorities{reason=Signing,status=True}"]
				if hasCertificates != (test.certificates == listed) || hasAuthorities != (test.authorities == listed) {
					t.Errorf("want the gauges of the kinds that were listed and no others, got %v", got)
				}
			})
		})
	}
}

func TestIssuancesAreCountedByReasonAndResult(t *testing.T) {
	metrics := NewMetrics(shop())
	before := gather(t, metrics)
	for _, reason := range issueReasons {
		for _, result := range []string{resultSuccess, resultDenied, resultFailed} {
			if n, there := before["mtls_issuances_total{reason="+reason+",result="+result+"}"]; !there || n != 0 {
				t.Errorf("%s, %s begins as %v (there: %v), want 0", reason, result, n, there)
			}
		}
	}

	metrics.Issued(v1alpha1.ReasonRenewalDue, resultSuccess)
	metrics.Issued(v1alpha1.ReasonRenewalDue, resultSuccess)
	metrics.Issued(v1alpha1.ReasonRenewalDue, resultFailed)
	metrics.Issued(v1alpha1.ReasonSecretMissing, resultDenied)

	after := gather(t, metrics)
	for series, want := range map[string]float64{
		"mtls_issuances_total{reason=RenewalDue,result=success}":   2,
		"mtls_issuances_total{reason=RenewalDue,result=failed}":    1,
		"mtls_issuances_total{reason=SecretMissing,result=denied}": 1,
		"mtls_issuances_total{reason=SpecChanged,result=success}":  0,
	} {
		if after[series] != want {
			t.Errorf("%s is %v, want %v", series, after[series], want)
		}
	}
}

func TestMetricsOfTwoManagersShareNoState(t *testing.T) {
	first, second := NewMetrics(shop()), NewMetrics(shop())
	first.Issued(v1alpha1.ReasonRenewalDue, resultSuccess)
	if n := gather(t, second)["mtls_issuances_total{reason=RenewalDue,result=success}"]; n != 0 {
		t.Errorf("the second counts %v issuances of the first", n)
	}
}

// gather scrapes metrics once, as an own registry that checks descriptions and duplicates, into values by series.
func gather(t *testing.T, metrics prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(metrics); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := make([]string, 0, len(metric.GetLabel()))
			for _, pair := range metric.GetLabel() {
				labels = append(labels, pair.GetName()+"="+pair.GetValue())
			}
			series := family.GetName() + "{" + strings.Join(labels, ",") + "}"
			values[series] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return values
}
