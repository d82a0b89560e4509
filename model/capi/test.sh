#!/bin/sh
# Compiles shufflenet.c with gcc against the static and the shared library, compares what it prints with what Rust
# computes, and runs it under valgrind where there is one.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}
lib=$target/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --release -p shufflenet-capi --lib --example reference
gcc="${CC:-gcc} -std=c11 -O1 -g -Wall -Wextra -Werror -Iinclude examples/shufflenet.c"
$gcc "$lib/libshufflenet_capi.a" -lpthread -ldl -lm -o "$work/static"
$gcc -L"$lib" -lshufflenet_capi -lm -Wl,-rpath,"$lib" -o "$work/shared"
# A C++ compiler must accept the header too.
echo '#include "kernels.h"' | ${CXX:-g++} -fsyntax-only -Wall -Wextra -Werror -Iinclude -x c++ -

{ echo 'operators: as plain loops'; "$lib/examples/reference" "$work/net.safetensors"; } >"$work/expected"
compare() {
    "$@" "$work/net.safetensors" >"$work/found"
    diff "$work/expected" "$work/found"
}
for linked in static shared; do
    compare "$work/$linked"
    echo "$linked library: the same as from Rust"
done

if command -v valgrind >/dev/null; then
    # Valgrind knows no AVX-512.
    for isa in avx2 portable; do
        compare env KERNELS_ISA=$isa valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect,possible \
            --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=9 "$work/static"
        echo "valgrind, $isa: no errors"
    done
else
    echo "valgrind is not installed: skipped"
fi
