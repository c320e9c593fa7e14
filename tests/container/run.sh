#!/usr/bin/env bash
# Builds the image from the Dockerfile, inspects its contents, runs it as it is
# meant to be run (no privileges, nothing writable) and uses it: health, a
# prediction, the metrics, SIGTERM. With --onnxruntime it then does the same, in
# short, with the image that holds ONNX Runtime.
#
# Installs nothing. Everything it starts is removed when it ends; only the image
# stays, as WEIR_IMAGE (weir:test). Needs a docker engine; the base image is
# pulled, or replaced by a stand-in where that is impossible (see base-image.sh).
#
#   tests/container/run.sh [--onnxruntime] [folder with the Dockerfile]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
with_onnxruntime=false
if [ "${1:-}" = --onnxruntime ]; then with_onnxruntime=true; shift; fi
context=$(cd "${1:-$here/../..}" && pwd)
image=${WEIR_IMAGE:-weir:test}
max_mb=${WEIR_IMAGE_MAX_MB:-60}
max_onnxruntime_mb=${WEIR_ONNXRUNTIME_IMAGE_MAX_MB:-120}
container=weir-test-$$
work=$(mktemp -d)

step() { printf '\n== %s\n' "$*"; }
ok() { printf 'ok    %s\n' "$*"; passed=$((passed + 1)); }
die() { printf 'FAIL  %s\n' "$*" >&2; exit 1; }
passed=0

finish() {
    status=$?
    if [ "$status" -ne 0 ] && docker container inspect "$container" >/dev/null 2>&1; then
        echo "-- the last lines of the container's log:" >&2
        docker logs --tail 40 "$container" >&2 || true
    fi
    docker rm -fv "$container" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

step 'tools'
while read -r tool package; do
    command -v "$tool" >/dev/null || die "needs '$tool': apt-get install $package"
done <<'TOOLS'
docker docker.io
promtool prometheus
curl curl
python3 python3
readelf binutils
TOOLS
docker version >/dev/null 2>&1 || die 'the docker engine does not answer (is the daemon running?)'
ok 'docker, promtool, curl, python3, readelf'

step 'base image'
"$here/base-image.sh" "$context/Dockerfile"

step "docker build -t $image $context"
started=$SECONDS
docker build --force-rm --target static --tag "$image" \
    --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' "$context/Cargo.toml" | head -n 1)" \
    --build-arg REVISION="$(git -C "$context" rev-parse --verify --quiet HEAD 2>/dev/null || echo unknown)" \
    --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    "$context" >"$work/build.log" 2>&1 || { tail -n 60 "$work/build.log" >&2; die 'docker build'; }
ok "built in $((SECONDS - started)) s"

step 'contents'
look() { docker image inspect --format "$1" "$image"; }
bytes=$(look '{{.Size}}')
[ "$bytes" -le $((max_mb * 1000000)) ] || die "image of $bytes bytes, more than $max_mb MB"
ok "size $(awk "BEGIN { printf \"%.1f\", $bytes / 1e6 }") MB, at most $max_mb MB"
[ "$(look '{{len .RootFS.Layers}}')" = 1 ] || die "$(look '{{len .RootFS.Layers}}') layers instead of one"
ok 'one layer'
[ "$(look '{{.Config.User}}')" = 65532:65532 ] || die "user is '$(look '{{.Config.User}}')'"
ok 'user 65532:65532'
[ "$(look '{{.Config.StopSignal}}')" = SIGTERM ] || die "stop signal is '$(look '{{.Config.StopSignal}}')'"
ok 'stops by SIGTERM'
for label in title description version revision created licenses; do
    [ -n "$(look "{{index .Config.Labels \"org.opencontainers.image.$label\"}}")" ] || die "no label $label"
done
ok "labels: weir $(look '{{index .Config.Labels "org.opencontainers.image.version"}}')"

docker create --name "$container" "$image" >/dev/null
docker cp "$container:/weir" "$work/weir"
docker cp "$container:/licenses/third-party.tar.gz" "$work/texts.tar.gz"
texts=$(tar -tzf "$work/texts.tar.gz" | grep -c '\.txt$')
docker export "$container" | tar -tf - >"$work/files"
docker rm -v "$container" >/dev/null
readelf --program-headers --wide "$work/weir" >"$work/headers"
readelf --dynamic --wide "$work/weir" >"$work/dynamic"
if grep -q INTERP "$work/headers"; then die '/weir needs a dynamic loader'; fi
if grep -q NEEDED "$work/dynamic"; then die "/weir needs shared libraries: $(grep NEEDED "$work/dynamic")"; fi
ok '/weir is static'
if grep -E '^(usr|bin|lib|root|src)(/|$)' "$work/files"; then die 'the image holds more than Weir'; fi
grep -q '^models/.*/model\.onnx$' "$work/files" || die '/models holds no model'
grep -q '^licenses/THIRD-PARTY\.txt$' "$work/files" || die '/licenses holds no licences'
docker run --rm "$image" licenses >"$work/licenses.txt" || die 'weir licenses'
grep -q '^ring-[0-9.]*: ' "$work/licenses.txt" || die 'weir licenses does not list ring'
docker run --rm "$image" licenses --sbom >"$work/sbom.json" || die 'weir licenses --sbom'
python3 "$here/../conformance/sbom.py" "$work/sbom.json" "$context/Cargo.lock" || die 'the bill of materials'
ok "no shell, no libraries; $(grep -c 'model\.onnx$' "$work/files") model version(s), $texts licence texts"

step 'run it'
docker run --detach --name "$container" --read-only --cap-drop ALL --security-opt no-new-privileges \
    --publish 127.0.0.1::8080 --health-interval 1s "$image" >/dev/null
for _ in $(seq 60); do
    health=$(docker inspect --format '{{.State.Status}}/{{with .State.Health}}{{.Status}}{{end}}' "$container")
    case $health in running/starting) sleep 0.5 ;; *) break ;; esac
done
[ "$health" = running/healthy ] || die "container is $health after its start"
ok "container is $health"
address=$(docker port "$container" 8080/tcp | head -n 1)
ok "http://$address"

step 'use it'
curl --fail-with-body --silent --show-error --max-time 10 --header 'content-type: image/png' \
    --data-binary "@$here/digit-7.png" "http://$address/predict" >"$work/answer.json" ||
    die "POST /predict: $(cat "$work/answer.json")"
label=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["predictions"][0]["label"])' <"$work/answer.json") ||
    die "POST /predict answered $(cat "$work/answer.json")"
