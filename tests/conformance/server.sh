#!/usr/bin/env bash
# Sourced by the other scripts: starts a weir on a free port and stops it on exit.
#
# start_server WEIR_BINARY sets `base` to the server's URL and `work` to a folder
# for files, and returns when the server is ready. Needs curl and a POSIX sed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
server=

die() { printf 'FAIL  %s\n' "$*" >&2; exit 1; }
ok() { printf 'ok    %s\n' "$*"; }

stop_server() {
    status=$?
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ "$status" -ne 0 ] && [ -s "$work/server.log" ]; then
        echo '-- the last lines of the server log:' >&2
        tail -n 40 "$work/server.log" >&2
    fi
    rm -rf "$work"
}
trap stop_server EXIT

start_server() {
    local line address=
    [ -x "$1" ] || die "no program at $1"
    mkfifo "$work/log"
    "$1" serve --http 127.0.0.1:0 --grpc off --models "$root/models" --state-dir "$work/state" --log-format json 2>"$work/log" &
    server=$!
    exec 3<"$work/log"
    # The log says when it is ready; there is nothing to poll.
    while IFS= read -r line <&3; do
        printf '%s\n' "$line" >>"$work/server.log"
        case $line in
            *'"message":"listening"'*) address=$(printf '%s' "$line" | sed -n 's/.*"address":"\([^"]*\)".*/\1/p') ;;
            *'"message":"ready: open'*) break ;;
        esac
    done
    [ -n "$address" ] || die 'the server did not start'
    cat <&3 >>"$work/server.log" &
    base=http://$address
    curl --fail --silent --show-error "$base/readyz" >/dev/null || die 'the server is not ready'
}

# Alive, ready, the same process, no panic on the way.
assert_unharmed() {
    local path
    for path in /livez /readyz; do
        curl --fail --silent --show-error "$base$path" >/dev/null || die "$path does not answer"
    done
    kill -0 "$server" || die 'the server has gone'
    ! grep -q '"message":"panic"' "$work/server.log" || die 'the server panicked'
}
