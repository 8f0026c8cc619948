# A Kubernetes API server of one's own on loopback, and the part of kubelet that the demo needs.
# Sourced by demo.sh after stage.sh.

# start_api_server: etcd, then kube-apiserver, with RBAC. Exports a KUBECONFIG for its administrator.
start_api_server() {
  local folder=$work/cluster etcd_port etcd_peer_port api_port
  mkdir -p "$folder"
  free_port etcd_port
  free_port etcd_peer_port
  free_port api_port
  launch etcd etcd --data-dir "$folder/etcd" --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$etcd_peer_port"

  openssl ecparam -name prime256v1 -genkey -noout -out "$folder/service-accounts.key"
  openssl rand -hex 32 >"$folder/admin.token"
  printf '%s,admin,admin,system:masters\n' "$(<"$folder/admin.token")" >"$folder/tokens.csv"
  # No controller makes the ServiceAccounts that the plugin would wait for, and nobody is told of a loopback address.
  launch kube-apiserver kube-apiserver --etcd-servers "http://127.0.0.1:$etcd_port" --cert-dir "$folder" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$api_port" --endpoint-reconciler-type none \
    --service-cluster-ip-range 10.0.0.0/24 --authorization-mode RBAC --token-auth-file "$folder/tokens.csv" \
    --disable-admission-plugins ServiceAccount --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$folder/service-accounts.key" \
    --service-account-signing-key-file "$folder/service-accounts.key"

  server=https://127.0.0.1:$api_port
  write_kubeconfig admin
  export KUBECONFIG=$folder/admin.kubeconfig
  await 120 'the API server being ready' kubectl get --raw /readyz
  await 120 'the namespace "default"' kubectl get namespace default
}

# write_kubeconfig USER: of who holds the token in USER.token
write_kubeconfig() {
  cat >"$work/cluster/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: demo
clusters:
  - name: demo
    cluster: {server: "$server", certificate-authority: "$work/cluster/apiserver.crt"}
users:
  - name: "$1"
    user: {tokenFile: "$work/cluster/$1.token"}
contexts:
  - name: demo
    context: {cluster: demo, user: "$1", namespace: default}
YAML
}

# play_kubelet SECRET FOLDER: keeps the folder as kubelet keeps a volume, only quicker
play_kubelet() {
  while mount_secret "$1" "$2" || true; do
    sleep 1
  done
}

# mount_secret SECRET FOLDER: writes the files of one version of the Secret beside those of the previous one, and swaps
# them all in one rename of ..data. A reader sees the one or the other, never a key of this and a certificate of that.
mount_secret() {
  local folder=$2 version certificate key roots previous
  read -r version certificate key roots < <(kubectl get secret "$1" -o go-template='{{.metadata.resourceVersion}} {{
    index .data "tls.crt"}} {{index .data "tls.key"}} {{index .data "ca.crt"}}{{"\n"}}') || return 1
  previous=$(readlink "$folder/..data" || true)
  [[ $previous != "..$version" ]] || return 0

  rm -rf "${folder:?}/..$version"
  mkdir -p "$folder/..$version"
  openssl base64 -d -A <<<"$certificate" >"$folder/..$version/tls.crt" &&
    openssl base64 -d -A <<<"$key" >"$folder/..$version/tls.key" &&
    openssl base64 -d -A <<<"$roots" >"$folder/..$version/ca.crt" || return 1
  ln -sfn "..$version" "$folder/..data_tmp"
  mv -fT "$folder/..data_tmp" "$folder/..data" 2>/dev/null || mv -fh "$folder/..data_tmp" "$folder/..data" # GNU or BSD
  [[ -z $previous ]] || rm -rf "${folder:?}/$previous"
  ln -sf ..data/tls.crt ..data/tls.key ..data/ca.crt "$folder/"
}
