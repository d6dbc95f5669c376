#!/bin/sh
# A job of CI: verifies the log, decides a promotion without making it, and writes the report.
# The last line says the result. It runs in the project's folder, with `countersign` on the path.
#
#   CHECK_VERSION  MODEL/VERSION; without it, the version that was registered last
#   CHECK_ALIAS    the alias that it would get; without it, champion
#   CHECK_OUT      the folder for the report and what the commands printed; without it, countersign-report
#
# Exit code: that of `countersign verify`, else that of the promotion, else that of the report.
set -u
version=${CHECK_VERSION:-}
alias=${CHECK_ALIAS:-champion}
out=${CHECK_OUT:-countersign-report}
mkdir -p "$out" || exit 6

# Runs a command. Its output goes to a file, its messages also to the log of the job.
run() {
  file=$1
  shift
  countersign "$@" >"$out/$file" 2>"$out/$file.err"
  code=$?
  cat "$out/$file.err" >&2
  return "$code"
}

run verify.txt verify
verified=$?
cat "$out/verify.txt"

run report.txt report ${version:+"$version"} -o "$out/report"
reported=$?
cat "$out/report.txt"

# The version that the report is about.
if [ -z "$version" ]; then
  version=$(python3 -c '
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("*.json"):
    report = json.loads(path.read_bytes())
    print(report["model"] + "/" + report["version"])
' "$out/report" 2>/dev/null | tail -n 1)
fi

promoted=$reported
if [ -n "$version" ]; then
  run promote.json promote "$version" --to "$alias" --dry-run --json
  promoted=$?
fi

summary=$(python3 - "$out/promote.json" "${version:-no version}" "$alias" "$verified" "$promoted" "$reported" <<'PYTHON'
import json, sys

file, version, alias, verified, promoted, reported = sys.argv[1:]
try:
    with open(file, encoding="utf-8") as stream:
        findings = json.load(stream)["findings"]
except (OSError, ValueError, KeyError):
    findings = []
codes = ", ".join(dict.fromkeys(finding["code"] for finding in findings))
words = {"0": "would be allowed", "4": "would be refused"}
log = "verified" if verified == "0" else f"VERIFICATION FAILED (exit code {verified})"
move = words.get(promoted, f"cannot be decided (exit code {promoted})")
report = "" if reported == "0" else f"; the report ends with exit code {reported}"
line = f"countersign: {log}; {version} as {alias} {move}{': ' + codes if codes else ''}{report}"
print(" ".join(line.split()))
PYTHON
)
echo "$summary" | tee "$out/summary.txt"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
  echo "$summary" >>"$GITHUB_STEP_SUMMARY"
fi
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  echo "summary=$summary" >>"$GITHUB_OUTPUT"
fi
for code in "$verified" "$promoted" "$reported"; do
  [ "$code" -eq 0 ] || exit "$code"
done
