#!/usr/bin/env bash
# Builds the image of a kind node into the local docker, for machines that can't pull one: Kubernetes, etcd, containerd
# and CoreDNS from source, the rest from Debian packages, out of this machine's apt sources. Does nothing if the image is
# there.
#   node-image.sh IMAGE PROGRAMS   PROGRAMS: where hack/controlplane keeps what it compiled
set -euo pipefail
image=$1 programs=$2
cd "$(dirname "${BASH_SOURCE[0]}")"
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

if docker image inspect "$image" >/dev/null 2>&1; then
  echo "Node image: $image"
  exit
fi

# step N TITLE COMMAND...: what it prints is shown only if it fails
step() {
  local start=$SECONDS
  echo "[$1/5] $2"
  "${@:3}" >"$scratch/log" 2>&1 || {
    tail -n 30 "$scratch/log" >&2
    exit 1
  }
  echo "      $((SECONDS - start))s"
}

compile() {
  go build -trimpath -ldflags '-s -w' -tags no_aufs,no_btrfs,no_devmapper,no_zfs -o "$context" \
    github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr} ./coredns
  local kubernetes
  kubernetes=$(go -C ../controlplane list -m -f '{{.Dir}}' k8s.io/kubernetes)
  gcc -Os -static -s -DVERSION=unknown -o "$context/pause" "$kubernetes/build/pause/linux/pause.c"
}

# The packages of kind's base image, less the storage drivers and the like, and with runc and the CNI plugins.
install_packages() {
  local sources=() file packages=(
    systemd dbus runc containernetworking-plugins conntrack iptables nftables iproute2 ethtool util-linux mount kmod
    libseccomp2 bash ca-certificates curl jq procps hostname
  )
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
    [[ ! -s $file ]] || sources+=("$file")
  done
  mmdebstrap --variant=minbase --mode=root --format=tar --include="$(IFS=, && echo "${packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Languages "none"' \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$context/rootfs.tar" "${sources[@]}"
}

gather() {
  cp -r "$(go list -m -f '{{.Dir}}' sigs.k8s.io/kind)/images/base/files" "$context/kind"
  chmod -R u+w "$context/kind"
  cp "$programs"/{etcd,kubeadm,kubectl,kubelet,kube-apiserver,kube-controller-manager,kube-proxy,kube-scheduler} \
    pods.conflist "$context"
  printf %s "$version" >"$context/version"
}

# build TARGET NAME
build() { docker build --network none --target "$1" --tag "$2" --file Dockerfile "$context"; }

# program_image PROGRAM NAME: with nothing but the program
program_image() {
  tar -C "$context" -c --transform 's|^|usr/local/bin/|' "$1" |
    docker import --change "ENTRYPOINT [\"/usr/local/bin/$1\"]" - "$2"
}

# Under the names by which kubeadm and containerd look for them.
build_images() {
  local names name program
  mapfile -t names < <(
    "$programs/kubeadm" config images list --kubernetes-version "$version" | grep -v /pause:
    sed -n 's/^ *sandbox_image = "\(.*\)"/\1/p' "$context/kind/etc/containerd/config.toml"
  )
  for name in "${names[@]}"; do
    program=${name##*/} program=${program%%:*}
    if [[ $program == kube-proxy ]]; then build kube-proxy "$name"; else program_image "$program" "$name"; fi
  done
  docker save --output "$scratch/images.tar" "${names[@]}"
  build node "$image-bare"
}

# Puts the images where the node's containerd looks for them. It isn't allowed to unpack them here, the node does that.
import_images() {
  docker run --name "$container" --network none --security-opt seccomp=unconfined \
    --volume "$scratch/images.tar:/images.tar:ro" --entrypoint bash "$image-bare" -euc '
      containerd &
      until ctr version; do sleep 0.2; done
      ctr --namespace k8s.io images import --no-unpack --digests --label io.cri-containerd.pinned=pinned /images.tar
      kill $!
      wait'
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' "$container" "$image"
  docker rm "$container"
  docker rmi "$image-bare"
}

scratch=$(mktemp -d) container=kind-node-image-$$
trap 'rm -rf "$scratch"; docker rm "$container" >/dev/null 2>&1 || true' EXIT
context=$scratch/context
mkdir "$context"
version=$(go -C ../controlplane list -m -f '{{.Version}}' k8s.io/kubernetes)

echo "Building $image. The first time this takes 4 to 6 minutes on two cores."
step 1 'compile containerd, CoreDNS and pause' compile
step 2 'install Debian packages into a folder' install_packages
step 3 'gather files' gather
step 4 'build images' build_images
step 5 'import the images of the control plane' import_images
