# Sourced, in the root of the repository, by what builds for WebAssembly: compiler, standard library and linker.
#
# The compiler is Debian's, and the standard library is built from its source: with unwinding, which the tests of panics
# need and the prebuilt one for this target lacks. WASM_FEATURES=+simd128,+relaxed-simd: with fused multiply-add.
. kernels/ports/packages.sh
need rustc-web rust-web-src lld llvm wasi-libc nodejs
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/ports/wasm
mkdir -p $CARGO_TARGET_DIR
added=$PWD/$CARGO_TARGET_DIR/wasi.o
llvm-mc -triple=wasm32 -mattr=+exception-handling -filetype=obj -o "$added" kernels/ports/wasi.s
libc=/usr/lib/wasm32-wasi
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C target-feature=${WASM_FEATURES:-+simd128} -C panic=unwind \
    -C linker=wasm-ld -C linker-flavor=wasm-ld -C link-self-contained=no -L native=$libc \
    -C link-arg=$libc/crt1-command.o -C link-arg=$added"
wasm_options=(--release --target wasm32-wasip1 -Zbuild-std=std,panic_unwind,test)
