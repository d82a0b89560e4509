#!/usr/bin/env bash
# aarch64 (NEON) under qemu: all tests of `kernels`, and those of `model` that compute or read files. (Not those of the
# command, which is the same on every processor.) Timings under an emulator mean nothing.
# Arguments are handed to `cargo test` for `kernels` alone: `aarch64.sh --test assembly -- --nocapture`.
set -euo pipefail
cd "$(dirname "$0")/../.."
. kernels/ports/packages.sh

triple=aarch64-unknown-linux-gnu
# qemu finds the loader and the C library where Debian's foreign architectures have them. (Not with -L in the cross
# compiler's folder: where both are installed, that loader takes the other one's library, and pthread_create hangs.)
need gcc-aarch64-linux-gnu libc6-dev-arm64-cross binutils-aarch64-linux-gnu qemu-user-static libc6:arm64 libgcc-s1:arm64
if ! rustup target list --installed 2>/dev/null | grep -qx $triple; then
    # Debian's compiler knows the target. Another compiler shares no artefacts: a folder of its own.
    need rustc-web libstd-rust-web-dev:arm64
    export RUSTC=/usr/bin/rustc
fi
export CARGO_TARGET_DIR=target/ports/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export KERNELS_TEST_RUNNER=qemu-aarch64-static
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$KERNELS_TEST_RUNNER
export OBJDUMP=aarch64-linux-gnu-objdump KERNELS_REQUIRE_ASSEMBLY=1
export KERNELS_REQUIRE_ISA=portable KERNELS_REQUIRE_BEST=portable

if [ $# -gt 0 ]; then
    exec cargo test --release --target $triple -p kernels "$@"
fi
cargo test --release --target $triple -p kernels --lib --tests --examples
cargo test --release --target $triple -p model --no-default-features --features torch,hdf5,image --lib --tests
