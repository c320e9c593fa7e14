# Weir in a static image: one program and its models on nothing else.
#
#   docker build -t weir .
#   docker run --rm -p 127.0.0.1:8080:8080 --read-only --cap-drop ALL -v weir-state:/state weir
#
# With a second engine, ONNX Runtime, on glibc and nothing else:
#
#   docker build --target onnxruntime -t weir:onnxruntime .
#
# For the classic builder and for BuildKit, on x86_64 and aarch64. (The classic builder makes the
# stages of the second image on its way to the first.)
# tests/container/run.sh builds, checks and runs it.
ARG BUILD_IMAGE=rust:1.95.0-slim-bookworm
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${BUILD_IMAGE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src

# Link-time optimisation over all crates, with one codegen unit each, makes the program about 10 % smaller;
# in everyday builds it would cost minutes after every edit. Nothing is built again after an edit here.
ENV CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
    CARGO_PROFILE_RELEASE_LTO=fat

# Bundles of Swagger UI that its page does not load are left empty, which saves 0.6 MB.
ENV SWAGGER_UI_OVERWRITE_FOLDER=/swagger-ui
RUN mkdir "$SWAGGER_UI_OVERWRITE_FOLDER" \
 && touch "$SWAGGER_UI_OVERWRITE_FOLDER"/swagger-ui.js \
          "$SWAGGER_UI_OVERWRITE_FOLDER"/swagger-ui-es-bundle.js \
          "$SWAGGER_UI_OVERWRITE_FOLDER"/swagger-ui-es-bundle-core.js

# The dependencies alone, in a layer that is built again only when Cargo.* changes.
# Benches, tests and examples are not in the build context: undeclare them.
COPY Cargo.toml Cargo.lock ./
RUN awk '/^\[/ { skip = /^\[\[(bench|test|example)\]\]/ } !skip' Cargo.toml > Cargo.new \
 && mv Cargo.new Cargo.toml \
 && mkdir src \
 && touch src/lib.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --locked --release --bin weir

# Weir itself, linked statically. The flags are for this last step only, so the image with ONNX Runtime
# starts from the same compiled crates. Between crates only small functions are copied to where they are called: inside
# each crate that was decided before, and more of it made the program 2 MB larger and no faster. Relative relocations
# are packed, and functions with equal code are merged where the linker is LLVM's, as it is on x86_64.
# Files of the context may be older than the stubs: touch them.
COPY src/ src/
COPY models/ models/
COPY openapi/ openapi/
RUN touch src/lib.rs src/main.rs \
 && set -- -C target-feature=+crt-static -C llvm-args=-inline-threshold=25 -C link-arg=-Wl,-z,pack-relative-relocs \
 && if [ "$(uname -m)" = x86_64 ]; then set -- "$@" -C link-arg=-Wl,--icf=all; fi \
 && cargo rustc --locked --release --bin weir -- "$@" \
 && install -D -m 0755 target/release/weir /rootfs/weir

# The licences of everything linked in: a list, and an archive that holds each text once.
COPY LICENSE-* licenses/
RUN texts=licenses/third-party \
 && mkdir "$texts" \
 && cargo tree --locked --target "$(rustc --print host-tuple)" --edges normal,no-proc-macro \
      --prefix none --format '{p} |{l}|' \
    | sed -E 's/^([^ ]+) v([^ ]+) .*\|(.*)\|.*/\1-\2 \3/' | sort -u \
    | while read -r crate license; do \
        echo "$crate: $license"; \
        find "$CARGO_HOME"/registry/src/*/"$crate" -maxdepth 4 -type f \
          -iregex '.*/\(un\)?\(licen[cs]e\|copying\|notice\)[^/]*' 2> /dev/null \
        | while read -r file; do \
            text="$texts/$(sha256sum "$file" | cut -c 1-12).txt"; \
            cp "$file" "$text"; \
            echo "  $text"; \
          done || true; \
      done > licenses/THIRD-PARTY.txt \
 && tar -czf licenses/third-party.tar.gz "$texts" \
 && rm -r "$texts" \
 && cp /usr/share/doc/libc6/copyright licenses/glibc.txt \
 && cp "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" licenses/rust-std.html \
 && gzip -9 licenses/rust-std.html

# The bill of materials: every crate that is linked in, with version, hash and licence, as CycloneDX has it.
COPY xtask/sbom.rs xtask/
RUN rustc --edition 2024 -o /sbom xtask/sbom.rs \
 && cargo tree --locked --target "$(rustc --print host-tuple)" --edges normal,no-proc-macro \
      --prefix depth --format '|{p}|{l}|{r}' \
    | /sbom Cargo.lock > licenses/sbom.cdx.json

# The whole file system of the image, so that it is one layer.
RUN cp -R models licenses /rootfs/ \
 && chmod -R u=rwX,go=rX /rootfs \
 && install -d /rootfs/etc \
 && printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'weir:x:65532:65532:weir:/:/sbin/nologin' > /rootfs/etc/passwd \
 && printf '%s\n' 'root:x:0:' 'weir:x:65532:' > /rootfs/etc/group \
 && install -d -m 1777 -o 65532 -g 65532 /rootfs/tmp \
 && install -d -o 65532 -g 65532 /rootfs/state

FROM scratch AS static
COPY --from=build /rootfs/ /

ENV WEIR_HTTP=0.0.0.0:8080 \
    WEIR_GRPC=0.0.0.0:9000 \
    WEIR_MODELS=/models \
    WEIR_STATE_DIR=/state
USER 65532:65532
EXPOSE 8080 9000
STOPSIGNAL SIGTERM
# Asks /readyz of WEIR_OPS, if it is set, or else of WEIR_HTTP, by TLS where WEIR_TLS_CERT is set; there is no shell and
# no curl here.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/weir", "healthcheck"]
ENTRYPOINT ["/weir"]
CMD ["serve"]

# Last, because they change most often.
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=
ARG DOCUMENTATION=
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Train neural networks, serve ONNX models over HTTP, and watch how well they do in production." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.documentation="${DOCUMENTATION}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# The library of ONNX Runtime, from PyPI's wheel.
FROM ${PYTHON_IMAGE} AS wheel
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG ONNXRUNTIME=1.32.0
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN python3 -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --no-deps --only-binary :all: --target /wheel "onnxruntime==${ONNXRUNTIME}" \
 && install -D -m 0755 /wheel/onnxruntime/capi/libonnxruntime.so.* /onnxruntime/libonnxruntime.so \
 && cp /wheel/onnxruntime/LICENSE /wheel/onnxruntime/ThirdPartyNotices.txt /onnxruntime/

# Weir linked dynamically, because a static program cannot load a library.
FROM build AS build-onnxruntime
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN cargo build --locked --release --bin weir

# The same file system with that program, the library, and the shared objects that both need.
COPY --from=wheel /onnxruntime/ /onnxruntime/
RUN root=/rootfs-onnxruntime \
 && cp -a /rootfs "$root" \
 && install -m 0755 target/release/weir "$root/weir" \
 && install -m 0755 /onnxruntime/libonnxruntime.so "$root/" \
 && ldd "$root/weir" > needed.txt \
 && ldd "$root/libonnxruntime.so" >> needed.txt \
 && if grep 'not found' needed.txt; then exit 1; fi \
 && grep -o '/[^ ]*' needed.txt | sort -u \
    | while read -r file; do install -D -m 0755 "$file" "$root$file"; done \
 && install -d "$root/licenses/onnxruntime" \
 && cp /onnxruntime/LICENSE /onnxruntime/ThirdPartyNotices.txt "$root/licenses/onnxruntime/" \
 && cat /usr/share/doc/gcc-*-base/copyright > "$root/licenses/gcc-runtime.txt" \
 && chmod -R u=rwX,go=rX "$root/licenses"

FROM scratch AS onnxruntime
COPY --from=build-onnxruntime /rootfs-onnxruntime/ /

# The last one switches off the telemetry of ONNX Runtime.
ENV WEIR_HTTP=0.0.0.0:8080 \
    WEIR_GRPC=0.0.0.0:9000 \
    WEIR_MODELS=/models \
    WEIR_ONNXRUNTIME=/libonnxruntime.so \
    ORT_DISABLE_TELEMETRY=1
USER 65532:65532
EXPOSE 8080 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/weir", "healthcheck"]
ENTRYPOINT ["/weir"]
CMD ["serve"]

ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=
ARG DOCUMENTATION=
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Train neural networks, serve ONNX models over HTTP, and watch how well they do in production; with ONNX Runtime." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.documentation="${DOCUMENTATION}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# The default target. The classic builder makes every stage before it as well.
FROM static
