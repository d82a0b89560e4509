#!/usr/bin/env bash
# wasm32 with simd128, without threads, in Node: the tests of `kernels`, and those of `model` but for its command's.
# Arguments are handed to `cargo test` for `kernels` alone: `wasm.sh --test isa`.
set -euo pipefail
cd "$(dirname "$0")/../.."
. kernels/ports/wasm-env.sh
# Where functions are compiled on their first call, Node 20 crashes after some of the tests.
export CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings --no-wasm-lazy-compilation $PWD/kernels/ports/wasi.mjs"
export KERNELS_REQUIRE_ISA=portable KERNELS_REQUIRE_BEST=portable

if [ $# -gt 0 ]; then
    exec cargo test "${wasm_options[@]}" -p kernels --no-default-features --features std "$@"
fi
# By name, because `--tests` would add the examples, most of which start threads.
tests=()
for file in kernels/tests/*.rs; do
    name=$(basename "$file" .rs)
    [ "$name" = ndarray ] || tests+=(--test "$name")
done
cargo test "${wasm_options[@]}" -p kernels --no-default-features --features std --lib "${tests[@]}"
cargo test "${wasm_options[@]}" -p model --no-default-features --features torch,hdf5,image --lib --tests
