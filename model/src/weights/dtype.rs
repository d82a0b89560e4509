//! Element types of stored tensors.

use half::{bf16, f16};
use std::fmt;

/// Type of a tensor's elements in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl DType {
    /// Whether [`Checkpoint::read`](super::Checkpoint::read) converts it to `f32`.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Little-endian floating point elements as `f32`.
    ///
    /// # Panics
    /// For a type that is not floating point.
    pub(super) fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        let (two, four, eight) =
            (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0, bytes.as_chunks::<8>().0);
        match self {
            Self::F64 => eight.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
            Self::F32 => four.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Self::F16 => two.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            Self::BF16 => two.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            _ => panic!("{self} is not a floating point type"),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U64 => "uint64",
            Self::U32 => "uint32",
            Self::U16 => "uint16",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        })
    }
}
