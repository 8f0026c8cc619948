package controllers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// TestEveryReasonHasARow holds the tables of the tests beside this one to api/v1alpha1/reasons.go.
func TestEveryReasonHasARow(t *testing.T) {
	shown := map[string][]string{
		"Reasons to issue a certificate":                           nil,
		"Reasons of condition Ready=False on an MTLSCertificate":   nil,
		"Reasons of condition Ready=False on an MTLSAuthority":     nil,
		"Reasons of condition Ready=True":                          {"Issued", "Signing"},
		"Reasons of condition Stalled":                             append([]string{"Progressing"}, rotationStalls...),
		"Reasons of condition Ready=False of an authority that is": nil,
		"Reasons of events about a rotation":                       rotationTells,
		// The last two are shown by the tests of trust bundles.
		"Reasons of condition TrustDistributed": {"Distributed", "Distributing", "ConfigMapConflict", "TrustBundleRejected"},
	}
	add := func(begins, reason string) {
		first, several := map[string]string{ // groups of the reasons that belong to more than the one they stand in
			v1alpha1.ReasonInvalidSpec:     "Reasons of condition Ready=False on an MTLSCertificate",
			v1alpha1.ReasonImportedInvalid: "Reasons of condition Ready=False on an MTLSAuthority",
		}[reason]
		if !several || first == begins {
			shown[begins] = append(shown[begins], reason)
		}
	}
	for _, row := range issueRows {
		add("Reasons to issue a certificate", row.reason)
	}
	for _, row := range certificateRows {
		add("Reasons of condition Ready=False on an MTLSCertificate", row.reason)
	}
	if len(conflictRows) > 0 {
		add("Reasons of condition Ready=False on an MTLSCertificate", v1alpha1.ReasonSecretConflict)
	}
	for _, row := range authorityRows {
		add("Reasons of condition Ready=False on an MTLSAuthority", row.reason)
	}
	for _, row := range parentRows {
		add("Reasons of condition Ready=False of an authority that is", row.reason)
	}
	for _, row := range stalledRows {
		add("Reasons of condition Stalled", row.reason)
	}
	for begins, documented := range documentedReasons(t) {
		for known := range shown {
			if !strings.HasPrefix(begins, known) {
				continue
			}
			if diff := cmp.Diff(documented, uniqueSorted(shown[known])); diff != "" {
				t.Errorf("%s (-documented +shown by a test):\n%s", known, diff)
			}
			delete(shown, known)
		}
	}
	if len(shown) > 0 {
		t.Errorf("reasons.go has no group that begins with %q", slices.Collect(maps.Keys(shown)))
	}
}

func uniqueSorted(values []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}

// documentedReasons are the constants of reasons.go by the comment over their group.
func documentedReasons(t *testing.T) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "api", "v1alpha1", "reasons.go"), nil,
		parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string][]string{}
	for _, declaration := range file.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		var reasons []string
		ast.Inspect(group, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok {
				reason, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				reasons = append(reasons, reason)
			}
			return true
		})
		groups[strings.TrimSpace(group.Doc.Text())] = uniqueSorted(reasons)
	}
	return groups
}
