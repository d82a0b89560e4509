#!/usr/bin/env bash
# The page, ready to be served: `model/web/build.sh && python3 -m http.server --directory target/web`.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p target/web
cp model/web/index.html model/web/page.js model/web/worker.js model/src/files/imagenet_classes.txt target/web/

build() { # target features, name
    export WASM_FEATURES=$1
    . kernels/ports/wasm-env.sh
    cargo rustc "${wasm_options[@]}" -p shufflenet-capi --lib --crate-type cdylib -- \
        -C link-arg=$libc/crt1-reactor.o -C link-arg=--export=_initialize \
        -C link-arg=--export=malloc -C link-arg=--export=free -C strip=debuginfo
    cp $CARGO_TARGET_DIR/wasm32-wasip1/release/shufflenet_capi.wasm "target/web/$2.wasm"
}
build +simd128 shufflenet
build +simd128,+relaxed-simd shufflenet-relaxed
