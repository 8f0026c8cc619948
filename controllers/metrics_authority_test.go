package controllers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// authorityGaugeNames are the gauges of single authorities.
var authorityGaugeNames = []string{
	"mtls_authority_certificates", "mtls_authority_condition", "mtls_authority_next_rotation_timestamp_seconds",
	"mtls_authority_not_before_timestamp_seconds", "mtls_authority_rotation_blockers",
	"mtls_authority_rotation_next_step_timestamp_seconds", "mtls_authority_rotation_stage",
	"mtls_authority_rotation_start_timestamp_seconds",
}

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason}
}

// signed is a certificate in a namespace that refers to my-ca in shop; the object with that UID signed it.
func signed(namespace, name string, generation int64, uid string) v1alpha1.MTLSCertificate {
	return v1alpha1.MTLSCertificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.MTLSCertificateSpec{AuthorityRef: v1alpha1.AuthorityRef{Namespace: "shop", Name: "my-ca"}},
		Status: v1alpha1.MTLSCertificateStatus{Certificate: &v1alpha1.CertificateStatus{
			NotAfter: at(1_700_001_000), RenewalTime: new(at(1_700_000_500)),
			AuthorityGeneration: generation, AuthorityUID: uid,
		}},
	}
}

// inRotation is a cluster where the change of a CA waits for a pod, with every gauge there is.
func inRotation() *listReader {
	due, started, step := at(1_708_000_000), at(1_708_000_100), at(1_708_000_400)
	return &listReader{
		certificates: []v1alpha1.MTLSCertificate{
			signed("shop", "web", 2, "uid"), signed("shop", "api", 2, "uid"), signed("other", "cart", 1, "uid"),
		},
		authorities: []v1alpha1.MTLSAuthority{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "my-ca", UID: "uid"},
			Status: v1alpha1.MTLSAuthorityStatus{
				Conditions: []metav1.Condition{
					condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSigning),
					condition(v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonRotationBlocked),
					condition(v1alpha1.ConditionTrustDistributed, metav1.ConditionFalse, v1alpha1.ReasonDistributing),
					condition("Audited", metav1.ConditionTrue, "ByHand"), // somebody else's
				},
				Generations: []v1alpha1.GenerationStatus{
					{Number: 2, Role: v1alpha1.RoleSigning, NotBefore: at(1_700_000_000), NotAfter: at(1_712_000_000)},
					{Number: 3, Role: v1alpha1.RoleNext, NotBefore: started, NotAfter: at(1_720_000_000)},
				},
				NextRotationTime: &due,
				Rotation: &v1alpha1.RotationStatus{
					Stage: v1alpha1.StageDistributing, StartedAt: &started, NextStepTime: &step, BlockerCount: new(int32(17)),
				},
			},
		}},
	}
}

