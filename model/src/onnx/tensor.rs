//! The constants of a file: weights, and the small tensors that shapes are computed from.
//!
//! A constant stays where it lies, in the file or in one beside it, until somebody reads it; only its size has been
//! checked then.

use super::proto::{self, Malformed};
use crate::weights::DType;
use half::{bf16, f16};
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

/// The number of elements of a shape, unless that is out of all proportion, also of the extents beside a zero.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    let most = shape.iter().try_fold(1usize, |product, &len| product.checked_mul(len.max(1)));
    most.filter(|&most| most <= 1 << 40).map(|most| if shape.contains(&0) { 0 } else { most })
}

/// A dense tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array<T> {
    pub(crate) shape: Vec<usize>,
    /// As many as the product of the shape.
    pub(crate) items: Vec<T>,
}

impl<T> Array<T> {
    pub(crate) fn new(shape: Vec<usize>, items: Vec<T>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), items.len(), "items for shape {shape:?}");
        Self { shape, items }
    }

    pub(crate) fn scalar(item: T) -> Self {
        Self { shape: vec![], items: vec![item] }
    }

    pub(crate) fn vector(items: Vec<T>) -> Self {
        Self { shape: vec![items.len()], items }
    }
}

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(crate) struct Constant<'a> {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    data: Data<'a>,
}

#[derive(Clone, Debug)]
enum Data<'a> {
    /// Little-endian bytes in the file.
    Raw(&'a [u8]),
    /// A list of numbers in the file.
    Listed(proto::Tensor<'a>),
    /// Bytes of another file.
    External { location: &'a str, offset: u64 },
    /// Made while importing.
    Made(Vec<f32>),
}

/// The folder of a model, where the files beside it lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folder<'a>(pub(crate) Option<&'a Path>);

impl Folder<'_> {
    /// Opens a file named by a model: below the model's folder, whatever links say.
    fn open(self, location: &str) -> Result<File, String> {
        let name = format!("external data {location:?}");
        let Some(folder) = self.0 else {
            return Err(format!("{name} lies in another file, and only the model's bytes were given"));
        };
        let path = Path::new(location);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if location.is_empty() || !plain || location.contains(['\\', ':', '\0']) {
            return Err(format!("{name}: expected a plain file name below the model's folder"));
        }
        // An empty folder is that of a bare file name.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let (root, file) =
            (folder.canonicalize().map_err(failed)?, folder.join(path).canonicalize().map_err(failed)?);
        if !file.starts_with(&root) {
            return Err(format!("{name} is a link out of the model's folder"));
        }
        // Asked before opening: opening a pipe waits for somebody to write to it.
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(format!("{name} is not a regular file"));
        }
        File::open(file).map_err(failed)
    }
}

impl<'a> Constant<'a> {
    /// Checks a tensor's size against its data.
    pub(crate) fn of(tensor: &proto::Tensor<'a>, folder: Folder<'_>) -> Result<Self, String> {
        let dtype = match tensor.data_type {
            1 => DType::F32,
            2 => DType::U8,
            3 => DType::I8,
            4 => DType::U16,
            5 => DType::I16,
            6 => DType::I32,
            7 => DType::I64,
            9 => DType::Bool,
            10 => DType::F16,
            11 => DType::F64,
            12 => DType::U32,
            13 => DType::U64,
            16 => DType::BF16,
            other => return Err(format!("element type {}", data_type(other))),
        };
        let too_large = || format!("shape {:?}", tensor.dims);
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&len| usize::try_from(len).ok()).collect();
        let shape = shape.ok_or_else(too_large)?;
        let count = elements(&shape).ok_or_else(too_large)?;
        let bytes = count.checked_mul(dtype.size()).ok_or_else(too_large)?;
        let expect = |found: u64| {
            if found == bytes as u64 {
                return Ok(());
            }
            Err(format!("shape {shape:?} of {dtype} takes {bytes} bytes, found {found}"))
        };
        let data = if let Some(entries) = &tensor.external {
            let find = |key| entries.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
            let number = |key| match find(key).map(str::parse::<u64>) {
                None => Ok(None),
                Some(Ok(number)) => Ok(Some(number)),
                Some(Err(_)) => Err(format!("external data: {key} is {:?}", find(key).unwrap_or_default())),
            };
            let location = find("location").ok_or("external data without a location")?;
            let offset = number("offset")?.unwrap_or(0);
            if let Some(len) = number("length")? {
                expect(len)?;
            }
            let len = folder
                .open(location)?
                .metadata()
                .map_err(|e| format!("external data {location:?}: {e}"))?
                .len();
            if offset.checked_add(bytes as u64).is_none_or(|end| end > len) {
                return Err(format!(
                    "external data {location:?} has {len} bytes, {bytes} from {offset} on were expected"
                ));
            }
            Data::External { location, offset }
        } else if let Some(raw) = tensor.raw {
            expect(raw.len() as u64)?;
            Data::Raw(raw)
        } else {
            let found = listed(tensor, dtype)
                .take(count.saturating_add(1))
                .try_fold(0, |n, item| item.map(|_| n + 1));
            match found {
                Ok(found) if found == count => Data::Listed(tensor.clone()),
                Ok(found) => {
                    let more = if found > count { " or more" } else { "" };
                    return Err(format!("shape {shape:?} has {count} elements, found {found}{more}"));
                }
                Err(Malformed(why)) => return Err(why),
            }
        };
        Ok(Self { dtype, shape, data })
    }

    /// Numbers made while importing.
    pub(crate) fn made(array: Array<f32>) -> Self {
        Self { dtype: DType::F32, shape: array.shape, data: Data::Made(array.items) }
    }

    /// The number of elements.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The numbers, as `f32` whatever they are in the file.
    pub(crate) fn floats(&self, folder: Folder<'_>) -> Result<Array<f32>, String> {
        let items = match &self.data {
            Data::Made(items) => items.clone(),
            Data::Listed(tensor) if self.dtype == DType::F32 => collect(tensor.floats())?,
            Data::Raw(bytes) if self.dtype == DType::F32 => to_f32(bytes),
            Data::External { .. } if self.dtype == DType::F32 => to_f32(&self.read(folder)?),
            _ => self.doubles(folder)?.into_iter().map(|value| value as f32).collect(),
        };
        Ok(Array::new(self.shape.clone(), items))
    }

    /// The numbers as `f64`: exact but for integers beyond 2^53.
    pub(crate) fn doubles(&self, folder: Folder<'_>) -> Result<Vec<f64>, String> {
        match &self.data {
            Data::Made(items) => Ok(items.iter().map(|&item| item.into()).collect()),
            Data::Listed(tensor) => collect(listed(tensor, self.dtype)),
            Data::Raw(bytes) => Ok(decode(self.dtype, bytes)),
            Data::External { .. } => Ok(decode(self.dtype, &self.read(folder)?)),
        }
    }

    /// The bytes of a constant that lies in another file.
    fn read(&self, folder: Folder<'_>) -> Result<Vec<u8>, String> {
        let Data::External { location, offset } = &self.data else { return Ok(vec![]) };
        let mut file = folder.open(location)?;
        let mut bytes = vec![0; self.count() * self.dtype.size()];
        let read = file.seek(SeekFrom::Start(*offset)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| format!("external data {location:?}: {error}"))?;
        Ok(bytes)
    }
}

