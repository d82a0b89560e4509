//! Instruction sets by name.

use crate::backend::Kernels;
use crate::error::Error;
use alloc::{string::ToString, vec::Vec};

/// An instruction set that the kernels were compiled for.
///
/// ```
/// use kernels::{Isa, Pointwise};
///
/// // Unless told otherwise, operators take the best, or what the variable KERNELS_ISA says.
/// for isa in Isa::available() {
///     let op = Pointwise::builder(8, 8).isa(isa).build(&[1.0; 64])?;
/// }
/// assert!(Isa::from_name("avx1024").unwrap_err().to_string().contains("available: auto"));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// AVX-512 F, sixteen lanes.
    Avx512,
    /// AVX2 with FMA, eight lanes.
    Avx2,
    /// What the compiler was told it may use: SSE2, NEON, wasm simd128, or more by `-C target-cpu`.
    Portable,
}

impl Isa {
    /// Every instruction set, the fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The name used on command lines and in `KERNELS_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        Kernels::of(self).is_some()
    }

    /// Those of [`ALL`](Self::ALL) that this processor has.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// The instruction set of that name; `"auto"` is [`best`](Self::best).
    ///
    /// # Errors
    /// Where the name is unknown or this processor lacks the instruction set.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        if name == "auto" {
            return Ok(Self::best());
        }
        Self::available().find(|isa| isa.name() == name).ok_or_else(|| Error::Isa {
            asked: name.to_string(),
            available: ["auto"]
                .into_iter()
                .chain(Self::available().map(Self::name))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// What the environment variable `KERNELS_ISA` asks for, else [`best`](Self::best). Operators that are not
    /// told an instruction set take this one.
    ///
    /// # Errors
    /// As [`from_name`](Self::from_name).
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Self, Error> {
        match std::env::var_os("KERNELS_ISA") {
            Some(name) if !name.is_empty() => Self::from_name(&name.to_string_lossy()),
            _ => Ok(Self::best()),
        }
    }

    /// Without `std` there is no environment: [`best`](Self::best).
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "std"))]
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self::best())
    }

    /// `f32` lanes of one vector register.
    pub fn lanes(self) -> usize {
        Kernels::of(self).map_or(1, |kernels| kernels.lanes)
    }

    /// Runs `rounds` of multiply-adds on registers alone and returns the floating-point operations done (two per
    /// multiply-add): divided by the time it took, the peak that the convolutions are measured against.
    ///
    /// # Panics
    /// Where this processor lacks the instruction set.
    pub fn fma_burst(self, rounds: usize) -> u64 {
        let kernels = Kernels::of(self).expect("the instruction set is available");
        // SAFETY: `Kernels::of` hands out only tables whose instruction set was detected.
        unsafe { (kernels.fma_burst)(rounds) }
    }
}

impl core::fmt::Display for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
