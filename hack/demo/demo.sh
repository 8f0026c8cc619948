#!/usr/bin/env bash
# Shows mutual TLS from two custom resources to curl, on an API server that is started for it, and checks each step: the
# exit code is 0 only if all of it held. `make demo` builds what this needs and calls it.
#   PORT=3001   where the hello server listens (3000)
#   KEEP=1      leave everything running at the end
set -euo pipefail
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${KUBEBUILDER_ASSETS:?is not set: run \"make demo\", which builds etcd, kube-apiserver and kubectl first}"
export PATH=$KUBEBUILDER_ASSETS:$PWD/bin:$PATH
export no_proxy=localhost,127.0.0.1 NO_PROXY=localhost,127.0.0.1
port=${PORT:-3000} started=$SECONDS

work=$(mktemp -d "${TMPDIR:-/tmp}/mtls-demo.XXXXXX")
mkdir "$work"/{logs,client,server}
. hack/demo/stage.sh
. hack/demo/cluster.sh
trap finish EXIT
trap 'exit 130' INT TERM

check_requirements() {
  local program
  for program in curl openssl etcd kube-apiserver kubectl manager hello-server; do
    command -v "$program" >/dev/null ||
      fail "$program is missing: install curl and openssl, \"make demo\" builds the rest"
  done
  [[ $port =~ ^[1-9][0-9]{0,4}$ ]] && ((port < 65536)) || fail "PORT is \"$port\": give a number such as 3000"
  ! listening localhost "$port" ||
    fail "port $port is taken: stop what listens there, or take another: PORT=3001 make demo"
}

start_operator() {
  local user=system:serviceaccount:mtls-system:mtls-operator health
  must 'kubectl apply -k config/default'
  must 'kubectl wait --for=condition=Established crd --all --timeout=120s'
  say '' 'No kubelet runs the pods of that Deployment here, so the same program runs as a process. It has the token' \
    "of the operator's ServiceAccount, and with it the rights in config/rbac and no others:" ''
  show "kubectl auth can-i '*' '*' --as=$user"
  [[ $output == no ]] || fail 'the operator must not be allowed everything'
  must "kubectl auth can-i create secrets --as=$user"

  kubectl create token mtls-operator --namespace mtls-system --duration 24h >"$work/cluster/mtls-operator.token"
  write_kubeconfig mtls-operator
  free_port health
  launch manager manager --kubeconfig "$work/cluster/mtls-operator.kubeconfig" --leader-elect \
    --leader-election-namespace mtls-system --metrics-bind-address 0 --health-probe-bind-address "127.0.0.1:$health" \
    --log-format text
  await 120 'the operator being ready' curl -fsS "http://127.0.0.1:$health/readyz"
  held "manager $(manager --version) is ready"
}

make_certificates() {
  must "grep -v '^ *#' config/samples/my-ca.yaml"
  say ''
  must "grep -v '^ *#' config/samples/hello-server.yaml"
  say ''
  must 'kubectl apply -f config/samples'
  must 'kubectl wait --for=condition=Ready mca/my-ca mcert/hello-server mcert/my-client --timeout=120s'
  say ''
  must 'kubectl get mca,mcert'
  say ''
  must 'kubectl get secrets'
}

start_server() {
  say "Everything from here on happens in $work" ''
  cd "$work"
  await 120 'the files of Secret hello-server' mount_secret hello-server server
  launch kubelet play_kubelet hello-server server
  say "The server's files come from Secret hello-server, kept up to date the way kubelet keeps a volume:" ''
  must 'ls server'
  say "${bold}\$ hello-server --addr localhost:$port --dir server --allow my-client &${plain}"
  launch hello-server hello-server --addr "localhost:$port" --dir server --allow my-client
  server_pid=${pids[-1]}
  await 120 "the server listening on port $port" listening localhost "$port"
  say '' "The client's come from Secret my-client:" ''
  must 'for file in tls.crt tls.key ca.crt; do
  kubectl get secret my-client -o go-template="{{index .data \"$file\" | base64decode}}" > client/$file
done'
}

greet() {
  must "curl -sS --cacert client/ca.crt --cert client/tls.crt --key client/tls.key https://localhost:$port"
  [[ $output == 'Hello World' ]] || fail 'the answer should have been Hello World'
}

ask_in_three_ways() {
  greet
  held 'both sides proved who they are'

  say '' 'Without the roots of my-ca the client has no reason to trust the server:' ''
  show "curl -sS --cert client/tls.crt --key client/tls.key https://localhost:$port"
  ((status == 60)) || fail "curl should have ended with 60 and did with $status"
  held 'curl refused the server: exit code 60'

  say '' 'Without a certificate the server has no reason to talk to the client:' ''
  show "curl -sS --http1.1 --cacert client/ca.crt https://localhost:$port"
  # Which of the three depends on whether curl hears the refusal while it connects, sends or receives.
  [[ $status == 35 || $status == 55 || $status == 56 ]] || fail "curl should have ended with 56 and did with $status"
  await 120 'the server telling why it refused' grep -q "client didn't provide a certificate" logs/hello-server.log
  held "the server refused the client: exit code $status"
}

# What shows the certificate that the server has in use.
look="openssl s_client -connect localhost:$port -CAfile client/ca.crt -cert client/tls.crt -key client/tls.key \\
    </dev/null 2>/dev/null | openssl x509 -noout -serial -dates"

# serial_served: of the certificate that the server shows, in hex without leading zeros
serial_served() { eval "$look" | sed -n 's/^serial=0*//p' | tr A-F a-f; }

# serial_wanted: of the certificate that the operator made last, in the same form
serial_wanted() {
  kubectl get mcert hello-server -o jsonpath='{.status.certificate.serialNumber}' | sed 's/^0*//' | tr A-F a-f
}

serial_is_other_than() { [[ $(serial_wanted) != "$1" ]]; }
serial_is_served() { [[ $(serial_served) == "$1" ]]; }

renew() {
  local before after
  must "$look"
  before=$(serial_wanted)
  serial_is_served "$before" || fail "the server shows another certificate than the one in status: $before"
  say ''
  must "kubectl annotate mcert hello-server mtls-operator.io/renew-requested-at=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  say '' 'The operator writes the Secret, the volume follows the Secret, the server follows the volume:' ''
  await 120 'a new certificate' serial_is_other_than "$before"
  after=$(serial_wanted)
  await 120 'the server showing the new certificate' serial_is_served "$after"
  must "$look"
  greet
  kill -0 "$server_pid" || fail 'the server should not have ended'
  held "the same process, pid $server_pid, shows the new certificate"
}

# A manager that lacks a right may get by, without its events for example, and nobody would notice.
check_rights() {
  ! grep -i forbidden logs/manager.log || fail 'the operator asked for something that config/rbac does not give it'
}

# say_how_to_use: KEEP=1
say_how_to_use() {
  {
    printf '#!/usr/bin/env bash\n%s\n' "$(declare -f stop stop_all)"
    printf 'pids=(%s)\nstop_all\nrm -rf %q\n' "${pids[*]}" "$work"
  } >"$work/stop"
  chmod +x "$work/stop"
  headline 'It is still running'
  say "export KUBECONFIG=$KUBECONFIG" "export PATH=$KUBEBUILDER_ASSETS:\$PATH" "cd $work" \
    "curl --cacert client/ca.crt --cert client/tls.crt --key client/tls.key https://localhost:$port" '' \
    "Logs are in $work/logs. To end all of it and remove the folder:" '' "$work/stop"
}

check_requirements
headline 'A Kubernetes API server'
start_api_server
held "$(kube-apiserver --version) answers on $server, with RBAC in force"
headline 'The operator'
start_operator
headline 'One object makes a CA, one object makes a certificate'
make_certificates
headline 'Mutual TLS'
start_server
say ''
ask_in_three_ways
headline 'Renewal, without a restart'
renew
check_rights
printf '\n%sAll of it held, in %d seconds.%s\n' "$bold" "$((SECONDS - started))" "$plain"
[[ -z ${KEEP:-} ]] || say_how_to_use
