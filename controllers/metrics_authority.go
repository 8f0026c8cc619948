package controllers

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// rotationStages are the values of the label "stage": each authority has a series of each.
var rotationStages = []v1alpha1.RotationStage{
	v1alpha1.StageStable, v1alpha1.StageDistributing, v1alpha1.StageReissuing, v1alpha1.StageRetiring, v1alpha1.StageLost,
}

// authorityConditions are the values of the label "type". Others than the operator may add conditions of their own, and
// those are no metrics.
var authorityConditions = []string{
	v1alpha1.ConditionReady, v1alpha1.ConditionStalled, v1alpha1.ConditionTrustDistributed,
}

var (
	authoritiesDesc = prometheus.NewDesc("mtls_authorities",
		"Number of MTLSAuthorities by status and reason of condition Ready.",
		[]string{"status", "reason"}, nil)
	authorityConditionDesc = prometheus.NewDesc("mtls_authority_condition",
		"Whether a condition of an MTLSAuthority is true (1) or false (0), by type (Ready: it can sign; Stalled: a person must "+
			"act; TrustDistributed: everybody has its roots) and the reason it has now.",
		[]string{"namespace", "name", "type", "reason"}, nil)
	authorityNotBeforeDesc = prometheus.NewDesc("mtls_authority_not_before_timestamp_seconds",
		"When a CA generation of an MTLSAuthority begins to be valid, in Unix time.",
		[]string{"namespace", "name", "generation", "role"}, nil)
	authorityNotAfterDesc = prometheus.NewDesc("mtls_authority_not_after_timestamp_seconds",
		"When a CA generation of an MTLSAuthority ends, in Unix time.",
		[]string{"namespace", "name", "generation", "role"}, nil)
	authorityCertificatesDesc = prometheus.NewDesc("mtls_authority_certificates",
		"Number of MTLSCertificates whose certificate was signed by that CA generation of the MTLSAuthority they refer to.",
		[]string{"namespace", "name", "generation"}, nil)
	nextRotationDesc = prometheus.NewDesc("mtls_authority_next_rotation_timestamp_seconds",
		"When the next CA generation of an MTLSAuthority is prepared, in Unix time; missing when none is planned, as for "+
			"imported CAs.",
		[]string{"namespace", "name"}, nil)
	rotationStageDesc = prometheus.NewDesc("mtls_authority_rotation_stage",
		"Whether an MTLSAuthority is at that stage of the change from one CA generation to the next (1) or isn't (0).",
		[]string{"namespace", "name", "stage"}, nil)
	rotationBlockersDesc = prometheus.NewDesc("mtls_authority_rotation_blockers",
		"Number of pods and objects that the rotation of an MTLSAuthority waits for and that don't follow by themselves.",
		[]string{"namespace", "name"}, nil)
	rotationStartDesc = prometheus.NewDesc("mtls_authority_rotation_start_timestamp_seconds",
		"When the rotation of an MTLSAuthority that is under way began, in Unix time; missing when none is.",
		[]string{"namespace", "name"}, nil)
	rotationNextStepDesc = prometheus.NewDesc("mtls_authority_rotation_next_step_timestamp_seconds",
		"When the rotation of an MTLSAuthority takes its next step, in Unix time; missing unless it waits for nothing but time.",
		[]string{"namespace", "name"}, nil)
)

func collectAuthorities(out chan<- prometheus.Metric, items []v1alpha1.MTLSAuthority) {
	count := make(readyCount)
	for i := range items {
		count.add(items[i].Status.Conditions)
		collectAuthority(out, &items[i])
	}
	count.collect(out, authoritiesDesc)
}

func collectAuthority(out chan<- prometheus.Metric, authority *v1alpha1.MTLSAuthority) {
	status, namespace, name := &authority.Status, authority.Namespace, authority.Name
	for _, kind := range authorityConditions {
		if condition := meta.FindStatusCondition(status.Conditions, kind); condition != nil {
			holds := boolean(condition.Status == metav1.ConditionTrue)
			out <- gauge(authorityConditionDesc, holds, namespace, name, kind, condition.Reason)
		}
	}
	for i := range status.Generations {
		generation := &status.Generations[i]
		labels := []string{namespace, name, strconv.FormatInt(generation.Number, 10), string(generation.Role)}
		out <- gauge(authorityNotBeforeDesc, seconds(generation.NotBefore), labels...)
		out <- gauge(authorityNotAfterDesc, seconds(generation.NotAfter), labels...)
	}
	collectTime(out, nextRotationDesc, status.NextRotationTime, namespace, name)
	if status.Rotation != nil {
		collectRotation(out, status.Rotation, namespace, name)
	}
}

func collectRotation(out chan<- prometheus.Metric, rotation *v1alpha1.RotationStatus, namespace, name string) {
	for _, stage := range rotationStages {
		out <- gauge(rotationStageDesc, boolean(rotation.Stage == stage), namespace, name, string(stage))
	}
	out <- gauge(rotationBlockersDesc, float64(ptr.Deref(rotation.BlockerCount, 0)), namespace, name)
	if rotation.Stage != v1alpha1.StageStable {
		collectTime(out, rotationStartDesc, rotation.StartedAt, namespace, name)
		collectTime(out, rotationNextStepDesc, rotation.NextStepTime, namespace, name)
	}
}

// collectSignatures tells how many certificates each generation signed. A generation that is no more is among them as long
// as a certificate says that it is of it, and one that signed nothing is among them as long as it exists.
//
// A certificate that refers to another authority than the one that signed it is counted for neither: whoever may edit
// certificates could make up series otherwise, and the number of a generation says nothing elsewhere.
func collectSignatures(out chan<- prometheus.Metric, authorities []v1alpha1.MTLSAuthority,
	certificates []v1alpha1.MTLSCertificate,
) {
	type signer struct {
		authority  types.NamespacedName
		generation int64
	}
	uids, count := make(map[types.NamespacedName]string, len(authorities)), make(map[signer]int)
	for i := range authorities {
		key := types.NamespacedName{Namespace: authorities[i].Namespace, Name: authorities[i].Name}
		uids[key] = string(authorities[i].UID)
		for _, generation := range authorities[i].Status.Generations {
			count[signer{key, generation.Number}] = 0
		}
	}
	for i := range certificates {
		issued, key := certificates[i].Status.Certificate, authorityKey(&certificates[i])
		uid, exists := uids[key]
		if issued == nil || !exists || issued.AuthorityUID != "" && issued.AuthorityUID != uid {
			continue
		}
		count[signer{key, issued.AuthorityGeneration}]++
	}
	for by, n := range count {
		out <- gauge(authorityCertificatesDesc, float64(n), by.authority.Namespace, by.authority.Name,
			strconv.FormatInt(by.generation, 10))
	}
}

// collectTime sends a time, if there is one.
func collectTime(out chan<- prometheus.Metric, desc *prometheus.Desc, t *metav1.Time, labels ...string) {
	if t != nil {
		out <- gauge(desc, seconds(*t), labels...)
	}
}

func boolean(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
