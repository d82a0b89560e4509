//! The few messages of `onnx.proto` that a network needs, read in place.
//!
//! Protocol Buffers are a list of fields, each a number, a wire type and a value; a value may be a message again. Nothing
//! is copied: names, tensors and lists of numbers stay where they lie in the file, and lists are decoded while they are
//! iterated. Unknown fields are skipped. Every length is checked against the message around it, and the messages of a
//! file are counted, so that a small file cannot become a large tree. Graphs inside attributes are left unread until
//! somebody wants them: there is no recursion here.
//!
//! Own code, because what exists does not fit: `onnx-rs` 0.1 recurses as deep as the file says, which overflows the
//! stack, and copies lists of numbers; `rten-onnx` copies tensors and follows a younger compiler than ours; whatever is
//! built on `prost` copies everything and brings a code generator along.

use std::fmt;

/// Tensors of more dimensions are refused.
pub(crate) const MAX_RANK: usize = 8;

/// Why bytes are no ONNX model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an ONNX model, or a damaged one: {}", self.0)
    }
}

type Result<T> = std::result::Result<T, Malformed>;

fn malformed<T>(what: impl Into<String>) -> Result<T> {
    Err(Malformed(what.into()))
}

/// Messages that one file may have. Large networks have some ten thousand.
const MAX_MESSAGES: usize = 1 << 20;

/// One field's value, before anybody has said what it means.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    /// Doubles, of which nothing but lists is read.
    Fixed64,
    Bytes(&'a [u8]),
}

/// The encoded fields of one message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// The fields in the order of the file: number and value.
    fn fields(self) -> Fields<'a> {
        Fields { rest: self.0 }
    }

    /// The numbers of a repeated field, packed or not. Damage past the first number found broken is not looked at.
    fn varints(self, field: u32) -> impl Iterator<Item = Result<u64>> + 'a {
        self.repeated(field, |mut rest| {
            let value = varint(&mut rest)?;
            Ok((value, rest))
        })
    }

    /// As [`varints`](Self::varints) for numbers of `N` bytes.
    fn fixed<const N: usize>(self, field: u32) -> impl Iterator<Item = Result<[u8; N]>> + 'a {
        self.repeated(field, |rest| match rest.split_first_chunk::<N>() {
            Some((value, rest)) => Ok((*value, rest)),
            None => malformed("a list of numbers ends inside a number"),
        })
    }

    fn repeated<T: 'a>(
        self,
        wanted: u32,
        decode: impl Fn(&'a [u8]) -> Result<(T, &'a [u8])> + 'a,
    ) -> impl Iterator<Item = Result<T>> + 'a {
        let mut fields = self.fields();
        let mut packed: &'a [u8] = &[];
        let mut broken = false;
        std::iter::from_fn(move || {
            while packed.is_empty() && !broken {
                match fields.next()? {
                    // A single number has been checked for its length already, and is decoded where it lies.
                    Ok((number, Value::Bytes(bytes), _)) if number == wanted => packed = bytes,
                    Ok((number, _, bytes)) if number == wanted => packed = bytes,
                    Ok(_) => {}
                    Err(error) => {
                        broken = true;
                        return Some(Err(error));
                    }
                }
            }
            if broken {
                return None;
            }
            Some(decode(packed).map(|(value, rest)| (packed = rest, value).1).inspect_err(|_| broken = true))
        })
    }
}

/// Iterates over the fields of a message: number, value, and the bytes of the value alone.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>, &'a [u8])> {
        let tag = varint(&mut self.rest)?;
        let Ok(number @ 1..) = u32::try_from(tag >> 3) else {
            return malformed(format!("a field of number {}", tag >> 3));
        };
        let before = self.rest;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => self.chunk::<8>().map(|_| Value::Fixed64)?,
            2 => {
                let len = varint(&mut self.rest)?;
                let fits = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
                let Some((bytes, rest)) = fits else {
                    let left = self.rest.len();
                    return malformed(format!(
                        "field {number} claims {len} bytes where {left} are left: truncated?"
                    ));
                };
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(*self.chunk()?),
            other => return malformed(format!("field {number} has wire type {other}")),
        };
        Ok((number, value, &before[..before.len() - self.rest.len()]))
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let Some((chunk, rest)) = self.rest.split_first_chunk() else {
            return malformed("the file ends inside a number: truncated?");
        };
        self.rest = rest;
        Ok(chunk)
    }
}

