#!/usr/bin/env bash
# Builds the images, makes a kind cluster, runs the tests in it, and removes it, after what is needed to understand a
# failure was saved to bin/e2e. `make e2e` calls it.
#   E2E_CLUSTER=context      use this cluster of the kubeconfig instead; it must be one that can lose everything
#   E2E_KEEP=1               keep the cluster
#   E2E_UPGRADE_FROM=HEAD^   the commit whose operator is upgraded
#   E2E_LONG=1               rotate CAs with the delays that users have, see make e2e-rotation-long
#   E2E_TIMEOUT=60m          for all tests
#   E2E_FLAGS=               flags for go test, such as -run, and after -args those of e2e-framework, such as --feature
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
artifacts=$PWD/bin/e2e
scratch=$(mktemp -d)
name=e2e-$$
export KUBECONFIG=${KUBECONFIG:-}

# inspect COMMAND...: runs it into a file of the artifacts named after it; what fails doesn't matter any more
inspect() { "$@" >"$artifacts/$(tr -cs 'a-z0-9\n' - <<<"${*:2}" | cut -c -80).txt" 2>&1 || true; }

save() {
  local namespace pod
  inspect kubectl get pods,nodes --all-namespaces --output wide
  inspect kubectl describe pods --all-namespaces
  inspect kubectl get events --all-namespaces --sort-by .lastTimestamp
  inspect kubectl get mca,mcert --all-namespaces --output yaml
  inspect kubectl get deployments,pods,leases,poddisruptionbudgets --namespace mtls-system --output yaml
  inspect kubectl get secrets --all-namespaces --output go-template-file=test/e2e/secrets.gotmpl
  while read -r namespace pod; do
    inspect kubectl logs --namespace "$namespace" "$pod" --all-containers --tail 5000
    inspect kubectl logs --namespace "$namespace" "$pod" --all-containers --previous
  done < <(kubectl get pods --all-namespaces --no-headers --output custom-columns=:metadata.namespace,:metadata.name)
}

finish() {
  local status=$?
  rm -rf "$artifacts"
  mkdir -p "$artifacts"
  save
  ((status == 0)) || echo "e2e failed: logs, events and objects are in $artifacts" >&2
  if [[ -z ${E2E_CLUSTER-} && -z ${E2E_KEEP-} ]]; then
    hack/kind/cluster.sh delete "$name" || true
  else
    echo "The cluster is still there: export KUBECONFIG=$KUBECONFIG E2E_CLUSTER=${E2E_CLUSTER:-kind-$name}"
  fi
  git worktree remove --force "$scratch/previous" 2>/dev/null || true
  rm -rf "$scratch"
  exit "$status"
}

# The operator of the commit before, with its manifests, under another tag.
build_previous() {
  local commit=${E2E_UPGRADE_FROM:-HEAD^}
  git rev-parse --verify --quiet "$commit^{commit}" >/dev/null || git fetch --quiet --deepen 1 || true
  git rev-parse --verify --quiet "$commit^{commit}" >/dev/null || {
    echo "e2e: commit $commit isn't in this clone: fetch more history, or name another with E2E_UPGRADE_FROM" >&2
    exit 1
  }
  git worktree add --quiet --detach "$scratch/previous" "$commit"
  make -C "$scratch/previous" --no-print-directory image ARCHITECTURES="$architecture" IMAGE_TAG=previous >/dev/null
  sed -i 's|mtls-operator/manager:dev|mtls-operator/manager:previous|' "$scratch/previous/config/manager/deployment.yaml"
}

architecture=$(go env GOARCH)
make --no-print-directory image ARCHITECTURES="$architecture" IMAGE_PREFIX=mtls-operator IMAGE_TAG=dev >/dev/null
make --no-print-directory e2e-image IMAGE_PREFIX=mtls-operator IMAGE_TAG=dev >/dev/null
trap finish EXIT
trap 'exit 130' INT TERM
build_previous

if [[ -z ${E2E_CLUSTER-} ]]; then
  KUBECONFIG=$(mktemp "${TMPDIR:-/tmp}/$name.XXXXXX")
  hack/kind/cluster.sh create "$name" "${KIND_NODE_IMAGE-}"
fi
context=${E2E_CLUSTER:-kind-$name}
[[ $context != kind-* ]] ||
  hack/kind/cluster.sh load "${context#kind-}" mtls-operator/{manager,hello-server,hello-client,e2e-peer}:dev \
    mtls-operator/manager:previous

E2E_CONTEXT=$context E2E_PREVIOUS=$scratch/previous \
  go test -C test/e2e -tags e2e -count 1 -timeout "${E2E_TIMEOUT:-60m}" -v ${E2E_FLAGS-}
