#!/usr/bin/env bash
# Older x86-64 processors under qemu: all tests of `kernels` on a Haswell, where AVX2 must be what is chosen, and on a
# Nehalem, where it must be SSE2; an instruction that they lack would end a test with SIGILL.
# Arguments are handed to `cargo test`: `x86-64.sh --test isa`.
set -euo pipefail
cd "$(dirname "$0")/../.."
. kernels/ports/packages.sh

need qemu-user-static
[ $# -gt 0 ] || set -- --lib --tests --examples
for cpu in Haswell:avx2,portable:avx2 Nehalem:portable:portable; do
    IFS=: read -r cpu isas best <<<"$cpu"
    echo "== $cpu: expecting $isas, and $best to be chosen"
    runner="qemu-x86_64-static -cpu $cpu"
    env CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$runner" KERNELS_TEST_RUNNER="$runner" \
        KERNELS_REQUIRE_ISA="$isas" KERNELS_REQUIRE_BEST="$best" \
        cargo test --release -p kernels "$@"
done
