#!/usr/bin/env bash
# What a night came to: the job's summary, and a folder with the page, the verdict and the exports.
# What cannot be made is a warning: it must not hide how the night ended.
set -uo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
name=$(basename "$SUITE" .yaml)
mkdir -p "$TO"

if [[ -z $RUN ]]; then
  echo "**$name**: no report, exit code ${CODE:-unknown}. The log of this job says why." \
    | tee "$TO/report.md" >> "$GITHUB_STEP_SUMMARY"
  exit 0
fi

# GitHub takes 1 MiB of summary a step.
python3 "$here/shorten.py" "$RUN/report.md" 1000000 >> "$GITHUB_STEP_SUMMARY"
for part in report.html report.md verdict.json run.json records.jsonl charts; do
  [[ ! -e $RUN/$part ]] || cp -R "$RUN/$part" "$TO/"
done
find "$RUN" -maxdepth 1 -name '*.session.jsonl' -exec cp {} "$TO/" ';'

exported() {
  "$DITBENCH" export "$RUN" --out "$OUT" --baselines "$BASELINES" --format "$1" --to "$TO/$2" > "/dev/null" \
    || echo "::warning title=ditbench export::$2 could not be written"
}
"$DITBENCH" report "$RUN" --history --out "$OUT" --to "$TO" > "/dev/null" \
  || echo "::warning title=ditbench report::the history could not be written"
exported gha smaller-is-better.json
exported gha-bigger bigger-is-better.json
exported junit junit.xml
