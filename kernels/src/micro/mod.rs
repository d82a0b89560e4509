//! The inner loops, each written once over [`Simd`](crate::simd::Simd): no `cfg`, no threads, no allocation.

pub(crate) mod activation;
pub(crate) mod burst;
pub(crate) mod depthwise;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod layout;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod resize;
pub(crate) mod shuffle;

/// The body once for each index below a constant (at most 7, or 19 where `long`; more is a compile error): indices are literals, so that arrays of registers never
/// have an address. LLVM unrolls short loops too, but for some tiles only after it has put the array on the stack.
macro_rules! unroll {
    ($i:ident < $n:expr, $body:block) => {
        const { assert!($n <= 7, "more than is unrolled") };
        $crate::micro::unroll!(@each $i, $n, $body, 0 1 2 3 4 5 6)
    };
    (long $i:ident < $n:expr, $body:block) => {
        const { assert!($n <= 19, "more than is unrolled") };
        $crate::micro::unroll!(@each $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18)
    };
    (@each $i:ident, $n:expr, $body:block, $($index:literal)*) => {
        $(
            if $index < $n {
                let $i: usize = $index;
                $body
            }
        )*
    };
}
use unroll;