/// Seven bits a byte, the low ones first; the highest bit says that more follow.
fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for (i, &byte) in rest.iter().take(10).enumerate() {
        // The tenth byte has room for one bit.
        if i == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            *rest = &rest[i + 1..];
            return Ok(value);
        }
    }
    if rest.len() < 10 {
        malformed("the file ends inside a number: truncated?")
    } else {
        malformed("a number of more than 64 bits")
    }
}

impl<'a> Value<'a> {
    fn text(self, field: &str) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(field)?).or_else(|_| malformed(format!("{field} is not UTF-8")))
    }

    fn bytes(self, field: &str) -> Result<&'a [u8]> {
        let Self::Bytes(bytes) = self else {
            return malformed(format!("{field} has the wire type of a number"));
        };
        Ok(bytes)
    }

    /// Protocol Buffers write negative numbers in two's complement of 64 bits.
    fn int(self, field: &str) -> Result<i64> {
        let Self::Varint(value) = self else { return malformed(format!("{field} is not an integer")) };
        Ok(value as i64)
    }

    fn float(self, field: &str) -> Result<f32> {
        let Self::Fixed32(bytes) = self else { return malformed(format!("{field} is not a float")) };
        Ok(f32::from_le_bytes(bytes))
    }
}

/// Counts messages while a file is read.
#[derive(Debug)]
struct Budget(usize);

impl Budget {
    fn message<'a>(&mut self, value: Value<'a>, field: &str) -> Result<Message<'a>> {
        let Some(left) = self.0.checked_sub(1) else {
            return malformed(format!("more than {MAX_MESSAGES} nodes, tensors and attributes"));
        };
        self.0 = left;
        Ok(Message(value.bytes(field)?))
    }

    /// A name in a list counts like a message: it takes as much memory.
    fn text<'a>(&mut self, value: Value<'a>, field: &str) -> Result<&'a str> {
        self.message(value, field)?;
        value.text(field)
    }
}

/// `ModelProto`.
#[derive(Debug, Default)]
pub(crate) struct Model<'a> {
    /// The version of the file format.
    pub(crate) ir_version: i64,
    /// Who wrote the file.
    pub(crate) producer: (&'a str, &'a str),
    /// Domain and version of each operator set.
    pub(crate) opsets: Vec<(&'a str, i64)>,
    /// The network.
    pub(crate) graph: Graph<'a>,
    /// Functions of the file's own: domain and name.
    pub(crate) functions: Vec<(&'a str, &'a str)>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) initializers: Vec<Tensor<'a>>,
    /// Initializers given by their numbers other than zero.
    pub(crate) sparse_initializers: usize,
    pub(crate) inputs: Vec<ValueInfo<'a>>,
    pub(crate) outputs: Vec<ValueInfo<'a>>,
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) name: &'a str,
    pub(crate) op_type: &'a str,
    pub(crate) domain: &'a str,
    /// Names; an empty one stands for an input that was left out.
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) attributes: Vec<Attribute<'a>>,
}

/// `AttributeProto`, whose value is decoded when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    /// `AttributeProto.AttributeType`, or 0 in files older than it.
    kind: i64,
    message: Message<'a>,
}

/// `TensorProto`, whose numbers are decoded when somebody asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) dims: Vec<i64>,
    /// `TensorProto.DataType`.
    pub(crate) data_type: i64,
    /// Numbers as little-endian bytes, if they are written that way.
    pub(crate) raw: Option<&'a [u8]>,
    /// Where the numbers lie in another file, as pairs of names and values.
    pub(crate) external: Option<Vec<(&'a str, &'a str)>>,
    message: Message<'a>,
}

/// `ValueInfoProto` of a tensor.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueInfo<'a> {
    pub(crate) name: &'a str,
    /// `TensorProto.DataType`; 0 where it is not told.
    pub(crate) elem_type: i64,
    /// The extents, if they are told.
    pub(crate) shape: Option<Vec<Dimension<'a>>>,
}

/// `TensorShapeProto.Dimension`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dimension<'a> {
    /// A number.
    Value(i64),
    /// A name, the same for extents that are equal.
    Param(&'a str),
    /// Nothing is told.
    Open,
}

