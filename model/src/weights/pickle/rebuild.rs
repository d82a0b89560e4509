//! What stands in for calls: tensors and arrays where they rebuild one, and otherwise nothing of meaning.

use super::machine::{MAX_NAME, MAX_OBJECTS, Machine, Result, read_five, refuse};
use super::object::{Array, Element, Id, Object, Storage, Tensor};
use crate::weights::dtype::DType;
use crate::weights::error::quoted;
use crate::weights::shape::{MAX_DIMENSIONS, dense_strides};
use std::ops::Range;

impl Machine<'_> {
    /// What stands in for calling `callee(*args)`. Nothing is called.
    pub(super) fn call(&mut self, callee: Id, args: Id) -> Result<()> {
        let (Object::Global(name), Object::Tuple(args)) = (self.get(callee), self.get(args)) else {
            // Python may have got the function from an object; what it would do is no more known than before.
            return self.push(Object::Instance(Box::default()));
        };
        let object = match name.as_str() {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
                self.tensor(args, None).unwrap_or_else(Object::Unreadable)
            }
            "torch._utils._rebuild_tensor_v3" => {
                let element = match args.get(6).map(|&id| self.get(id)) {
                    Some(Object::Global(name)) => element(name),
                    _ => Element::Untyped,
                };
                self.tensor(args, Some(element)).unwrap_or_else(Object::Unreadable)
            }
            "torch._utils._rebuild_parameter"
            | "torch._utils._rebuild_parameter_with_state"
            | "torch._utils._rebuild_device_tensor_from_cpu_tensor" => {
                // A parameter is its tensor.
                let Some(&tensor) = args.first() else {
                    return refuse("a parameter without a tensor");
                };
                self.stack.push(tensor);
                return Ok(());
            }
            "torch._tensor._rebuild_from_type_v2" => {
                // A tensor of a subclass: the function that makes the tensor, the class, the arguments, attributes.
                let &[function, _class, args, ..] = &args[..] else {
                    return self.push(Object::Instance(Box::default()));
                };
                // One of these inside of another would be no tensor, and a loop.
                return match self.get(function) {
                    Object::Global(inner) if inner != name => self.call(function, args),
                    _ => self.push(Object::Opaque),
                };
            }
            "collections.OrderedDict" => {
                let dict = self.ordered_dict(args)?;
                self.copied += dict.len();
                if self.copied > MAX_OBJECTS {
                    return refuse(format!("the pickle builds more than {MAX_OBJECTS} objects"));
                }
                Object::Dict(dict)
            }
            "collections.defaultdict" => Object::Dict(Vec::new()),
            "torch.storage._load_from_bytes" if !self.within => {
                let Some(Object::Bytes(bytes)) = args.first().map(|&id| self.get(id)) else {
                    return self.push(Object::Opaque);
                };
                let bytes = bytes.clone();
                self.storage_within(bytes)?
            }
            "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct" => {
                Object::Array(None)
            }
            "numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer" => {
                // (bytes, type, shape, order)
                let &[bytes, dtype, shape, order] = &args[..] else { return self.push(Object::Opaque) };
                let fortran = matches!(self.get(order), Object::Str(order) if order == "F");
                self.array(shape, dtype, fortran, bytes)
            }
            "numpy.dtype" => match args.first().map(|&id| self.get(id)) {
                Some(Object::Str(code)) if code.len() <= 8 => Object::NumpyType(code.clone(), false),
                _ => Object::Opaque,
            },
            "torch._utils._rebuild_qtensor" => Object::Unreadable(QUANTISED.into()),
            "torch._utils._rebuild_sparse_tensor" | "torch._utils._rebuild_sparse_csr_tensor" => {
                Object::Unreadable("it is sparse, which is not supported".into())
            }
            "torch._utils._rebuild_meta_tensor_no_storage" => {
                Object::Unreadable("it was saved without values (device \"meta\")".into())
            }
            "torch._utils._rebuild_nested_tensor" | "torch._utils._rebuild_wrapper_subclass" => {
                Object::Unreadable("it is a tensor of a kind that is not supported".into())
            }
            _ => Object::Instance(Box::default()),
        };
        self.push(object)
    }

    /// The storage in a whole legacy container that lies in this pickle, as Python's own `pickle` stores it.
    fn storage_within(&mut self, bytes: Range<usize>) -> Result<Object> {
        // Each lies there once, unless somebody wants it to be read over and over.
        self.read_within += bytes.len();
        if self.read_within > self.bytes.len() {
            return refuse("the pickle has one storage read over and over");
        }
        let start = bytes.start;
        let whole = &self.bytes[bytes];
        let Ok((pickles, end)) = read_five(whole, true) else { return Ok(Object::Opaque) };
        let [.., object, _keys] = &pickles;
        let Object::Storage(storage) = object.root() else { return Ok(Object::Opaque) };
        let Element::Known(dtype) = storage.element else { return Ok(Object::Opaque) };
        // The number of elements comes first.
        let elements = whole.get(end..).and_then(|rest| rest.first_chunk()).map(|n| u64::from_le_bytes(*n));
        let len = usize::try_from(storage.elements).ok().and_then(|n| n.checked_mul(dtype.size()));
        let within = len.and_then(|len| Some(end + 8..(end + 8).checked_add(len)?));
        match within.filter(|within| elements == Some(storage.elements) && within.end <= whole.len()) {
            None => Ok(Object::Opaque),
            Some(within) => Ok(Object::Storage(Box::new(Storage {
                key: storage.key.clone(),
                within: Some(start + within.start..start + within.end),
                element: storage.element.clone(),
                elements: storage.elements,
                skip: 0,
            }))),
        }
    }

    /// `(version, shape, type, Fortran's order, bytes)`
    pub(super) fn array_state(&self, state: Id) -> Object {
        match self.get(state) {
            Object::Tuple(fields) => match fields[..] {
                [_version, shape, dtype, fortran, bytes] => {
                    let fortran = matches!(self.get(fortran), Object::Bool(true) | Object::Int(1));
                    self.array(shape, dtype, fortran, bytes)
                }
                _ => Object::Opaque,
            },
            _ => Object::Opaque,
        }
    }

    fn array(&self, shape: Id, dtype: Id, fortran: bool, bytes: Id) -> Object {
        let unreadable = |reason: &str| Object::Unreadable(reason.to_owned());
        let (Object::NumpyType(code, big_endian), Ok(shape)) = (self.get(dtype), self.numbers(shape)) else {
            return Object::Opaque;
        };
        let Object::Bytes(bytes) = self.get(bytes) else {
            return unreadable("its values were pickled as text (protocol 2 or before)");
        };
        let Some(dtype) = numpy_type(code) else {
            return unreadable("it is an array of elements that are not supported");
        };
        let len = shape.iter().try_fold(dtype.size(), |product, &n| product.checked_mul(n));
        if len != Some(bytes.len()) {
            return unreadable("its shape does not fit its bytes");
        }
        let strides = if fortran {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            dense_strides(&reversed).into_iter().rev().collect()
        } else {
            dense_strides(&shape)
        };
        let array = Array { dtype, big_endian: *big_endian, shape, strides, bytes: bytes.clone() };
        Object::Array(Some(Box::new(array)))
    }

    /// `(version, order of bytes, ...)`
    pub(super) fn set_byte_order(&mut self, dtype: Id, state: Id) {
        let Object::Tuple(fields) = self.get(state) else { return };
        let order = fields.get(1).map(|&id| self.get(id));
        let big = matches!(order, Some(Object::Str(order)) if order == ">");
        if let Object::NumpyType(_, big_endian) = &mut self.arena[dtype as usize] {
            *big_endian = big;
        }
    }

    /// `OrderedDict()` or, as Python 2 wrote it, `OrderedDict([[key, value], ...])`.
    fn ordered_dict(&self, args: &[Id]) -> Result<Vec<(Id, Id)>> {
        let items: &[Id] = match args.first().map(|&id| self.get(id)) {
            Some(Object::List(items) | Object::Tuple(items)) => items,
            _ => &[],
        };
        let pair = |&id: &Id| match self.get(id) {
            Object::List(pair) | Object::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => refuse("a dictionary is built from something other than pairs"),
        };
        items.iter().map(pair).collect()
    }

    /// `(storage, offset, shape, strides, ...)`, or what is wrong with it.
    fn tensor(&self, args: &[Id], element: Option<Element>) -> Result<Object, String> {
        let [storage, offset, shape, strides, rest @ ..] = args else {
            return Err("it is built from too few arguments".into());
        };
        // The last of seven (v2) or eight (v3) arguments tells of lazily conjugated or negated values.
        let lazy = rest.get(if element.is_some() { 3 } else { 2 }).map(|&id| self.get(id));
        if matches!(lazy, Some(Object::Dict(entries)) if !entries.is_empty()) {
            return Err("its values are lazily conjugated or negated, which is not supported".into());
        }
        let Object::Storage(declared) = self.get(*storage) else {
            return Err("it is built from something other than a storage".into());
        };
        let dtype = match element.as_ref().unwrap_or(&declared.element) {
            &Element::Known(dtype) => dtype,
            Element::Untyped => return Err("it has no element type".into()),
            Element::Other(_, name) if name.starts_with("torch.Q") => return Err(QUANTISED.into()),
            Element::Other(_, name) => {
                return Err(format!("its elements, {}, are not supported", quoted(name)));
            }
        };
        let (shape, strides) = (self.numbers(*shape)?, self.numbers(*strides)?);
        if shape.len() != strides.len() {
            return Err(format!("it has {} dimensions and {} strides", shape.len(), strides.len()));
        }
        let offset = self.non_negative(*offset)?;
        Ok(Object::Tensor(Box::new(Tensor { storage: *storage, dtype, offset, shape, strides })))
    }

    /// A shape, or strides.
    fn numbers(&self, id: Id) -> Result<Vec<usize>, String> {
        match self.get(id) {
            Object::Tuple(items) | Object::List(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|&id| Ok(self.non_negative(id)? as usize)).collect()
            }
            _ => Err("its shape or strides are not a short tuple".into()),
        }
    }

    fn non_negative(&self, id: Id) -> Result<u64, String> {
        match self.get(id) {
            // What fits 63 bits may still be too much for a 32-bit machine.
            &Object::Int(value) if usize::try_from(value).is_ok() => Ok(value as u64),
            _ => Err("a size or an offset is not a non-negative integer".into()),
        }
    }

    /// `("storage", class, key, location, elements[, view])`, or `("module", class, file, source)` where a whole
    /// module was saved before PyTorch 1.6.
    pub(super) fn persistent(&mut self, id: Id) -> Result<()> {
        let Object::Tuple(fields) = self.get(id) else { return self.push(Object::Opaque) };
        let objects: Vec<&Object> = fields.iter().take(8).map(|&id| self.get(id)).collect();
        let storage = match objects[..] {
            [
                Object::Str(tag),
                Object::Global(class),
                Object::Str(key),
                _,
                Object::Int(elements),
                ref view @ ..,
            ] if tag == "storage" && key.len() <= MAX_NAME => {
                let skip = match view.first() {
                    Some(Object::Tuple(view)) if view.len() == 3 => self.non_negative(view[1]).ok(),
                    _ => Some(0),
                };
                let (Ok(elements), Some(skip)) = (u64::try_from(*elements), skip) else {
                    return refuse("a storage of negative size");
                };
                Storage { key: key.clone(), within: None, element: element(class), elements, skip }
            }
            [Object::Str(tag), Object::Global(_), ..] if tag == "module" => {
                let class = fields[1];
                self.stack.push(class);
                return Ok(());
            }
            _ => return self.push(Object::Opaque),
        };
        self.push(Object::Storage(Box::new(storage)))
    }
}

