#!/usr/bin/env bash
# Tests a running weir against its own OpenAPI document with Schemathesis 4: sends
# valid and invalid requests to every operation and checks that each answer has a
# status, a content type, a body and headers that the document allows.
#
#   tests/conformance/schemathesis.sh PYTHON_BIN_DIR WEIR_BINARY
#
# PYTHON_BIN_DIR holds the program `schemathesis` (of the Python package of that
# name). Examples and seed are fixed: EXAMPLES (100) for each operation, SEED (1).
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
schemathesis=$1/schemathesis
# shellcheck source-path=SCRIPTDIR source=server.sh
. "$(dirname "$0")/server.sh"
[ -x "$schemathesis" ] || die "no program at $schemathesis"
# Otherwise it would unload models that the rest of this script needs, and move aliases in the repository.
export WEIR_ADMIN=off
start_server "$2"

# The stream of events has no end, which Schemathesis would wait for; tests/it/monitoring/alarms.rs reads it.
cd "$work"
# Schemathesis tries a deadline of one millisecond; if it passes, 504 is the documented answer.
printf '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]\n' >schemathesis.toml
"$schemathesis" --config-file schemathesis.toml run "$base/openapi.json" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method \
    --phases examples,coverage,fuzzing \
    --mode all \
    --max-examples "${EXAMPLES:-100}" \
    --seed "${SEED:-1}" \
    --generation-database none \
    --suppress-health-check all \
    --workers 1 \
    --exclude-path /events \
    --continue-on-failure \
    --request-timeout 30 \
    --no-color || die 'schemathesis found a problem'
ok "schemathesis, ${EXAMPLES:-100} examples for each operation"

assert_unharmed
digit=$(curl --fail --silent --show-error --data-binary @"$root/tests/container/digit-7.png" "$base/predict")
case $digit in
    *'"label":"7"'*) ok 'afterwards a known digit is known' ;;
    *) die "afterwards a 7 is not a 7: $digit" ;;
esac
