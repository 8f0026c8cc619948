package v1alpha1_test

import (
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// refusal is an object that breaks one rule of a schema.
type refusal struct {
	kind *kind
	// spec is set over the least valid one.
	spec string
	// before is the stored spec that is changed to spec; empty for a new object.
	before string
	// name of the object; "example" when empty.
	name string
	// field and message that the API server answers with.
	field, message string
}

func (r refusal) try(t *testing.T) error {
	t.Helper()
	name := r.name
	if name == "" {
		name = "example"
	}
	object := r.kind.object(t, name, r.spec)
	if r.before == "" {
		return cluster.Create(t.Context(), object, client.DryRunAll)
	}
	object.SetResourceVersion(stored(t, r.kind.object(t, name, r.before)).GetResourceVersion())
	return cluster.Update(t.Context(), object, client.DryRunAll)
}

func TestWhatARuleForbidsIsRefusedInItsWords(t *testing.T) {
	for sentence, r := range refusals {
		t.Run(sentence, func(t *testing.T) {
			all := causes(t, r.try(t))
			if !hasCause(all, r.field, r.message) {
				t.Errorf("want %q at %s, got %v", r.message, r.field, all)
			}
			if len(all) != 1 {
				t.Errorf("want nothing else to be wrong with the example, got %v", all)
			}
		})
	}
}

func TestWhatTheRulesAllowIsAccepted(t *testing.T) {
	for _, k := range kinds {
		for sentence, spec := range accepted[k] {
			t.Run(k.name+" "+sentence, func(t *testing.T) {
				if err := cluster.Create(t.Context(), k.object(t, "example", spec), client.DryRunAll); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A rule without an example would be one that nobody has seen refuse anything.
func TestEveryRuleOfTheSchemasHasARefusedExample(t *testing.T) {
	for _, k := range kinds {
		for _, n := range k.nodes() {
			for _, rule := range n.schema.XValidations {
				path := strings.TrimPrefix(n.path+rule.FieldPath, ".")
				if !exampleFor(k, path, rule.Message) {
					t.Errorf("%s: no example is refused at %s with %q", k.name, path, rule.Message)
				}
			}
		}
	}
}

func exampleFor(k *kind, path, message string) bool {
	expression := strings.NewReplacer(`\[\*\]`, `\[\d+\]`, `\[k\]`, `\[.+\]`).Replace(regexp.QuoteMeta(path))
	field := regexp.MustCompile("^" + expression + "$")
	for _, r := range refusals {
		if r.kind == k && field.MatchString(r.field) && r.message == message {
			return true
		}
	}
	return false
}

// kubectl apply keeps the object's own name as the Secret's whether it is written or not.
func TestTheNameOfTheSecretMayBeWrittenDownLater(t *testing.T) {
	for sentence, c := range map[string]struct{ before, after string }{
		"unset, then metadata.name": {"{}", "{secretName: example}"},
		"metadata.name, then unset": {"{secretName: example}", "{}"},
		"another name, unchanged":   {"{secretName: other}", "{secretName: other, duration: 24h}"},
	} {
		t.Run(sentence, func(t *testing.T) {
			changed := refusal{kind: certificate, before: c.before, spec: c.after}
			if err := changed.try(t); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestANameIsMadeByTheServerWhenAsked(t *testing.T) {
	for _, k := range kinds {
		object := k.object(t, "", "")
		object.SetGenerateName("made-")
		if err := cluster.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}
