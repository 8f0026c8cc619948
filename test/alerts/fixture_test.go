package alerts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// root is the repository as seen from this folder.
const root = "../.."

// group and rule are what a PrometheusRule and a file of rules for Prometheus have in common.
type group struct {
	Name  string `json:"name"`
	Rules []rule `json:"rules"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// groups returns the groups of config/prometheus/rules.yaml.
func groups(t *testing.T) []group {
	t.Helper()
	var manifest struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   any    `json:"metadata"`
		Spec       struct {
			Groups []group `json:"groups"`
		} `json:"spec"`
	}
	read(t, filepath.Join(root, "config", "prometheus", "rules.yaml"), &manifest)
	if manifest.APIVersion != "monitoring.coreos.com/v1" || manifest.Kind != "PrometheusRule" {
		t.Fatalf("rules.yaml is a %s of %s", manifest.Kind, manifest.APIVersion)
	}
	return manifest.Spec.Groups
}

// rules returns all rules; each is an alert.
func rules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, group := range groups(t) {
		all = append(all, group.Rules...)
	}
	return all
}

// cases is a file of testdata. Its format is the one that promtool has for tests of rules, less what isn't needed here, and
// with "quiet": no alert but those fires until then.
type cases struct {
	EvaluationInterval model.Duration `json:"evaluation_interval"`
	Tests              []struct {
		Name        string         `json:"name"`
		Interval    model.Duration `json:"interval"`
		InputSeries []struct {
			Series string `json:"series"`
			Values string `json:"values"`
		} `json:"input_series"`
		AlertRuleTest []expectation `json:"alert_rule_test"`
		Quiet         struct {
			Until model.Duration `json:"until"`
			But   []string       `json:"but"`
		} `json:"quiet"`
	} `json:"tests"`
}

// expectation is all that an alert fires with at a time. Of its annotations only the summary is compared.
type expectation struct {
	AlertName string         `json:"alertname"`
	EvalTime  model.Duration `json:"eval_time"`
	ExpAlerts []struct {
		ExpLabels      map[string]string `json:"exp_labels"`
		ExpAnnotations map[string]string `json:"exp_annotations"`
	} `json:"exp_alerts"`
}

// caseFiles returns the files of testdata by name.
func caseFiles(t *testing.T) map[string]cases {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	all := make(map[string]cases, len(files))
	for _, file := range files {
		var content cases
		read(t, file, &content)
		all[file] = content
	}
	return all
}

// read a YAML file, which has nothing but what the type has.
func read(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(content, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// exported returns the series that a replica has while a rotation is blocked, when every metric that a rule looks at has a
// value. A test of the controllers holds the file to what they export.
func exported(t *testing.T) []labels.Labels {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "controllers", "testdata", "metrics.prom"))
	if err != nil {
		t.Fatal(err)
	}
	var all []labels.Labels
	for line := range strings.Lines(string(content)) {
		if end := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") {
			all = append(all, parseSeries(t, line[:end]))
		}
	}
	return all
}

func parseSeries(t *testing.T, text string) labels.Labels {
	t.Helper()
	series, err := parser.NewParser(parser.Options{}).ParseMetric(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return series
}
