#!/usr/bin/env bash
# How the job ends: with ditbench's own code where that is asked for, else with a warning that wakes nobody.
set -euo pipefail

case $CODE in
  0) echo "::notice title=ditbench::fine"; exit 0 ;;
  1) said="internal error" ;;
  2) said="the command, the suite or a file is wrong" ;;
  3) said="some cells failed" ;;
  4) said="performance regression, confirmed" ;;
  5) said="quality regression" ;;
  6) said="the machine was not fit to measure on: this night says nothing" ;;
  7) said="nothing could be compared with the baseline" ;;
  130) said="interrupted; --resume goes on" ;;
  *) said="ended without a code"; CODE=1; FAIL_ON=1 ;;
esac

if [[ " ${FAIL_ON//,/ } " == *" $CODE "* ]]; then
  echo "::error title=ditbench ($CODE)::$said"
  exit "$CODE"
fi
echo "::warning title=ditbench ($CODE)::$said"
