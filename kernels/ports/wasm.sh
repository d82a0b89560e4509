#!/usr/bin/env bash
# wasm32 with simd128, without threads, in Node: the tests of `kernels`, and those of `model` but for the command's.
# Arguments are handed to `cargo test` for `kernels` alone: `wasm.sh --test isa`.
set -euo pipefail
cd "$(dirname "$0")/../.."
. kernels/ports/wasm-env.sh
# When memory grows while marking is under way, Node 20 crashes in its garbage collector.
options=(--no-warnings --no-incremental-marking)
# Node 20 wants to be asked for it; others may not know the option.
relaxed=--experimental-wasm-relaxed-simd
! node $relaxed -e 0 2>/dev/null || options+=($relaxed)
export CARGO_TARGET_WASM32_WASIP1_RUNNER="node ${options[*]} $PWD/kernels/ports/wasi.mjs"
export KERNELS_REQUIRE_ISA=portable KERNELS_REQUIRE_BEST=portable

if [ $# -gt 0 ]; then
    exec cargo test "${wasm_options[@]}" -p kernels --no-default-features --features std "$@"
fi
# Without overflow checks, as a release is: `large` sees to it that no size relies on them. By name, because `--tests` would add the examples, most of which start threads.
tests=()
for file in kernels/tests/*.rs; do
    name=$(basename "$file" .rs)
    [ "$name" = ndarray ] || tests+=(--test "$name")
done
cargo test "${wasm_options[@]}" -p kernels --no-default-features --features std --lib "${tests[@]}"
cargo test "${wasm_options[@]}" -p model --no-default-features --features torch,hdf5,image \
    --lib --test arrays --test hostile_files --test images --test no_alloc --test truth --test weights
