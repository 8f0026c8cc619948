# What the demo shows and what runs behind it: headlines, commands with their output, checks, processes and their end.
# Sourced by demo.sh, which sets $work, a folder for everything that is written.

bold='' dim='' green='' red='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi
chapter=0 pids=() names=() output='' status=0

headline() {
  chapter=$((chapter + 1))
  printf '\n%s%d  %s%s\n\n' "$bold" "$chapter" "$1" "$plain"
}

# say LINE...: what a person should know here
say() {
  local line
  for line in "$@"; do
    echo "${line:+   $line}"
  done
}

held() { printf '   %s✓%s %s\n' "$green" "$plain" "$1"; }

fail() {
  printf '   %s✗ %s%s\n' "$red" "$1" "$plain"
  exit 1
}

# show COMMAND: prints the command as a person would type it, runs it, and prints what it printed. Leaves that in
# $output and the exit code in $status: what an exit code means is judged by the caller.
show() {
  status=0
  printf '   %s$ %s%s\n' "$bold" "${1//$'\n'/$'\n     '}" "$plain"
  output=$(eval "$1" 2>&1) || status=$?
  [[ -z $output ]] || sed 's/^./   &/' <<<"$output"
}

# must COMMAND: show it, and it has to succeed
must() {
  show "$1"
  ((status == 0)) || fail "that should have worked, and ended with exit code $status"
}

# launch NAME COMMAND...: runs the command in the background, its output goes into the log of that name
launch() {
  local name=$1
  shift
  "$@" >"$work/logs/$name.log" 2>&1 </dev/null &
  pids+=($!) names+=("$name")
  disown # the shell would report its end in the middle of the output
}

# await SECONDS WHAT COMMAND...: until the command succeeds
await() {
  local deadline=$((SECONDS + $1)) what=$2 i
  shift 2
  until "$@" >/dev/null 2>&1; do
    for i in "${!pids[@]}"; do
      kill -0 "${pids[i]}" 2>/dev/null || fail "${names[i]} ended by itself, its log tells why"
    done
    ((SECONDS < deadline)) || fail "waited long enough for this: $what"
    sleep 0.2
  done
}

# listening HOST PORT: somebody does
listening() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# free_port VARIABLE: sets it to a port on loopback where nobody listens, below those that the system hands out itself
free_port() {
  local -n chosen=$1
  chosen=$((${last_port:-20000 + RANDOM % 10000} + 1))
  while listening 127.0.0.1 "$chosen"; do
    chosen=$((chosen + 1))
  done
  last_port=$chosen
}

# stop PID: asks the process to end and makes sure that it does
stop() {
  local deadline=$((SECONDS + 20))
  kill "$1" 2>/dev/null || return 0
  while kill -0 "$1" 2>/dev/null; do
    ((SECONDS < deadline)) || kill -9 "$1" 2>/dev/null
    sleep 0.1
  done
}

# stop_all: last started, first stopped, since each needs those before it
stop_all() {
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    stop "${pids[i]}"
  done
}

# finish: at the end, however it came. Logs of a demo that failed are kept, its keys and tokens aren't.
finish() {
  local result=$?
  trap - EXIT
  if ((result == 0)) && [[ -n ${KEEP:-} ]]; then
    exit 0
  fi
  if ((result == 0 || result == 130 || ${#pids[@]} == 0)); then
    stop_all
    rm -rf "${work:?}"
    exit "$result"
  fi
  show_logs
  stop_all
  rm -rf "${work:?}"/{client,server,cluster}
  exit "$result"
}

show_logs() {
  local name
  for name in "${names[@]}"; do
    printf '\n%sthe last lines of %s%s\n' "$bold" "$work/logs/$name.log" "$plain"
    tail -n 8 "$work/logs/$name.log" | cut -c -400
  done
  printf '\n%sThe demo failed.%s Its logs are in %s\n' "$red" "$plain" "$work/logs"
}
