#!/usr/bin/env bash
# Do the libraries compile for targets that nothing here can run? Needs rustup; `check.sh TARGET...` for some of them.
# Where there is no operating system (`-none`), `kernels` is built without the standard library; elsewhere with all that
# needs no C compiler, and `model` too.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- x86_64-pc-windows-msvc aarch64-apple-darwin aarch64-linux-android armv7-unknown-linux-gnueabihf \
    i686-unknown-linux-gnu riscv64gc-unknown-linux-gnu aarch64-unknown-none thumbv7em-none-eabihf

rustup target add "$@"
for triple; do
    case $triple in
    *-none*) what=(-p kernels --no-default-features) ;;
    *) what=(-p kernels -p model --no-default-features
        --features kernels/std,kernels/parallel,model/torch,model/hdf5,model/image) ;;
    esac
    echo "== $triple: ${what[*]}"
    cargo check --quiet --target "$triple" --target-dir target/ports/check "${what[@]}"
done
