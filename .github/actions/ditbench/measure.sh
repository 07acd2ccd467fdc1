#!/usr/bin/env bash
# Looks at the machine, then measures. It ends with 0 whatever ditbench said: what came of a night is published
# first, and conclude.sh then ends the job. A job that is cancelled ends ditbench, which saves what had ended.
set -uo pipefail

measured="${RUNNER_TEMP:?}/measured.txt"
: > "$measured"
child='' stopped=''
stop() {
  stopped=yes
  [[ -z $child ]] || kill -TERM "$child" 2> "/dev/null"
}
trap stop INT TERM

# Runs a command that a signal to this script reaches, for bash hears one only while it waits. Its log is stderr.
heard() {
  "$@" > "$measured" &
  child=$!
  local code again
  wait "$child"
  code=$?
  while [[ -n $stopped ]]; do  # it was the wait that a signal ended, and perhaps not the command
    stopped=''
    wait "$child"
    again=$?
    ((again == 127)) || code=$again
  done
  child=''
  cat "$measured"
  return "$code"
}

words=(run "$SUITE" --out "$OUT" --baselines "$BASELINES")
words+=(--baseline "${BASELINE:-$(basename "$SUITE" .yaml)}")
[[ $CONFIRM != true ]] || words+=(--confirm)
read -ra more <<< "$ARGUMENTS"

mkdir -p "$OUT"
heard "$DITBENCH" doctor --out "$OUT"
code=$?
if ((code == 0)); then
  heard "$DITBENCH" "${words[@]}" ${more[@]+"${more[@]}"}
  code=$?
fi

# The last line of a run that came to a report is its page.
page=$(tail -n 1 "$measured")
{
  echo "exit-code=$code"
  if [[ $page == */report.html && -f $page ]]; then
    echo "run=$(dirname "$page")"
    echo "report=$page"
    echo "verdict=$(dirname "$page")/verdict.json"
  fi
} >> "$GITHUB_OUTPUT"
