//! What a file's nodes are imported with: the [`Net`] that they become part of, and what names stand for.
//!
//! Values are of three kinds: constants of the file, numbers that depend on the size of the images (see
//! [`sizes`](super::sizes)), and what the network computes. What reads no computed value is evaluated here and now.

use super::Refusal;
use super::array;
use super::net::{Affine, Binary, Net, Node, Op};
use super::proto;
use super::sizes::{Arith, Num};
use super::tensor::{Array, Constant, Folder, elements};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Constant(Arc<Constant<'a>>),
    Numbers(Numbers),
    /// A node of the net.
    Data(usize),
    /// What a refused node would have made, of which nothing is known.
    Unknown,
}

/// A tensor of numbers that may depend on the size of the images.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub(super) array: Arc<Array<Num>>,
    /// Integers divide otherwise than real numbers.
    pub(super) int: bool,
}

/// Why a node cannot be run, and what could.
#[derive(Debug)]
pub(super) struct Reason {
    pub(super) why: String,
    pub(super) instead: Option<&'static str>,
}

impl From<String> for Reason {
    fn from(why: String) -> Self {
        Self { why, instead: None }
    }
}

impl From<&str> for Reason {
    fn from(why: &str) -> Self {
        Self { why: why.to_owned(), instead: None }
    }
}

impl From<proto::Malformed> for Reason {
    fn from(error: proto::Malformed) -> Self {
        error.0.into()
    }
}

/// A reason with a way out.
pub(super) fn instead<T>(why: impl Into<String>, instead: &'static str) -> Result<T, Reason> {
    Err(Reason { why: why.into(), instead: Some(instead) })
}

pub(super) type Imported<T> = Result<T, Reason>;

/// Operator sets that are understood.
pub(crate) const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;

/// Constants of at most this many elements take part in arithmetic on sizes.
pub(super) const MAX_SMALL: usize = 1 << 14;

/// Inputs that are no initializers.
pub(super) const MAX_INPUTS: usize = 64;

/// Refusals after which nobody looks further.
pub(super) const MAX_REFUSALS: usize = 1000;

/// Elements that all constants made while importing may have together.
pub(super) const MAX_MADE: usize = 1 << 26;

/// One node being imported.
pub(super) struct Call<'m, 'a> {
    pub(super) node: &'m proto::Node<'a>,
    pub(super) inputs: Vec<Option<Value<'a>>>,
    /// Attributes that were asked for: others would change what the node means.
    pub(super) asked: RefCell<Vec<&'static str>>,
}

pub(super) struct Importer<'m, 'a> {
    pub(super) net: Net<'a>,
    pub(super) folder: Folder<'m>,
    pub(super) opset: i64,
    pub(super) values: HashMap<&'a str, Value<'a>>,
    /// The file's node being imported.
    pub(super) current: usize,
    pub(super) made: usize,
    /// What the nodes of the file became: evaluated here, if not a node of the net.
    pub(super) evaluated: Vec<usize>,
    pub(super) refusals: Vec<Refusal>,
    /// Nodes that read what refused ones would have made.
    pub(super) unseen: Vec<usize>,
    /// Nodes of the net that make integers, which divide otherwise.
    pub(super) integers: HashSet<usize>,
}

/// An image input of a file.
#[derive(Clone, Debug)]
pub(super) struct ImageInput<'a> {
    pub(super) name: &'a str,
    pub(super) shape: Vec<Num>,
}

impl<'m, 'a> Importer<'m, 'a> {
    /// Appends a node to the net.
    pub(super) fn push(&mut self, op: Op, inputs: Vec<usize>, shape: Vec<Num>) -> usize {
        let from = if self.current == usize::MAX { vec![] } else { vec![self.current] };
        self.net.nodes.push(Node { op, inputs, shape, from });
        self.net.nodes.len() - 1
    }

    /// Keeps weights until they are packed.
    pub(super) fn keep(&mut self, constant: Arc<Constant<'a>>) -> usize {
        self.net.constants.push(constant);
        self.net.constants.len() - 1
    }

