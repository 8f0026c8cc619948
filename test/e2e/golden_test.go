//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// update is registered before envconf.NewFromFlags parses. With make: E2E_FLAGS='-args -update -feature output'.
var update = flag.Bool("update", false, "write what kubectl shows to testdata instead of comparing it")

// shown is a command of kubectl and the file that has what it shows. Input, if any, is YAML on its standard input.
type shown struct {
	file, command, input string
}

// wantShown compares what kubectl shows with the file. It asks again for a while: events come after what they tell of.
func (s *scene) wantShown(t *testing.T, c shown) {
	t.Helper()
	file := filepath.Join("testdata", "output", c.file+".txt")
	if *update {
		must(t, os.WriteFile(file, []byte(s.show(t, c)), 0o600))
		return
	}
	await(t, file, shortly, func(ctx context.Context) error {
		diff := exec.CommandContext(ctx, "diff", "--unified", file, "-")
		diff.Stdin = strings.NewReader(s.show(t, c))
		if code, differences := run(t, diff); code != 0 {
			return fmt.Errorf("it isn't what kubectl shows:\n%s", differences)
		}
		return nil
	})
}

// show is a terminal's view of the command: what is typed, what is printed, and the exit code if it tells of a failure.
func (s *scene) show(t *testing.T, c shown) string {
	t.Helper()
	args := strings.Fields(c.command)
	command := exec.CommandContext(t.Context(), "kubectl",
		append([]string{"--context", inCluster, "--namespace", s.namespace}, args...)...)
	command.Stdin = strings.NewReader(c.input)
	code, output := run(t, command)
	if args[0] == "get" {
		output = tables(output)
	}
	text := "$ kubectl " + c.command
	if c.input != "" {
		text += " <<YAML\n" + strings.TrimSpace(c.input) + "\nYAML"
	}
	text += "\n" + strings.TrimRight(normalized(output), "\n") + "\n"
	if code != 0 {
		text += fmt.Sprintf("[exit code %d]\n", code)
	}
	return text
}

// varying is what differs from run to run, with what stands for it.
var varying = []struct {
	pattern     *regexp.Regexp
	placeholder string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "<time>"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "<uid>"},
	{regexp.MustCompile(`(Resource Version: +)\d+`), "${1}<version>"},
	{regexp.MustCompile(`(Key ID: +)[0-9a-f]{40}`), "${1}<key id>"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<sha-256>"},
	{regexp.MustCompile(`\b[0-9a-f]{26,40}\b`), "<serial number>"},
	// The events of kubectl describe.
	{regexp.MustCompile(`(?m)^  (Normal|Warning) +(\S+) +\d\S*( \(x\d+ over \S+\))? +(\S+) +`), "  $1  $2  <age>  $4  "},
	{regexp.MustCompile(`(?m)^ +Type +Reason +Age +From +Message\n.*$`), "  Type  Reason  Age  From  Message"},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func normalized(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.placeholder)
	}
	return text
}

var columnTitle = regexp.MustCompile(`\S+( \S+)*`)

// tables lays the tables of kubectl get out anew: with placeholders the columns have other widths.
func tables(text string) string {
	var all []string
	for table := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n\n") {
		lines := strings.Split(table, "\n")
		titles := columnTitle.FindAllStringIndex(lines[0], -1)
		var laidOut strings.Builder
		w := tabwriter.NewWriter(&laidOut, 0, 0, 3, ' ', 0)
		for i, line := range lines {
			row := cells(line, titles)
			for column, title := range titles {
				if name := lines[0][title[0]:title[1]]; i > 0 && (name == "AGE" || name == "LAST SEEN") {
					row[column] = "<age>"
				}
			}
			fmt.Fprintln(w, normalized(strings.Join(row, "\t")))
		}
		_ = w.Flush() // a Builder takes everything
		all = append(all, laidOut.String())
	}
	return strings.Join(all, "\n")
}

// cells cuts a line where the titles of the columns begin.
func cells(line string, titles [][]int) []string {
	row := make([]string, len(titles))
	for i, title := range slices.Backward(titles) {
		if begin := title[0]; begin < len(line) {
			row[i], line = strings.TrimSpace(line[begin:]), line[:begin]
		}
	}
	return row
}