const QUANTISED: &str = "it is quantised, which is not supported: save the float model's state_dict()";

/// What `torch.FloatStorage` or `torch.float32` stands for.
fn element(name: &str) -> Element {
    let other = |size| Element::Other(Some(size), name.to_owned());
    Element::Known(match name {
        "torch.storage.UntypedStorage" | "torch.UntypedStorage" => return Element::Untyped,
        "torch.DoubleStorage" | "torch.float64" => DType::F64,
        "torch.FloatStorage" | "torch.float32" => DType::F32,
        "torch.HalfStorage" | "torch.float16" => DType::F16,
        "torch.BFloat16Storage" | "torch.bfloat16" => DType::BF16,
        "torch.LongStorage" | "torch.int64" => DType::I64,
        "torch.IntStorage" | "torch.int32" => DType::I32,
        "torch.ShortStorage" | "torch.int16" => DType::I16,
        "torch.CharStorage" | "torch.int8" => DType::I8,
        "torch.ByteStorage" | "torch.uint8" => DType::U8,
        "torch.BoolStorage" | "torch.bool" => DType::Bool,
        "torch.uint64" => DType::U64,
        "torch.uint32" => DType::U32,
        "torch.uint16" => DType::U16,
        "torch.QInt8Storage" | "torch.QUInt8Storage" | "torch.QUInt4x2Storage" | "torch.QUInt2x4Storage" => {
            return other(1);
        }
        "torch.QInt32Storage" => return other(4),
        "torch.ComplexFloatStorage" | "torch.complex64" => return other(8),
        "torch.ComplexDoubleStorage" | "torch.complex128" => return other(16),
        name if name.starts_with("torch.float8") => return other(1),
        _ => return Element::Other(None, name.to_owned()),
    })
}

/// What NumPy calls `f4`.
fn numpy_type(code: &str) -> Option<DType> {
    Some(match code {
        "f8" => DType::F64,
        "f4" => DType::F32,
        "f2" => DType::F16,
        "i8" => DType::I64,
        "i4" => DType::I32,
        "i2" => DType::I16,
        "i1" => DType::I8,
        "u8" => DType::U64,
        "u4" => DType::U32,
        "u2" => DType::U16,
        "u1" => DType::U8,
        "b1" => DType::Bool,
        _ => return None,
    })
}