impl<'a> Model<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// Where the bytes are no such messages, or too many of them.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let budget = &mut Budget(MAX_MESSAGES);
        let mut model = Self::default();
        let mut graph = None;
        for field in Message(bytes).fields() {
            let (number, value, _) = field?;
            match number {
                1 => model.ir_version = value.int("ModelProto.ir_version")?,
                2 => model.producer.0 = value.text("ModelProto.producer_name")?,
                3 => model.producer.1 = value.text("ModelProto.producer_version")?,
                7 => graph = Some(Graph::parse(budget.message(value, "ModelProto.graph")?, budget)?),
                8 => {
                    let (mut domain, mut version) = ("", 0);
                    for field in budget.message(value, "ModelProto.opset_import")?.fields() {
                        match field? {
                            (1, value, _) => domain = value.text("OperatorSetIdProto.domain")?,
                            (2, value, _) => version = value.int("OperatorSetIdProto.version")?,
                            _ => {}
                        }
                    }
                    model.opsets.push((domain, version));
                }
                25 => {
                    let (mut name, mut domain) = ("", "");
                    for field in budget.message(value, "ModelProto.functions")?.fields() {
                        match field? {
                            (1, value, _) => name = value.text("FunctionProto.name")?,
                            (10, value, _) => domain = value.text("FunctionProto.domain")?,
                            _ => {}
                        }
                    }
                    model.functions.push((domain, name));
                }
                _ => {}
            }
        }
        let Some(graph) = graph else { return malformed("it has no graph") };
        Ok(Self { graph, ..model })
    }
}

impl<'a> Graph<'a> {
    fn parse(message: Message<'a>, budget: &mut Budget) -> Result<Self> {
        let mut graph = Self::default();
        for field in message.fields() {
            let (number, value, _) = field?;
            match number {
                1 => graph.nodes.push(Node::parse(budget.message(value, "GraphProto.node")?, budget)?),
                5 => {
                    let message = budget.message(value, "GraphProto.initializer")?;
                    graph.initializers.push(Tensor::parse(message)?);
                }
                11 => {
                    let message = budget.message(value, "GraphProto.input")?;
                    graph.inputs.push(ValueInfo::parse(message, budget)?);
                }
                12 => {
                    let message = budget.message(value, "GraphProto.output")?;
                    graph.outputs.push(ValueInfo::parse(message, budget)?);
                }
                15 => graph.sparse_initializers += 1,
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn parse(message: Message<'a>, budget: &mut Budget) -> Result<Self> {
        let mut node = Self::default();
        for field in message.fields() {
            let (number, value, _) = field?;
            match number {
                1 => node.inputs.push(budget.text(value, "NodeProto.input")?),
                2 => node.outputs.push(budget.text(value, "NodeProto.output")?),
                3 => node.name = value.text("NodeProto.name")?,
                4 => node.op_type = value.text("NodeProto.op_type")?,
                5 => {
                    let message = budget.message(value, "NodeProto.attribute")?;
                    node.attributes.push(Attribute::parse(message)?);
                }
                7 => node.domain = value.text("NodeProto.domain")?,
                _ => {}
            }
        }
        Ok(node)
    }
}

impl<'a> Attribute<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut attribute = Self { message, ..Self::default() };
        for field in message.fields() {
            let (number, value, _) = field?;
            match number {
                1 => attribute.name = value.text("AttributeProto.name")?,
                20 => attribute.kind = value.int("AttributeProto.type")?,
                _ => {}
            }
        }
        Ok(attribute)
    }

    /// The value of one of the fields, if the attribute is of that type.
    fn single<T>(self, kind: i64, field: u32, decode: impl Fn(Value<'a>) -> Result<T>) -> Result<Option<T>> {
        if self.kind != kind && self.kind != 0 {
            return Ok(None);
        }
        let mut found = None;
        for field_found in self.message.fields() {
            let (number, value, _) = field_found?;
            if number == field {
                found = Some(decode(value)?);
            }
        }
        Ok(found)
    }

    /// A number. Zero need not be written, so that a typed attribute without a value is zero.
    pub(crate) fn float(self) -> Result<Option<f32>> {
        Ok(self.single(1, 2, |value| value.float(self.name))?.or((self.kind == 1).then_some(0.0)))
    }

    /// An integer, zero where it is not written.
    pub(crate) fn int(self) -> Result<Option<i64>> {
        Ok(self.single(2, 3, |value| value.int(self.name))?.or((self.kind == 2).then_some(0)))
    }

    /// Text, empty where it is not written.
    pub(crate) fn text(self) -> Result<Option<&'a str>> {
        Ok(self.single(3, 4, |value| value.text(self.name))?.or((self.kind == 3).then_some("")))
    }

    /// A tensor.
    pub(crate) fn tensor(self) -> Result<Option<Tensor<'a>>> {
        self.single(4, 5, |value| Tensor::parse(Message(value.bytes(self.name)?)))
    }

    /// A list of numbers.
    pub(crate) fn floats(self) -> Result<Option<Vec<f32>>> {
        if self.kind != 6 && self.kind != 0 {
            return Ok(None);
        }
        self.message.fixed(7).map(|bytes| Ok(f32::from_le_bytes(bytes?))).collect::<Result<_>>().map(Some)
    }

