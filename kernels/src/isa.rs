//! Instruction sets.

use crate::backend::Kernels;
use crate::error::Error;
use alloc::{string::ToString, vec::Vec};

/// An instruction set that this processor has: a value is the proof.
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
#[derive(Clone, Copy)]
pub struct Isa(&'static Kernels);

impl Isa {
    /// The instruction sets of this processor that kernels were compiled for, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Kernels::ALL.iter().filter(|kernels| (kernels.supported)()).map(|kernels| Self(kernels))
    }

    /// The names of all that kernels were compiled for, whether this processor has them or not.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Kernels::ALL.iter().map(|kernels| kernels.name)
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::portable())
    }

    /// What the compiler was told it may use: SSE2, NEON, WebAssembly's simd128, or more by `-C target-cpu`.
    pub fn portable() -> Self {
        Self(Kernels::PORTABLE)
    }

    /// The instruction set of that name; `"auto"` is [`best`](Self::best), `"portable"` is
    /// [`portable`](Self::portable), whatever its name is here.
    ///
    /// # Errors
    /// Where the name is unknown or this processor lacks the instruction set.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        match name {
            "auto" => Ok(Self::best()),
            "portable" => Ok(Self::portable()),
            _ => Self::available().find(|isa| isa.name() == name).ok_or_else(|| Error::Isa {
                asked: name.to_string(),
                available: ["auto"]
                    .into_iter()
                    .chain(Self::available().map(Self::name))
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// What the environment variable `KERNELS_ISA` names, else (also where it is empty) [`best`](Self::best). Operators
    /// that are not told an instruction set take this one.
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

    /// The name used on command lines and in `KERNELS_ISA`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// `f32` lanes of one vector register.
    pub fn lanes(self) -> usize {
        self.0.lanes
    }

    /// Runs `rounds` of multiply-adds on registers alone and returns the floating-point operations done (two per
    /// multiply-add): divided by the time it took, the peak that the convolutions are measured against.
    pub fn fma_burst(self, rounds: usize) -> u64 {
        // SAFETY: the processor has the instruction set; there is no other contract.
        unsafe { (self.0.fma_burst)(rounds) }
    }

    /// The inner loops.
    pub(crate) fn kernels(self) -> &'static Kernels {
        self.0
    }
}

impl PartialEq for Isa {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Isa {}

impl core::hash::Hash for Isa {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl core::fmt::Display for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::fmt::Debug for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}
