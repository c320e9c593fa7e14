#!/usr/bin/env bash
# Scrapes /metrics of a running weir after all kinds of answers and has promtool
# check the text: syntax, types, names, units.
#
#   tests/conformance/metrics.sh WEIR_BINARY
#
# Needs promtool (part of Prometheus) and curl.
set -euo pipefail

[ $# -eq 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
# shellcheck source-path=SCRIPTDIR source=server.sh
. "$(dirname "$0")/server.sh"
command -v promtool >/dev/null || die 'needs promtool'
start_server "$1"

status() { curl --silent --show-error --output /dev/null --write-out '%{http_code}' "$@"; }
[ "$(status --data-binary @"$root/tests/container/digit-7.png" "$base/predict")" = 200 ] || die 'a digit got no answer'
[ "$(status --data-binary text "$base/predict")" = 415 ] || die 'text is not refused'
[ "$(status "$base/predict")" = 405 ] || die 'GET is not refused'
[ "$(status "$base/nothing")" = 404 ] || die 'an unknown path is not refused'

curl --fail --silent --show-error --dump-header "$work/head" "$base/metrics" >"$work/first"
grep -qi '^content-type: text/plain; version=0.0.4' "$work/head" || die "content type: $(grep -i content-type "$work/head")"
promtool check metrics <"$work/first" || die 'promtool reports problems'
ok 'promtool reports no problem'

twice=$(grep -v '^#' "$work/first" | sed 's/ [^ ]*$//' | sort | uniq -d)
[ -z "$twice" ] || die "series that occur twice: $twice"
ok "$(grep -vc '^#' "$work/first") series, each once"

curl --fail --silent --show-error "$base/metrics" >"$work/second"
fallen=$(awk '
    /^# TYPE / { type[$3] = $4; next }
    /^#/ { next }
    {
        value = $NF; name = $0; sub(/ [^ ]*$/, "", name)
        family = name; sub(/\{.*/, "", family); base = family; sub(/_(bucket|sum|count)$/, "", base)
        rises = type[family] == "counter" || type[base] == "histogram"
        if (FNR == NR) before[name] = value
        else if (rises && value + 0 < before[name] + 0) print name, before[name], value
    }
' "$work/first" "$work/second")
[ -z "$fallen" ] || die "counters that fell: $fallen"
ok 'no counter falls'
assert_unharmed