[ "$label" = 7 ] || die "the picture of a 7 was read as '$label': $(cat "$work/answer.json")"
ok 'POST /predict: a 7 is read as 7'
curl --fail --silent --show-error --max-time 10 "http://$address/metrics" >"$work/metrics" || die 'GET /metrics'
promtool check metrics <"$work/metrics" || die 'promtool check metrics'
ok "GET /metrics: $(grep -c '^weir_' "$work/metrics") samples, and promtool reports no problem"
for name in weir_model_accuracy weir_model_loss; do
    grep -q "^$name{" "$work/metrics" || die "/metrics has no series $name"
    ok "$(grep -m 1 "^$name{" "$work/metrics")"
done

step 'stop it'
started=$SECONDS
docker stop --time 30 "$container" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || die "exit code $code after SIGTERM"
ok "SIGTERM: exit code 0 in $((SECONDS - started)) s"

if ! $with_onnxruntime; then
    printf '\n%s passed, 0 failed\n' "$passed"
    exit 0
fi

step "docker build --target onnxruntime -t $image-onnxruntime"
started=$SECONDS
docker build --force-rm --target onnxruntime --tag "$image-onnxruntime" "$context" >"$work/build.log" 2>&1 ||
    { tail -n 60 "$work/build.log" >&2; die 'docker build --target onnxruntime'; }
ok "built in $((SECONDS - started)) s"
bytes=$(docker image inspect --format '{{.Size}}' "$image-onnxruntime")
[ "$bytes" -le $((max_onnxruntime_mb * 1000000)) ] || die "image of $bytes bytes, more than $max_onnxruntime_mb MB"
ok "size $(awk "BEGIN { printf \"%.1f\", $bytes / 1e6 }") MB, at most $max_onnxruntime_mb MB"
docker rm -v "$container" >/dev/null
docker run --detach --name "$container" --read-only --cap-drop ALL --security-opt no-new-privileges --env WEIR_ENGINE=onnxruntime \
    --publish 127.0.0.1::8080 --health-interval 1s "$image-onnxruntime" >/dev/null
for _ in $(seq 60); do
    health=$(docker inspect --format '{{.State.Status}}/{{with .State.Health}}{{.Status}}{{end}}' "$container")
    case $health in running/starting) sleep 0.5 ;; *) break ;; esac
done
[ "$health" = running/healthy ] || die "container with ONNX Runtime is $health after its start"
address=$(docker port "$container" 8080/tcp | head -n 1)
curl --fail-with-body --silent --show-error --max-time 10 "http://$address/models/mnist-mlp" >"$work/models.json"
curl --fail-with-body --silent --show-error --max-time 10 --header 'content-type: image/png' \
    --data-binary "@$here/digit-7.png" "http://$address/predict" >"$work/answer.json" ||
    die "POST /predict: $(cat "$work/answer.json")"
grep -Eq '"engine": ?"onnxruntime"' "$work/models.json" || die "the model does not run in ONNX Runtime: $(cat "$work/models.json")"
grep -Eq '"label": ?"7"' "$work/answer.json" || die "the picture of a 7 was not read as 7: $(cat "$work/answer.json")"
ok 'POST /predict: a 7 is read as 7, by ONNX Runtime'
docker stop --time 30 "$container" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || die "exit code $code after SIGTERM"
ok 'SIGTERM: exit code 0'

printf '\n%s passed, 0 failed\n' "$passed"
