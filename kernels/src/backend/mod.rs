//! One table of kernels per instruction set. The only place that names `core::arch` or `wide`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::activation::Activation;
use crate::isa::Isa;
use crate::micro::{activation, depthwise, elementwise, gemm, pool, shuffle};

/// The inner loops of one instruction set.
///
/// Each is `unsafe` twice over: the processor must have the instruction set, which [`Kernels::of`] has checked for
/// every table it hands out, and the arguments must be what the argument type demands.
pub(crate) struct Kernels {
    pub(crate) isa: Isa,
    /// Floats per register.
    pub(crate) lanes: usize,
    /// Registers across a full panel of output channels.
    pub(crate) nv: usize,
    /// Whether a panel may end in a register half as wide.
    pub(crate) half: bool,
    /// Pixels of a full tile.
    pub(crate) mr: usize,
    /// Whether an odd register at the end may join the two before it, in lower tiles.
    pub(crate) three: bool,
    pub(crate) supported: fn() -> bool,
    /// Matrix product; one entry per [`gemm::PixelStep`].
    pub(crate) gemm: [unsafe fn(&gemm::Gemm); gemm::PixelStep::COUNT],
    pub(crate) depthwise: unsafe fn(&depthwise::Depthwise),
    pub(crate) max_pool: unsafe fn(&pool::Pool),
    pub(crate) max_row: unsafe fn(&pool::MaxRow),
    pub(crate) average_pool: unsafe fn(&pool::Pool),
    pub(crate) global_average: unsafe fn(&pool::GlobalAverage),
    pub(crate) affine: unsafe fn(&elementwise::Affine),
    pub(crate) add: unsafe fn(&elementwise::Add),
    pub(crate) activate: unsafe fn(&elementwise::Activate),
    pub(crate) shuffle: unsafe fn(&shuffle::Shuffle<'_>),
    pub(crate) curve: unsafe fn(&activation::Lines),
    pub(crate) fma_burst: unsafe fn(usize) -> u64,
}

impl Kernels {
    /// Every table that was compiled in, the fastest first.
    const ALL: &'static [&'static Kernels] = &[
        #[cfg(target_arch = "x86_64")]
        &avx512::KERNELS,
        #[cfg(target_arch = "x86_64")]
        &avx2::KERNELS,
        &portable::KERNELS,
    ];

    /// The table of `isa`, where this processor can run it.
    pub(crate) fn of(isa: Isa) -> Option<&'static Kernels> {
        Self::ALL.iter().copied().find(|kernels| kernels.isa == isa && (kernels.supported)())
    }
}

impl Kernels {
    /// What the kernels do for `activation`.
    pub(crate) fn epilogue(&self, activation: Activation) -> activation::Epilogue {
        let (low, high) = activation.bounds();
        let curve = activation::Curve { activation, apply: self.curve, registers: 16 / self.lanes };
        let curve = activation.is_curve().then_some(curve);
        activation::Epilogue { bounds: activation::Bounds { low, high }, curve }
    }
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Kernels({})", self.isa)
    }
}

/// Writes the wrappers that switch the features on, and the table that names them.
macro_rules! kernels {
    (
        $(#[target_feature(enable = $features:literal)])?
        $isa:ident, token $token:expr, simd $simd:ty, supported $supported:expr, mr $mr:literal, nv $nv:literal,
        mr3 $mr3:literal, burst $burst:literal
    ) => {
        use crate::micro::{activation, depthwise, elementwise, gemm, pool, shuffle};

        crate::backend::kernels!(@wrap $($features)?; $token; gemm_blocked(args: &gemm::Gemm) = gemm::run::<$simd, $mr, $nv, $mr3, 16>);
        crate::backend::kernels!(@wrap $($features)?; $token; gemm_blocked_2(args: &gemm::Gemm) = gemm::run::<$simd, $mr, $nv, $mr3, 32>);
        crate::backend::kernels!(@wrap $($features)?; $token; gemm_planar(args: &gemm::Gemm) = gemm::run::<$simd, $mr, $nv, $mr3, 1>);
        crate::backend::kernels!(@wrap $($features)?; $token; gemm_planar_2(args: &gemm::Gemm) = gemm::run::<$simd, $mr, $nv, $mr3, 2>);
        crate::backend::kernels!(@wrap $($features)?; $token; depthwise(args: &depthwise::Depthwise) = depthwise::run::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; max_pool(args: &pool::Pool) = pool::max::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; max_row(args: &pool::MaxRow) = pool::max_row::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; average_pool(args: &pool::Pool) = pool::average::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; global_average(args: &pool::GlobalAverage) = pool::global_average::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; affine(args: &elementwise::Affine) = elementwise::affine::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; add(args: &elementwise::Add) = elementwise::add::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; activate(args: &elementwise::Activate) = elementwise::activate::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; shuffle(args: &shuffle::Shuffle<'_>) = shuffle::run::<$simd>);
        crate::backend::kernels!(@wrap $($features)?; $token; curve(args: &activation::Lines) = activation::run::<$simd>);

        $(#[target_feature(enable = $features)])?
        unsafe fn fma_burst(rounds: usize) -> u64 {
            crate::micro::burst::run::<$simd, $burst>($token, rounds)
        }

        pub(super) static KERNELS: super::Kernels = super::Kernels {
            isa: crate::Isa::$isa,
            lanes: <$simd as crate::simd::Simd>::LANES,
            nv: $nv,
            half: <<$simd as crate::simd::Simd>::Half as crate::simd::Simd>::LANES
                < <$simd as crate::simd::Simd>::LANES,
            mr: $mr,
            three: $mr3 > 0,
            supported: $supported,
            gemm: [gemm_blocked, gemm_blocked_2, gemm_planar, gemm_planar_2],
            depthwise,
            max_pool,
            max_row,
            average_pool,
            global_average,
            affine,
            add,
            activate,
            shuffle,
            curve,
            fma_burst,
        };
    };
    (@wrap $($features:literal)?; $token:expr; $name:ident($args:ident: $type:ty) = $body:expr) => {
        $(#[target_feature(enable = $features)])?
        unsafe fn $name($args: $type) {
            // SAFETY: the caller of the table keeps the contract of the argument type; the token is made under the
            // features it stands for.
            unsafe { $body($token, $args) }
        }
    };
}
use kernels;