    /// Applies an operation: to the net if it reads computed values, else at once.
    pub(super) fn emit(&mut self, op: Op, inputs: Vec<Value<'a>>, shape: Vec<Num>) -> Imported<Value<'a>> {
        if inputs.iter().any(|value| matches!(value, Value::Data(_))) {
            return self.emit_data(op, &inputs, shape);
        }
        let mut numbers = Vec::new();
        for value in &inputs {
            match self.small(value)? {
                Some(found) => numbers.push(found),
                None => return self.fold(&op, &inputs, &shape),
            }
        }
        let int = numbers.iter().all(|n| n.int);
        if !int && inputs.iter().all(|value| matches!(value, Value::Constant(_))) {
            return self.fold(&op, &inputs, &shape);
        }
        let lengths: Option<Vec<usize>> = shape.iter().map(|&n| self.net.sizes.count(n)).collect();
        let Some(lengths) = lengths else {
            // As many numbers as there are pixels: made when the size is known.
            return self.emit_data(op, &inputs, shape);
        };
        if elements(&lengths).is_none_or(|count| count > MAX_SMALL) {
            return Err("more numbers than arithmetic on sizes needs".into());
        }
        let arrays: Vec<&Array<Num>> = numbers.iter().map(|n| &*n.array).collect();
        let start = match op {
            Op::Slice { start, .. } => self.net.sizes.count(start).unwrap_or(usize::MAX),
            _ => 0,
        };
        let array = match &op {
            Op::Binary(binary) => {
                let arith = arith(*binary, int);
                let sizes = &mut self.net.sizes;
                array::broadcast(arrays[0], arrays[1], |&a, &b| sizes.of(arith, a, b))
            }
            Op::Affine(affine) => affine.as_uniform().map(|(scale, shift)| {
                let (scale, shift) = (self.net.sizes.known(scale), self.net.sizes.known(shift));
                let mut of = |&num: &Num| {
                    let product = self.net.sizes.mul(scale, num);
                    self.net.sizes.of(Arith::Add, product, shift)
                };
                Array::new(lengths, arrays[0].items.iter().map(&mut of).collect())
            }),
            _ => array::rearrange(&op, &lengths, start, &arrays),
        };
        match array {
            Some(array) => Ok(Value::Numbers(Numbers { array: Arc::new(array), int })),
            None => Err("this operation on sizes is not supported".into()),
        }
    }

    fn emit_data(&mut self, op: Op, inputs: &[Value<'a>], shape: Vec<Num>) -> Imported<Value<'a>> {
        let int = !inputs.is_empty() && inputs.iter().all(|value| self.is_int(value));
        let rounds = match &op {
            Op::Binary(binary) | Op::WithArray { binary, .. } => {
                !matches!(binary, Binary::Add | Binary::Sub | Binary::Mul)
            }
            Op::Unary(_) => true,
            _ => false,
        };
        if int && rounds {
            return instead("it divides or rounds computed integers", "float32 is computed");
        }
        let mut nodes = Vec::with_capacity(inputs.len());
        for value in inputs {
            nodes.push(self.data(value)?);
        }
        let node = self.push(op, nodes, shape);
        if int {
            self.integers.insert(node);
        }
        Ok(Value::Data(node))
    }

    /// Whether a tensor holds integers.
    pub(super) fn is_int(&self, value: &Value<'a>) -> bool {
        match value {
            Value::Constant(constant) => !constant.dtype.is_float(),
            Value::Numbers(numbers) => numbers.int,
            Value::Data(node) => self.integers.contains(node),
            Value::Unknown => false,
        }
    }

    /// Says that a node makes integers.
    pub(super) fn mark_int(&mut self, node: usize) {
        self.integers.insert(node);
    }

    /// Counts elements that are read or made while importing: a file can name one constant again and again.
    pub(super) fn make(&mut self, count: Option<usize>) -> Imported<()> {
        self.made = self.made.saturating_add(count.unwrap_or(usize::MAX));
        if self.made > MAX_MADE {
            return Err(format!("constants of more than {MAX_MADE} elements would be made").into());
        }
        Ok(())
    }

    /// Applies an operation to constants.
    fn fold(&mut self, op: &Op, inputs: &[Value<'a>], shape: &[Num]) -> Imported<Value<'a>> {
        let mut arrays = Vec::with_capacity(inputs.len());
        for value in inputs {
            arrays.push(self.floats(value)?);
        }
        let lengths: Option<Vec<usize>> = shape.iter().map(|&num| self.net.sizes.count(num)).collect();
        let Some(lengths) = lengths else {
            return Err("a constant whose shape depends on the size of the images".into());
        };
        self.make(elements(&lengths))?;
        let sizes = &self.net.sizes;
        let values = |num: Num| sizes.value(num).unwrap_or(f64::NAN);
        let arrays: Vec<&Array<f32>> = arrays.iter().collect();
        let array =
            array::eval(op, &lengths, &arrays, &values).ok_or("constants cannot be computed by it")?;
        Ok(Value::Constant(Arc::new(Constant::made(array))))
    }

    /// The numbers of a constant or of arithmetic on sizes.
    pub(super) fn floats(&mut self, value: &Value<'a>) -> Imported<Array<f32>> {
        match value {
            Value::Constant(constant) => {
                self.make(Some(constant.count()))?;
                Ok(constant.floats(self.folder)?)
            }
            Value::Numbers(numbers) => {
                let mut items = Vec::with_capacity(numbers.array.items.len());
                for &num in &numbers.array.items {
                    let Some(value) = self.net.sizes.value(num) else {
                        return Err("a number that depends on the size of the images".into());
                    };
                    items.push(value as f32);
                }
                Ok(Array::new(numbers.array.shape.clone(), items))
            }
            Value::Data(_) | Value::Unknown => Err("a computed tensor where a constant is expected".into()),
        }
    }

    /// A value that can take part in arithmetic on sizes, if it is one.
    pub(super) fn small(&mut self, value: &Value<'a>) -> Imported<Option<Numbers>> {
        match value {
            Value::Numbers(numbers) => Ok(Some(numbers.clone())),
            Value::Constant(constant) if constant.count() <= MAX_SMALL => {
                let items = constant.doubles(self.folder)?;
                let items = items.into_iter().map(|value| self.net.sizes.known(value)).collect();
                let array = Arc::new(Array::new(constant.shape.clone(), items));
                Ok(Some(Numbers { array, int: !constant.dtype.is_float() }))
            }
            _ => Ok(None),
        }
    }

    /// The same where nothing else will do.
    pub(super) fn numbers(&mut self, value: &Value<'a>, what: &str) -> Imported<Vec<Num>> {
        match self.small(value)? {
            Some(numbers) => Ok(numbers.array.items.clone()),
            None => Err(format!("{what} is computed from the image").into()),
        }
    }

    /// Integers that depend on nothing.
    pub(super) fn ints(&mut self, value: &Value<'a>, what: &str) -> Imported<Vec<i64>> {
        let numbers = self.numbers(value, what)?;
        let value = |num: Num| self.net.sizes.value(num).map(|value| value as i64);
        match numbers.into_iter().map(value).collect() {
            Some(ints) => Ok(ints),
            None => Err(format!("{what} depends on the size of the images").into()),
        }
    }

    /// The extents of a value.
    pub(super) fn shape(&mut self, value: &Value<'a>) -> Imported<Vec<Num>> {
        let lengths = match value {
            Value::Data(node) => return Ok(self.net.nodes[*node].shape.clone()),
            Value::Constant(constant) => &constant.shape,
            Value::Numbers(numbers) => &numbers.array.shape,
            Value::Unknown => return Err("an unknown shape".into()),
        };
        Ok(lengths.clone().into_iter().map(|len| self.net.sizes.len(len)).collect())
    }

    /// A value as a node of the net.
    pub(super) fn data(&mut self, value: &Value<'a>) -> Imported<usize> {
        match value {
            Value::Data(node) => Ok(*node),
            Value::Numbers(numbers) => Ok(self.numbers_as_data(numbers)),
            Value::Constant(_) => {
                let array = self.floats(value)?;
                Ok(self.constant_as_data(array))
            }
            Value::Unknown => Err("an unknown value".into()),
        }
    }

    pub(super) fn numbers_as_data(&mut self, numbers: &Numbers) -> usize {
        let shape = numbers.array.shape.iter().map(|&len| self.net.sizes.len(len)).collect();
        self.push(Op::Numbers(numbers.array.items.clone().into()), vec![], shape)
    }

    pub(super) fn constant_as_data(&mut self, array: Array<f32>) -> usize {
        let shape = array.shape.iter().map(|&len| self.net.sizes.len(len)).collect();
        self.push(Op::Constant(Arc::new(array)), vec![], shape)
    }

    /// `scale * x + shift`
    pub(super) fn affine(&mut self, value: &Value<'a>, affine: Affine) -> Imported<Value<'a>> {
        let shape = self.shape(value)?;
        self.emit(Op::Affine(affine), vec![value.clone()], shape)
    }
}

/// What a function of two numbers is on sizes.
fn arith(binary: Binary, int: bool) -> Arith {
    match binary {
        Binary::Add => Arith::Add,
        Binary::Sub => Arith::Sub,
        Binary::Mul => Arith::Mul,
        Binary::Div if int => Arith::Quotient,
        Binary::Div => Arith::Div,
        Binary::Min => Arith::Min,
        Binary::Max => Arith::Max,
        Binary::Pow => Arith::Pow,
    }
}

/// A node for a message.
pub(super) fn title(node: &proto::Node<'_>) -> String {
    let made = node.outputs.iter().find(|name| !name.is_empty());
    let name = if node.name.is_empty() { made.copied().unwrap_or("") } else { node.name };
    format!("{} {}", super::shortened(node.op_type), super::quoted(name))
}

impl<'m, 'a> Call<'m, 'a> {
    fn attribute(&self, name: &'static str) -> Option<&proto::Attribute<'a>> {
        self.asked.borrow_mut().push(name);
        self.node.attributes.iter().find(|attribute| attribute.name == name)
    }

    fn typed<T>(
        &self,
        name: &'static str,
        read: impl Fn(proto::Attribute<'a>) -> Result<Option<T>, proto::Malformed>,
    ) -> Imported<Option<T>> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        match read(*attribute)? {
            Some(value) => Ok(Some(value)),
            None => Err(format!("attribute {name} is of another type than the operator's").into()),
        }
    }

    pub(super) fn int(&self, name: &'static str) -> Imported<Option<i64>> {
        self.typed(name, proto::Attribute::int)
    }

    pub(super) fn ints(&self, name: &'static str) -> Imported<Option<Vec<i64>>> {
        self.typed(name, proto::Attribute::ints)
    }

    pub(super) fn float(&self, name: &'static str) -> Imported<Option<f32>> {
        self.typed(name, proto::Attribute::float)
    }

    pub(super) fn floats(&self, name: &'static str) -> Imported<Option<Vec<f32>>> {
        self.typed(name, proto::Attribute::floats)
    }

    pub(super) fn text(&self, name: &'static str) -> Imported<Option<&'a str>> {
        self.typed(name, proto::Attribute::text)
    }

    pub(super) fn tensor(&self, name: &'static str) -> Imported<Option<proto::Tensor<'a>>> {
        self.typed(name, proto::Attribute::tensor)
    }

    /// Attributes that say nothing about the result.
    pub(super) fn ignore(&self, names: &[&'static str]) {
        self.asked.borrow_mut().extend(names);
    }

    /// The same node with other inputs.
    pub(super) fn with_inputs(&self, inputs: Vec<Option<Value<'a>>>) -> Self {
        Self { node: self.node, inputs, asked: self.asked.clone() }
    }

    pub(super) fn nothing_else(&self) -> Imported<()> {
        let asked = self.asked.borrow();
        match self.node.attributes.iter().find(|attribute| !asked.contains(&attribute.name)) {
            None => Ok(()),
            Some(other) => Err(format!("attribute {} is not known", super::quoted(other.name)).into()),
        }
    }

    /// An input that must be there.
    pub(super) fn input(&self, index: usize) -> Imported<&Value<'a>> {
        self.optional(index).ok_or_else(|| format!("input {index} is missing").into())
    }

    pub(super) fn optional(&self, index: usize) -> Option<&Value<'a>> {
        self.inputs.get(index)?.as_ref()
    }

    /// All inputs, none of them left out.
    pub(super) fn all_inputs(&self) -> Imported<Vec<Value<'a>>> {
        (0..self.inputs.len()).map(|index| self.input(index).cloned()).collect()
    }
}
