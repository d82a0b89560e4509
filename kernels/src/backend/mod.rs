//! One table of kernels per instruction set. The only place that names `core::arch` or `wide`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::activation::Activation;
use crate::micro::activation::{Bounds, Curve, Epilogue};
use crate::micro::{activation, depthwise, elementwise, gemm, layout, norm, pool, resize, shuffle};

/// The inner loops of one instruction set.
///
/// Each is `unsafe` twice over: the processor must have the instruction set, which [`Isa`](crate::Isa) has seen to for
/// every table it hands out, and the arguments must be what the argument type demands.
pub(crate) struct Kernels {
    /// As on command lines and in `KERNELS_ISA`.
    pub(crate) name: &'static str,
    /// Whether this processor can run them.
    pub(crate) supported: fn() -> bool,
    /// Floats per register.
    pub(crate) lanes: usize,
    /// Tiles of the matrix product. The first is the widest that is worth repeating.
    pub(crate) tiles: &'static [Tile],
    pub(crate) depthwise: unsafe fn(&depthwise::Depthwise),
    pub(crate) max_pool: unsafe fn(&pool::Pool),
    pub(crate) max_row: unsafe fn(&pool::MaxRow),
    pub(crate) average_pool: unsafe fn(&pool::Pool),
    pub(crate) global_average: unsafe fn(&pool::GlobalAverage),
    pub(crate) affine: unsafe fn(&elementwise::Affine),
    pub(crate) add: unsafe fn(&elementwise::Binary),
    pub(crate) mul: unsafe fn(&elementwise::Binary),
    pub(crate) activate: unsafe fn(&elementwise::Activate),
    pub(crate) prelu: unsafe fn(&elementwise::PRelu),
    pub(crate) layer_norm: unsafe fn(&norm::LayerNorm<'_>),
    pub(crate) nearest: unsafe fn(&resize::Row<'_>),
    pub(crate) bilinear: unsafe fn(&resize::Row<'_>),
    pub(crate) shuffle: unsafe fn(&shuffle::Shuffle<'_>),
    pub(crate) curve: unsafe fn(&activation::Lines),
    pub(crate) from_planes: unsafe fn(&layout::FromPlanes),
    pub(crate) to_planes: unsafe fn(&layout::ToPlanes),
    pub(crate) lines: unsafe fn(&layout::Lines),
    pub(crate) fma_burst: unsafe fn(usize) -> u64,
}

/// A shape of the matrix product whose sums stay in registers.
pub(crate) struct Tile {
    /// Pixels.
    pub(crate) mr: usize,
    /// Registers of output channels, and whether one half as wide follows.
    pub(crate) nv: usize,
    pub(crate) half: bool,
    /// One per [`gemm::PixelStep`].
    pub(crate) product: [unsafe fn(&gemm::Gemm); gemm::PixelStep::COUNT],
}

impl Kernels {
    /// Every table that was compiled in, the fastest first. The last runs everywhere.
    pub(crate) const ALL: &'static [&'static Kernels] = &[
        #[cfg(target_arch = "x86_64")]
        &avx512::KERNELS,
        #[cfg(target_arch = "x86_64")]
        &avx2::KERNELS,
        Self::PORTABLE,
    ];

    /// What the compiler was told it may use.
    pub(crate) const PORTABLE: &'static Kernels = &portable::KERNELS;

    /// What the kernels do for `activation`.
    pub(crate) fn epilogue(&self, activation: Activation) -> Epilogue {
        let curve = Curve { activation, apply: self.curve, registers: 16 / self.lanes };
        Epilogue { bounds: Bounds::new(activation.bounds()), curve: activation.is_curve().then_some(curve) }
    }
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Kernels({})", self.name)
    }
}

impl core::fmt::Debug for Tile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}x{}{}", self.mr, self.nv, if self.half { "h" } else { "" })
    }
}