// stand makes the metrics that client-go keeps for whoever may become the leader.
func stand(t *testing.T) {
	t.Helper()
	_, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name:          "mtls-operator.mtls-operator.io",
		Lock:          &resourcelock.LeaseLock{LockConfig: resourcelock.ResourceLockConfig{Identity: "me"}},
		LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: time.Second,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// test/alerts evaluates the alerts of config/prometheus on the series of this file, and on no others.
func TestMetricsTellHowFarARotationIs(t *testing.T) {
	expected, err := os.Open(filepath.Join("testdata", "metrics.prom"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = expected.Close() }()
	owned, metrics := prometheus.NewPedanticRegistry(), NewMetrics(inRotation())
	if err := owned.Register(metrics); err != nil {
		t.Fatal(err)
	}
	stand(t)
	names := slices.Concat(gaugeNames, authorityGaugeNames, []string{"mtls_issuances_total", "leader_election_master_status"})
	all := prometheus.Gatherers{owned, ctrlmetrics.Registry}
	if err := testutil.GatherAndCompare(all, expected, names...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

// What is over has no series: an alert would go on with the last one.
func TestARotationThatIsOverHasNoTimes(t *testing.T) {
	reader := inRotation()
	status := &reader.authorities[0].Status
	status.Rotation.Stage, status.NextRotationTime = v1alpha1.StageStable, nil
	got := gather(t, NewMetrics(reader))

	for series := range got {
		for _, name := range []string{"rotation_start", "next_step", "next_rotation"} {
			if strings.HasPrefix(series, "mtls_authority_") && strings.Contains(series, name) {
				t.Errorf("%s is there, and nothing is under way or planned", series)
			}
		}
	}
	if stable := "mtls_authority_rotation_stage{name=my-ca,namespace=shop,stage=Stable}"; got[stable] != 1 {
		t.Errorf("%s is %v, want 1", stable, got[stable])
	}
}

func TestAnAuthorityThatNobodyHasSeenYetIsCountedAndNoMore(t *testing.T) {
	reader := inRotation()
	reader.authorities[0].Status = v1alpha1.MTLSAuthorityStatus{ObservedGeneration: -1}
	reader.certificates = []v1alpha1.MTLSCertificate{}
	for series := range gather(t, NewMetrics(reader)) {
		if strings.HasPrefix(series, "mtls_authority_") {
			t.Errorf("there is %s", series)
		}
	}
}

func TestEveryStageHasASeries(t *testing.T) {
	for _, stage := range rotationStages {
		reader := inRotation()
		reader.authorities[0].Status.Rotation.Stage = stage
		sum := 0.0
		for series, value := range gather(t, NewMetrics(reader)) {
			if strings.HasPrefix(series, "mtls_authority_rotation_stage{") {
				sum += value
			}
			if strings.HasSuffix(series, ",stage="+string(stage)+"}") && value != 1 {
				t.Errorf("at stage %s, %s is %v", stage, series, value)
			}
		}
		if sum != 1 {
			t.Errorf("%s is one of %v stages at a time, want 1", stage, sum)
		}
	}
}

func TestCertificatesAreCountedForTheAuthorityThatSignedThem(t *testing.T) {
	const first, second, third = "1", "2", "3"
	tests := map[string]struct {
		certificate v1alpha1.MTLSCertificate
		counted     string // the generation, empty for none
	}{
		"by the generation that signs":               {signed("shop", "one", 2, "uid"), second},
		"from another namespace":                     {signed("other", "one", 2, "uid"), second},
		"by a generation that is no more":            {signed("shop", "one", 1, "uid"), first},
		"by the generation before, as told long ago": {signed("shop", "one", 1, ""), first},
		"by the next one already":                    {signed("shop", "one", 3, "uid"), third},
		"by an authority of that name before this":   {signed("shop", "one", 2, "older"), ""},
		"nothing issued yet": {v1alpha1.MTLSCertificate{
			Spec: signed("shop", "one", 2, "uid").Spec,
		}, ""},
		"of an authority that doesn't exist": {func() v1alpha1.MTLSCertificate {
			certificate := signed("shop", "one", 2, "")
			certificate.Spec.AuthorityRef.Name = "made-up"
			return certificate
		}(), ""},
		"of an authority in its own namespace": {func() v1alpha1.MTLSCertificate {
			certificate := signed("shop", "one", 2, "uid")
			certificate.Spec.AuthorityRef.Namespace = ""
			return certificate
		}(), second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reader := inRotation()
			reader.certificates = []v1alpha1.MTLSCertificate{test.certificate}
			total, counted := 0.0, ""
			for series, value := range gather(t, NewMetrics(reader)) {
				generation, found := strings.CutPrefix(series, "mtls_authority_certificates{generation=")
				if found && value > 0 {
					total += value
					counted, _, _ = strings.Cut(generation, ",")
					if !strings.HasSuffix(series, "name=my-ca,namespace=shop}") {
						t.Errorf("counted as %s", series)
					}
				}
			}
			if counted != test.counted || total > 1 {
				t.Errorf("counted %v times, for generation %q, want %q", total, counted, test.counted)
			}
		})
	}
}

// Zeros for certificates that couldn't be listed would say that none is left.
func TestSignaturesAreCountedOnlyWhenAllIsKnown(t *testing.T) {
	for name, change := range map[string]func(*listReader){
		"certificates": func(r *listReader) { r.certificates = nil },
		"authorities":  func(r *listReader) { r.authorities = nil },
	} {
		reader := inRotation()
		reader.err = errors.New("broken")
		change(reader)
		for series := range gather(t, NewMetrics(reader)) {
			if strings.HasPrefix(series, "mtls_authority_certificates") {
				t.Errorf("without %s there is %s", name, series)
			}
		}
	}
}
