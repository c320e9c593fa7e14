#!/usr/bin/env bash
# Makes sure that the base images of the Dockerfile exist.
#
# An image that is present is used as it is; others are pulled. Where no image
# registry can be reached, a stand-in of the same name is assembled from this
# Debian host's own files: a shell, the certificates, and either the C compiler
# and the Rust toolchain at the official image's paths, or Python. That takes
# about 20 seconds, and is repeated when the host's toolchain or certificates
# have changed.
#
#   tests/container/base-image.sh [Dockerfile]
set -euo pipefail

dockerfile=${1:-$(dirname "$0")/../../Dockerfile}
pull_seconds=${WEIR_PULL_SECONDS:-300}
ca_bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

say() { printf 'base-image: %s\n' "$*"; }
die() { printf 'base-image: FAILED: %s\n' "$*" >&2; exit 1; }

stand_in() {
    local name=$1 root=$2 sysroot host version chain
    local tools=(dpkg-query apt-cache tar) own=()
    case $name in
        rust:*) tools+=(rustc cargo gcc ld) own=(gcc libc6-dev) ;;
        python:3*) tools+=(python3) own=(python3 python3-venv) ;;
        *) die "$name: cannot be pulled, and there is no stand-in for it" ;;
    esac
    for tool in "${tools[@]}"; do
        command -v "$tool" >/dev/null || die "$name: cannot be pulled, and the stand-in needs '$tool' on this host"
    done
    sysroot=$(rustc --print sysroot)
    host=$(rustc -vV | sed -n 's/^host: //p')
    version=$(rustc -vV | sed -n 's/^release: //p')
    case $name in
        rust:"${version%.*}"* | python:*) ;;
        *) die "$name: cannot be pulled, and this host's rustc is $version, which is no stand-in for it" ;;
    esac

    # The Debian packages of the slim image. The files of /bin, /lib and so on are
    # under /usr; the links cc and awk belong to no package.
    local seeds=(base-files base-passwd bash coreutils dash debianutils diffutils findutils grep gzip
                 libc-bin mawk sed tar ca-certificates "${own[@]}")
    local packages
    packages=$(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts \
        --no-breaks --no-replaces --no-enhances "${seeds[@]}" | grep '^[a-z0-9]' | sort -u)
    {
        printf '%s\n' bin sbin lib lib64 etc/passwd etc/group etc/ld.so.cache \
            usr/bin/cc etc/alternatives/cc usr/bin/awk etc/alternatives/awk
        # shellcheck disable=SC2086 # one word per package; those that only exist as a name are left out
        { dpkg-query -L $packages 2>/dev/null || true; } |
            sed -nE 's,^/(bin|sbin|lib|lib64)/,/usr/\1/,; s,^/(.+),\1,p' |
            grep -Ev '^(\.|bin|sbin|lib|lib32|lib64|libx32)$|^usr/share/(man|info|locale|lintian|bash-completion)/|^usr/share/doc/'
        printf '%s\n' usr/share/doc usr/share/doc/libc6 usr/share/doc/libc6/copyright
        for folder in /usr/share/doc/gcc-*-base; do printf '%s\n' "${folder#/}" "${folder#/}/copyright"; done
    } | sort -u | while read -r file; do if [ -e "/$file" ] || [ -L "/$file" ]; then printf '%s\n' "$file"; fi; done |
        tar -C / --no-recursion --verbatim-files-from -cf - -T - | tar -C "$root" -xf -
    mkdir -p "$root"/{proc,sys,dev,root,home,var/tmp,etc/ssl}
    install -d -m 1777 "$root/tmp"
    tar -C / -cf - etc/ssl/certs | tar -C "$root" -xf -
    cp --remove-destination "$ca_bundle" "$root/etc/ssl/certs/ca-certificates.crt"

    if [ "${name%%:*}" = python ]; then
        tar -C "$root" --numeric-owner -cf - . | docker import \
            --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' \
            --change "LABEL io.weir.stand-in=$fingerprint" \
            --change 'CMD ["python3"]' - "$name" >/dev/null
        return
    fi

    # Rust, at the paths of the official image.
    chain=usr/local/rustup/toolchains/$version-$host
    mkdir -p "$root/$chain" "$root/usr/local/cargo/bin"
    (cd "$sysroot" && printf '%s\n' bin/cargo bin/rustc lib/*.so* "lib/rustlib/$host" share/doc/rust/COPYRIGHT-library.html) |
        tar -C "$sysroot" -cf - -T - | tar -C "$root/$chain" -xf -
    ln -s "/$chain/bin/rustc" "/$chain/bin/cargo" "$root/usr/local/cargo/bin/"

    tar -C "$root" --numeric-owner -cf - . | docker import \
        --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo' \
        --change "ENV RUST_VERSION=$version" \
        --change "LABEL io.weir.stand-in=$fingerprint" \
        --change 'CMD ["bash"]' - "$name" >/dev/null
}

command -v docker >/dev/null || die "needs 'docker' (Debian package docker.io)"
docker version >/dev/null 2>&1 || die 'the docker engine does not answer (is the daemon running, may this user reach it?)'
[ -f "$dockerfile" ] || die "no such file: $dockerfile"

# Every FROM that is neither scratch nor an earlier stage, with the ARGs before it filled in.
images=$(awk '
    toupper($1) == "ARG" && !from { eq = index($2, "="); value[substr($2, 1, eq - 1)] = substr($2, eq + 1) }
    toupper($1) == "FROM" {
        from = 1; image = $2
        for (name in value) { gsub("\\$\\{" name "\\}", value[name], image); gsub("\\$" name "$", value[name], image) }
        if (image != "scratch" && !(image in stage)) print image
        if (toupper($3) == "AS") stage[$4] = 1
    }' "$dockerfile" | sort -u)

fingerprint=$({ rustc -vV; cat "$ca_bundle" "$0"; } 2>/dev/null | sha256sum | cut -c 1-16)
for image in $images; do
    label=$(docker image inspect -f '{{index .Config.Labels "io.weir.stand-in"}}' "$image" 2>/dev/null || echo absent)
    if [ "$label" = "" ] || [ "$label" = "<no value>" ]; then
        say "$image: present"
    elif [ "$label" = "$fingerprint" ]; then
        say "$image: this host's stand-in for it is present"
    elif timeout "$pull_seconds" docker pull --quiet "$image" >/dev/null 2>&1; then
        say "$image: pulled"
    else
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        started=$SECONDS
        stand_in "$image" "$work"
        rm -rf "$work"
        size=$(docker image inspect -f '{{.Size}}' "$image")
        say "$image: cannot be pulled; stand-in made from this host in $((SECONDS - started)) s ($((size / 1000000)) MB)"
    fi
done