/// Writes the wrappers that switch the features on, and the table that names them.
///
/// `tiles` are `MR x NV`, or `MR x NV + H` with `H` registers (one) half as wide behind.
macro_rules! kernels {
    (
        $(#[target_feature(enable = $features:literal)])?
        name $name:expr, supported $supported:expr, token $token:expr, simd $simd:ty,
        tiles $tiles:expr, shuffle $shuffle:path, burst $burst:expr
    ) => {
        use crate::micro::{
            activation, burst, depthwise, elementwise, gemm, layout, norm, pool, resize, shuffle,
        };

        macro_rules! wrap {
            ($wrapper:ident(args: $args:ty) = $body:expr) => {
                $(#[target_feature(enable = $features)])?
                unsafe fn $wrapper(args: $args) {
                    // SAFETY: the caller of the table keeps the contract of the argument type; the token is made under
                    // the features it stands for.
                    unsafe { $body($token, args) }
                }
            };
        }
        macro_rules! wrap_gemm {
            ($wrapper:ident, $step:literal) => {
                $(#[target_feature(enable = $features)])?
                unsafe fn $wrapper<const MR: usize, const NV: usize, const H: usize>(args: &gemm::Gemm) {
                    // SAFETY: as of the other wrappers.
                    unsafe { gemm::run::<$simd, MR, NV, H, $step>($token, args) }
                }
            };
        }
        wrap_gemm!(gemm_blocked, 16);
        wrap_gemm!(gemm_blocked_2, 32);
        wrap_gemm!(gemm_planar, 1);
        wrap_gemm!(gemm_planar_2, 2);
        wrap_gemm!(gemm_blocked_4, 64);
        wrap_gemm!(gemm_planar_4, 4);
        wrap_gemm!(gemm_any, 0);
        wrap!(depthwise(args: &depthwise::Depthwise) = depthwise::run::<$simd>);
        wrap!(max_pool(args: &pool::Pool) = pool::max::<$simd>);
        wrap!(max_row(args: &pool::MaxRow) = pool::max_row::<$simd>);
        wrap!(average_pool(args: &pool::Pool) = pool::average::<$simd>);
        wrap!(global_average(args: &pool::GlobalAverage) = pool::global_average::<$simd>);
        wrap!(affine(args: &elementwise::Affine) = elementwise::affine::<$simd>);
        wrap!(add(args: &elementwise::Binary) = elementwise::add::<$simd>);
        wrap!(mul(args: &elementwise::Binary) = elementwise::mul::<$simd>);
        wrap!(activate(args: &elementwise::Activate) = elementwise::activate::<$simd>);
        wrap!(prelu(args: &elementwise::PRelu) = elementwise::prelu::<$simd>);
        wrap!(layer_norm(args: &norm::LayerNorm<'_>) = norm::layer_norm::<$simd>);
        wrap!(nearest(args: &resize::Row<'_>) = resize::nearest::<$simd>);
        wrap!(bilinear(args: &resize::Row<'_>) = resize::bilinear::<$simd>);
        wrap!(shuffle(args: &shuffle::Shuffle<'_>) = $shuffle);
        wrap!(curve(args: &activation::Lines) = activation::run::<$simd>);
        wrap!(from_planes(args: &layout::FromPlanes) = layout::from_planes::<$simd>);
        wrap!(to_planes(args: &layout::ToPlanes) = layout::to_planes::<$simd>);
        wrap!(lines(args: &layout::Lines) = layout::lines::<$simd>);

        $(#[target_feature(enable = $features)])?
        unsafe fn fma_burst(rounds: usize) -> u64 {
            burst::run::<$simd, { $burst }>($token, rounds)
        }

        const fn tile<const MR: usize, const NV: usize, const H: usize>() -> super::Tile {
            super::Tile {
                mr: MR,
                nv: NV,
                half: H > 0,
                product: [
                    gemm_blocked::<MR, NV, H>,
                    gemm_blocked_2::<MR, NV, H>,
                    gemm_planar::<MR, NV, H>,
                    gemm_planar_2::<MR, NV, H>,
                    gemm_blocked_4::<MR, NV, H>,
                    gemm_planar_4::<MR, NV, H>,
                    gemm_any::<MR, NV, H>,
                ],
            }
        }

        pub(super) static KERNELS: super::Kernels = super::Kernels {
            name: $name,
            supported: $supported,
            lanes: <$simd as crate::simd::Simd>::LANES,
            tiles: $tiles,
            depthwise,
            max_pool,
            max_row,
            average_pool,
            global_average,
            affine,
            add,
            mul,
            activate,
            prelu,
            layer_norm,
            nearest,
            bilinear,
            shuffle,
            curve,
            from_planes,
            to_planes,
            lines,
            fma_burst,
        };
    };
}
use kernels;

/// Methods of a token that only compute: `$within!` is what an expression is written in.
macro_rules! arithmetic {
    ($within:ident $vector:ty: $($name:ident($($arg:ident),+) = $value:expr;)+) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $vector),+) -> $vector {
                $within!($value)
            }
        )+
    };
}
use arithmetic;