fn collect<T>(items: impl Iterator<Item = Result<T, Malformed>>) -> Result<Vec<T>, String> {
    items.collect::<Result<_, _>>().map_err(|Malformed(why)| why)
}

/// The numbers of the list that holds elements of this type.
fn listed<'a>(
    tensor: &proto::Tensor<'a>,
    dtype: DType,
) -> Box<dyn Iterator<Item = Result<f64, Malformed>> + 'a> {
    match dtype {
        DType::F32 => Box::new(tensor.floats().map(|item| item.map(f64::from))),
        DType::F64 => Box::new(tensor.doubles()),
        DType::U32 | DType::U64 => Box::new(tensor.uint64s().map(|item| item.map(|value| value as f64))),
        DType::I64 => Box::new(tensor.int64s().map(|item| item.map(|value| value as f64))),
        DType::F16 => Box::new(tensor.int32s().map(|item| item.map(|v| f16::from_bits(v as u16).to_f64()))),
        DType::BF16 => Box::new(tensor.int32s().map(|item| item.map(|v| bf16::from_bits(v as u16).to_f64()))),
        _ => Box::new(tensor.int32s().map(|item| item.map(|value| value as f64))),
    }
}

/// Little-endian `f32`s.
fn to_f32(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// Little-endian bytes as numbers.
fn decode(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    let (two, four, eight) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0, bytes.as_chunks::<8>().0);
    match dtype {
        DType::F64 => eight.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        DType::F32 => four.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
        DType::F16 => two.iter().map(|&b| f16::from_le_bytes(b).to_f64()).collect(),
        DType::BF16 => two.iter().map(|&b| bf16::from_le_bytes(b).to_f64()).collect(),
        DType::I64 => eight.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
        DType::U64 => eight.iter().map(|&b| u64::from_le_bytes(b) as f64).collect(),
        DType::I32 => four.iter().map(|&b| i32::from_le_bytes(b).into()).collect(),
        DType::U32 => four.iter().map(|&b| u32::from_le_bytes(b).into()).collect(),
        DType::I16 => two.iter().map(|&b| i16::from_le_bytes(b).into()).collect(),
        DType::U16 => two.iter().map(|&b| u16::from_le_bytes(b).into()).collect(),
        DType::I8 => bytes.iter().map(|&b| (b as i8).into()).collect(),
        DType::U8 | DType::Bool => bytes.iter().map(|&b| b.into()).collect(),
    }
}

/// The name of a `TensorProto.DataType`.
pub(crate) fn data_type(number: i64) -> Cow<'static, str> {
    let names = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
    ];
    match usize::try_from(number).ok().and_then(|number| names.get(number)) {
        Some(name) => Cow::Borrowed(*name),
        None => Cow::Owned(format!("number {number}")),
    }
}
