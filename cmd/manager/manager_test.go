package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestOperatorsOfOtherNamespacesHaveOtherLeases(t *testing.T) {
	seen := map[string]string{}
	for _, namespaces := range []string{"", "a", "b", "a,b", "ab", "a,b,c", "default"} {
		lease := leaseOf(list(namespaces))
		if problems := validation.IsDNS1123Subdomain(lease); len(problems) > 0 {
			t.Errorf("the Lease for %q can't be called %q: %v", namespaces, lease, problems)
		}
		if other, taken := seen[lease]; taken {
			t.Errorf("%q and %q share Lease %q", namespaces, other, lease)
		}
		seen[lease] = namespaces
	}
	if all := leaseOf(nil); all != "mtls-operator.mtls-operator.io" {
		t.Errorf("the Lease for all namespaces is %q: running replicas of other versions hold another", all)
	}
	if one, other := leaseOf(list("b,a")), leaseOf(list("a,b")); one != other {
		t.Errorf("the order of the namespaces tells apart Leases %q and %q", one, other)
	}
	names := list("b,a")
	leaseOf(names)
	if names[0] != "b" {
		t.Error("naming the Lease sorts the caller's list")
	}
}

func list(names string) []string {
	if names == "" {
		return nil
	}
	return strings.Split(names, ",")
}

func TestReadyOnlyOnceTheCachesAreFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filled := make(chan struct{})
		check := cachesFilled(func(ctx context.Context) bool {
			select {
			case <-filled:
				return true
			case <-ctx.Done():
				return false
			}
		})
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if check(request) == nil {
			t.Error("ready with empty caches")
		}
		if took := time.Since(start); took >= time.Second {
			t.Errorf("the answer took %s, later than a probe waits", took)
		}
		close(filled)
		if err := check(request); err != nil {
			t.Errorf("not ready with full caches: %v", err)
		}
	})
}

func TestTheAPIServerIsFoundByFlagAndThenByEnvironment(t *testing.T) {
	const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s.example"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
current-context: c
`
	file := func(name string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, fmt.Appendf(nil, kubeconfig, name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("KUBECONFIG", file("environment"))
	for path, want := range map[string]string{
		file("flag"): "https://flag.example",
		"":           "https://environment.example",
	} {
		got, err := loadConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Host != want {
			t.Errorf("--kubeconfig %q leads to %s, want %s", path, got.Host, want)
		}
		if got.QPS != -1 || got.RateLimiter != nil {
			t.Errorf("requests are limited to %v per second", got.QPS)
		}
		if got.UserAgent != "mtls-operator/unknown" {
			t.Errorf("the API server's audit log would show %q", got.UserAgent)
		}
	}
	if _, err := loadConfig(filepath.Join(t.TempDir(), "missing")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a file that doesn't exist gives %v, want an error that names it", err)
	}
}

func TestAKindThatIsMissingIsExplained(t *testing.T) {
	missing := fmt.Errorf("index: %w", &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "MTLSAuthority"}})
	if got := errorText(explain(missing)); !strings.Contains(got, "config/crd") || !strings.Contains(got, "MTLSAuthority") {
		t.Errorf("got %q, want what is missing and that config/crd has it", got)
	}
	other := errors.New("other")
	if got := explain(other); got != other { //nolint:errorlint // the same one, unchanged
		t.Errorf("got %v for an error that says all", got)
	}
	if got := explain(nil); got != nil {
		t.Errorf("got %v without an error", got)
	}
}

func TestLogsAreLinesInTheFormatAndLevelAskedFor(t *testing.T) {
	write := func(format string, level slog.Level) []string {
		var out strings.Builder
		log := newLogger(&out, format, level).WithValues("pod", "x")
		log.Error(errors.New("broken"), "an error")
		log.Info("a line")
		log.V(1).Info("a detail")
		log.V(5).Info("the finest detail")
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	for level, want := range map[slog.Level]int{
		slog.LevelError: 1, slog.LevelInfo: 2, slog.LevelDebug: 3, slog.Level(-maxVerbosity): 4,
	} {
		lines := write("json", level)
		if len(lines) != want {
			t.Errorf("level %v has %d lines, want %d: %q", level, len(lines), want, lines)
		}
		for i, line := range lines {
			var entry struct{ Time, Level, Msg, Pod, Err string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			name := []string{"ERROR", "INFO", "DEBUG", "DEBUG"}[i]
			if entry.Level != name || entry.Pod != "x" || entry.Time == "" || entry.Msg == "" {
				t.Errorf("want a line of level %s with time, msg and pod, got %s", name, line)
			}
			if (entry.Err == "broken") != (i == 0) {
				t.Errorf("the error is in the wrong line: %s", line)
			}
		}
	}
	for _, line := range write("text", slog.LevelInfo) {
		if !strings.HasPrefix(line, "time=") || !strings.Contains(line, " pod=x") {
			t.Errorf("want text such as time=… level=…, got %s", line)
		}
	}
}