    /// A list of integers.
    pub(crate) fn ints(self) -> Result<Option<Vec<i64>>> {
        if self.kind != 7 && self.kind != 0 {
            return Ok(None);
        }
        self.message.varints(8).map(|value| Ok(value? as i64)).collect::<Result<_>>().map(Some)
    }
}

impl<'a> Tensor<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut tensor = Self { message, ..Self::default() };
        let (mut entries, mut is_external) = (Vec::new(), false);
        for field in message.fields() {
            let (number, value, _) = field?;
            match number {
                2 => tensor.data_type = value.int("TensorProto.data_type")?,
                3 => return malformed("a tensor in segments"),
                8 => tensor.name = value.text("TensorProto.name")?,
                9 => tensor.raw = Some(value.bytes("TensorProto.raw_data")?),
                13 => {
                    let (mut key, mut text) = ("", "");
                    for field in Message(value.bytes("TensorProto.external_data")?).fields() {
                        match field? {
                            (1, value, _) => key = value.text("StringStringEntryProto.key")?,
                            (2, value, _) => text = value.text("StringStringEntryProto.value")?,
                            _ => {}
                        }
                    }
                    if entries.len() == 8 {
                        return malformed("more than 8 entries say where a tensor lies");
                    }
                    entries.push((key, text));
                }
                14 => is_external = value.int("TensorProto.data_location")? == 1,
                _ => {}
            }
        }
        for extent in message.varints(1) {
            if tensor.dims.len() == MAX_RANK {
                return malformed(format!("a tensor of more than {} dimensions", MAX_RANK));
            }
            tensor.dims.push(extent? as i64);
        }
        tensor.external = is_external.then_some(entries);
        Ok(tensor)
    }

    /// `float_data`.
    pub(crate) fn floats(&self) -> impl Iterator<Item = Result<f32>> + 'a {
        self.message.fixed(4).map(|bytes| Ok(f32::from_le_bytes(bytes?)))
    }

    /// `int32_data`: also of the narrow types, and the bits of 16-bit floats.
    pub(crate) fn int32s(&self) -> impl Iterator<Item = Result<i64>> + 'a {
        self.message.varints(5).map(|value| Ok(value? as i64))
    }

    /// `int64_data`.
    pub(crate) fn int64s(&self) -> impl Iterator<Item = Result<i64>> + 'a {
        self.message.varints(7).map(|value| Ok(value? as i64))
    }

    /// `uint64_data`: also of 32 bits.
    pub(crate) fn uint64s(&self) -> impl Iterator<Item = Result<u64>> + 'a {
        self.message.varints(11)
    }

    /// `double_data`.
    pub(crate) fn doubles(&self) -> impl Iterator<Item = Result<f64>> + 'a {
        self.message.fixed(10).map(|bytes| Ok(f64::from_le_bytes(bytes?)))
    }
}

impl<'a> ValueInfo<'a> {
    fn parse(message: Message<'a>, budget: &mut Budget) -> Result<Self> {
        let mut info = Self::default();
        for field in message.fields() {
            match field? {
                (1, value, _) => info.name = value.text("ValueInfoProto.name")?,
                (2, value, _) => info.read_type(Message(value.bytes("ValueInfoProto.type")?), budget)?,
                _ => {}
            }
        }
        Ok(info)
    }

    fn read_type(&mut self, message: Message<'a>, budget: &mut Budget) -> Result<()> {
        for field in message.fields() {
            // Sequences, maps and the like have other numbers, and stay without a type.
            let (1, value, _) = field? else { continue };
            for field in Message(value.bytes("TypeProto.tensor_type")?).fields() {
                match field? {
                    (1, value, _) => self.elem_type = value.int("TypeProto.Tensor.elem_type")?,
                    (2, value, _) => {
                        let mut shape = Vec::new();
                        for field in Message(value.bytes("TypeProto.Tensor.shape")?).fields() {
                            let (1, value, _) = field? else { continue };
                            shape.push(Dimension::parse(budget.message(value, "TensorShapeProto.dim")?)?);
                        }
                        self.shape = Some(shape);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl<'a> Dimension<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut dimension = Self::Open;
        for field in message.fields() {
            dimension = match field? {
                (1, value, _) => Self::Value(value.int("Dimension.dim_value")?),
                (2, value, _) => match value.text("Dimension.dim_param")? {
                    "" => Self::Open,
                    name => Self::Param(name),
                },
                _ => dimension,
            };
        }
        Ok(dimension)
    }
}
