#!/usr/bin/env bash
# The page in headless Chromium against the command `shufflenet classify`: needs chromium, builds everything else.
set -euo pipefail
cd "$(dirname "$0")/../.."
. kernels/ports/packages.sh
need chromium nodejs

(bash model/web/build.sh)
cargo build --release -p model -p shufflenet-capi --bin shufflenet --example reference
cargo_target=${CARGO_TARGET_DIR:-target}
for width in 0.5 1.0; do
    "$cargo_target/release/examples/reference" target/web/$width.safetensors $width >/dev/null
done
node --test model/web/test.mjs
