#!/usr/bin/env bash
# Builds programs of Kubernetes, and etcd, in the versions of the go.mod beside this script.
#   build.sh FOLDER PROGRAM...
# A program that is there already in that version is kept. Each appears under its name only when it is complete, so an
# interrupted build is continued by calling this again.
set -euo pipefail

folder=$(mkdir -p "$1" && cd "$1" && pwd)
programs=("${@:2}")
cd "$(dirname "${BASH_SOURCE[0]}")"
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

etcd=go.etcd.io/etcd/server/v3
kubernetes=k8s.io/kubernetes
etcd_version=$(go list -m -f '{{.Version}}' "$etcd")
kubernetes_version=$(go list -m -f '{{.Version}}' "$kubernetes")

# is_current PROGRAM: it is there, whole, and made from the version wanted.
is_current() {
  local wanted="$kubernetes"$'\t'"$kubernetes_version"
  [[ $1 != etcd ]] || wanted="$etcd"$'\t'"$etcd_version"
  [[ -x $folder/$1 && $(go version -m "$folder/$1" 2>/dev/null) == *"$wanted"* ]]
}

# Unless they are told at link time, kubectl and the API server call themselves v0.0.0 and refuse to match others.
version_flags() {
  local major minor package
  IFS=. read -r major minor _ <<<"${kubernetes_version#v}"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- "-X $package.%s " "gitVersion=$kubernetes_version" "gitMajor=$major" "gitMinor=$minor" \
      gitTreeState=clean gitCommit=unknown buildDate=1970-01-01T00:00:00Z
  done
}

# heartbeat PROGRAM LOG TOTAL: says every 20 seconds how far a build is. What Go compiled earlier doesn't count.
heartbeat() {
  local start=$SECONDS
  while sleep 20 >/dev/null 2>&1; do
    echo "      $1: $((SECONDS - start))s, $(wc -l <"$2") of at most $3 packages compiled"
  done
}

# build PROGRAM
build() {
  local package=$kubernetes/cmd/$1 log=$scratch/$1.log start=$SECONDS status=0
  [[ $1 != etcd ]] || package=$etcd
  heartbeat "$1" "$log" "$(go list -deps "$package" | wc -l)" &
  pulse=$!
  go build -v -trimpath -ldflags "-s -w $(version_flags)" -o "$scratch/$1" "$package" 2>"$log" || status=$?
  kill "$pulse"
  if ((status != 0)); then
    tail -n 30 "$log" >&2
    exit "$status"
  fi
  mv "$scratch/$1" "$folder/$1"
  echo "      $1: built in $((SECONDS - start))s"
}

missing=()
for program in "${programs[@]}"; do
  is_current "$program" || missing+=("$program")
done
if ((${#missing[@]} == 0)); then
  echo "Kubernetes $kubernetes_version, etcd $etcd_version: $folder has ${programs[*]}"
  exit
fi

echo "Building ${missing[*]} of Kubernetes $kubernetes_version (etcd: $etcd_version) from source into $folder."
echo "The first time this takes 4 to 6 minutes on two cores."
scratch=$(mktemp -d "$folder/.build.XXXXXX")
pulse=
trap 'kill $pulse 2>/dev/null || true; rm -rf "$scratch"' EXIT
for i in "${!missing[@]}"; do
  echo "[$((i + 1))/${#missing[@]}] ${missing[i]}: compiling"
  build "${missing[i]}"
done
