#!/usr/bin/env bash
# A cluster of two nodes in docker, by kind. KUBECONFIG says where its kubeconfig is written.
#   cluster.sh create NAME [NODE_IMAGE]   NODE_IMAGE: made by node-image.sh; if there is none, kind pulls its own
#   cluster.sh load NAME IMAGE...         from the local docker
#   cluster.sh delete NAME
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command=$1 name=$2
shift 2

kind() { go tool -modfile="$folder/go.mod" kind "$@"; }

# configuration OWN_IMAGE
configuration() {
  cat <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  kubeProxyMode: nftables
  disableDefaultCNI: $1 # the own image has a configuration for CNI plugins
nodes:
  - role: control-plane
  - role: worker
    kubeadmConfigPatches:
      # How soon a mounted Secret follows the Secret. The control plane keeps the default, so that both can be measured.
      - |
        kind: JoinConfiguration
        nodeRegistration:
          kubeletExtraArgs:
            sync-frequency: 10s
containerdConfigPatches:
  # Not every machine lets a container have a lower OOM score than docker gave it.
  - |
    [plugins."io.containerd.grpc.v1.cri"]
      restrict_oom_score_adj = true
kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    apiVersion: kubelet.config.k8s.io/v1beta1
    failCgroupV1: false
YAML
}

# Tells every node where the pods of the others are: there is no daemon that does.
route_pods() {
  local node pods address other control_plane="$name-control-plane" kubectl='kubectl --kubeconfig /etc/kubernetes/admin.conf'
  docker exec "$control_plane" $kubectl wait --for=jsonpath='{.spec.podCIDR}' node --all --timeout=2m >/dev/null
  docker exec "$control_plane" $kubectl get nodes --output go-template='
    {{- range .items}}{{.metadata.name}} {{.spec.podCIDR}} {{(index .status.addresses 0).address}}{{"\n"}}{{end}}' |
    while read -r node pods address; do
      for other in $(kind get nodes --name "$name"); do
        [[ $other == "$node" ]] || docker exec "$other" ip route replace "$pods" via "$address"
      done
    done
}

case $command in
create)
  if [[ -n ${1-} ]] && docker image inspect "$1" >/dev/null 2>&1; then
    configuration true | kind create cluster --name "$name" --image "$1" --config - --wait 3m
    route_pods
  else
    configuration false | kind create cluster --name "$name" --config - --wait 3m
  fi
  ;;
load) kind load docker-image --name "$name" "$@" ;;
delete) kind delete cluster --name "$name" ;;
*)
  echo "cluster.sh: unknown command \"$command\"" >&2
  exit 2
  ;;
esac
