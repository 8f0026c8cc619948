package controllers

import (
	"cmp"
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// collectTimeout bounds the wait for a cache that isn't filled yet: less than the 10 s Prometheus gives a scrape.
const collectTimeout = 2 * time.Second

// issueReasons are the values of the label "reason" of mtls_issuances_total that exist from the start.
var issueReasons = []string{
	v1alpha1.ReasonSecretMissing, v1alpha1.ReasonSecretMalformed, v1alpha1.ReasonKeyMismatch,
	v1alpha1.ReasonIssuerChanged, v1alpha1.ReasonSpecChanged, v1alpha1.ReasonRenewalDue,
	v1alpha1.ReasonRenewalRequested,
}

var (
	collectedDesc = prometheus.NewDesc("mtls_collector_success",
		"Whether the objects of a kind could be listed for this scrape (1) or their metrics are left out (0).",
		[]string{"kind"}, nil)
	certificatesDesc = prometheus.NewDesc("mtls_certificates",
		"Number of MTLSCertificates by status and reason of condition Ready.",
		[]string{"status", "reason"}, nil)
	certificateNotAfterDesc = prometheus.NewDesc("mtls_certificate_not_after_timestamp_seconds",
		"When the certificate of an MTLSCertificate ends, in Unix time.",
		[]string{"namespace", "name"}, nil)
	certificateRenewalDesc = prometheus.NewDesc("mtls_certificate_renewal_timestamp_seconds",
		"When the certificate of an MTLSCertificate will be renewed, in Unix time.",
		[]string{"namespace", "name"}, nil)
)

// Metrics are the operator's own metrics. The gauges are made of what the reader lists at the moment of a scrape, so
// that no deleted object lives on in them and no reconcile has to keep them; the counter is told by the controllers.
//
// Every replica has the gauges, also one that waits to lead: an end that comes near is seen even when nobody leads.
// Add them up by max, not by sum.
type Metrics struct {
	reader    client.Reader
	issuances *prometheus.CounterVec
}

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics makes the metrics over what reader lists. It should be the manager's cache itself: a client that waits
// for its own writes would make scrapes wait for them too. Objects are read without a copy and never changed.
func NewMetrics(reader client.Reader) *Metrics {
	issuances := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mtls_issuances_total",
		Help: "Attempts to issue a certificate, by why it was to be issued and how that went.",
	}, []string{"reason", "result"})
	// A series that begins with its first event has no increase for an alert to see.
	for _, reason := range issueReasons {
		for _, result := range []string{resultSuccess, resultDenied, resultFailed} {
			issuances.WithLabelValues(reason, result)
		}
	}
	return &Metrics{reader: reader, issuances: issuances}
}

// Issued counts an attempt to issue: reason is one of the reasons to issue in api/v1alpha1, result one of "success",
// "denied" and "failed". Both become labels, so neither may ever hold text of users.
func (m *Metrics) Issued(reason, result string) {
	m.issuances.WithLabelValues(reason, result).Inc()
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- collectedDesc
	descs <- certificatesDesc
	descs <- certificateNotAfterDesc
	descs <- certificateRenewalDesc
	descs <- authoritiesDesc
	descs <- authorityConditionDesc
	descs <- authorityNotBeforeDesc
	descs <- authorityNotAfterDesc
	descs <- authorityCertificatesDesc
	descs <- nextRotationDesc
	descs <- rotationStageDesc
	descs <- rotationBlockersDesc
	descs <- rotationStartDesc
	descs <- rotationNextStepDesc
	m.issuances.Describe(descs)
}

// Collect implements prometheus.Collector. A kind that can't be listed, as before the cache is filled, is left out and
// mtls_collector_success says so: the other metrics are still worth having.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.issuances.Collect(out)
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()

	var certificates v1alpha1.MTLSCertificateList
	hasCertificates := m.list(ctx, out, "MTLSCertificate", &certificates)
	if hasCertificates {
		collectCertificates(out, certificates.Items)
	}
	var authorities v1alpha1.MTLSAuthorityList
	hasAuthorities := m.list(ctx, out, "MTLSAuthority", &authorities)
	if hasAuthorities {
		collectAuthorities(out, authorities.Items)
	}
	if hasCertificates && hasAuthorities {
		collectSignatures(out, authorities.Items, certificates.Items)
	}
}

// list fills into with all objects of a kind, sends whether that worked, and returns it.
func (m *Metrics) list(ctx context.Context, out chan<- prometheus.Metric, kind string, into client.ObjectList) bool {
	err := m.reader.List(ctx, into, client.UnsafeDisableDeepCopy)
	out <- gauge(collectedDesc, boolean(err == nil), kind)
	return err == nil
}

func collectCertificates(out chan<- prometheus.Metric, items []v1alpha1.MTLSCertificate) {
	count := make(readyCount)
	for i := range items {
		certificate := &items[i]
		count.add(certificate.Status.Conditions)
		issued := certificate.Status.Certificate
		if issued == nil {
			continue
		}
		out <- gauge(certificateNotAfterDesc, seconds(issued.NotAfter), certificate.Namespace, certificate.Name)
		collectTime(out, certificateRenewalDesc, issued.RenewalTime, certificate.Namespace, certificate.Name)
	}
	count.collect(out, certificatesDesc)
}

// readyCount counts objects by status and reason of condition Ready.
type readyCount map[[2]string]int

// add counts an object with these conditions; without Ready, which the operator sets on its first pass, it is Unknown.
func (c readyCount) add(conditions []metav1.Condition) {
	ready := cmp.Or(meta.FindStatusCondition(conditions, v1alpha1.ConditionReady),
		&metav1.Condition{Status: metav1.ConditionUnknown})
	c[[2]string{string(ready.Status), ready.Reason}]++
}

func (c readyCount) collect(out chan<- prometheus.Metric, desc *prometheus.Desc) {
	for labels, n := range c {
		out <- gauge(desc, float64(n), labels[:]...)
	}
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func seconds(t metav1.Time) float64 { return float64(t.Unix()) }
