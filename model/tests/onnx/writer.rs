//! Writes small `.onnx` files: Protocol Buffers by hand, as exporters lay them out.

/// Numbers from -0.5 to 0.5, others for each `seed`.
pub(crate) fn weights(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i + 31 * seed) * 6_007 % 1009) as f32 / 1009.0 - 0.5).collect()
}

/// A message being written.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn varint(mut self, field: u32, value: u64) -> Self {
        self.number(u64::from(field) << 3);
        self.number(value);
        self
    }

    pub(crate) fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.number(u64::from(field) << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(crate) fn message(self, field: u32, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        self.number(u64::from(field) << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// An attribute's value.
#[derive(Clone)]
pub(crate) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
    Tensor(Message),
}

impl From<i64> for Attribute {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<const N: usize> From<[i64; N]> for Attribute {
    fn from(values: [i64; N]) -> Self {
        Self::Ints(values.to_vec())
    }
}

impl From<f32> for Attribute {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<&'static str> for Attribute {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<Message> for Attribute {
    fn from(tensor: Message) -> Self {
        Self::Tensor(tensor)
    }
}

/// `TensorProto` of float32 as raw bytes.
pub(crate) fn floats(name: &str, shape: &[usize], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, shape, 1).bytes(9, &raw)
}

/// `TensorProto` of int64 as raw bytes.
pub(crate) fn ints(name: &str, shape: &[usize], values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, shape, 7).bytes(9, &raw)
}

/// `TensorProto` without its numbers.
pub(crate) fn tensor(name: &str, shape: &[usize], data_type: u64) -> Message {
    let dims = shape.iter().fold(Message::default(), |dims, &len| dims.varint(1, len as u64));
    dims.varint(2, data_type).text(8, name)
}

/// A network being written.
#[derive(Clone)]
pub(crate) struct Net {
    opset: u64,
    graph: Message,
    /// What the next constant is called, where it has no name of its own.
    constants: usize,
}

/// An extent: a number, or the name of an open one.
#[derive(Clone, Copy)]
pub(crate) enum Dim {
    Is(u64),
    Open(&'static str),
}

impl From<u64> for Dim {
    fn from(len: u64) -> Self {
        Self::Is(len)
    }
}

impl From<&'static str> for Dim {
    fn from(name: &'static str) -> Self {
        Self::Open(name)
    }
}

fn port(name: &str, shape: &[Dim], elem_type: u64) -> Message {
    let dim = |dim: &Dim| match dim {
        Dim::Is(len) => Message::default().varint(1, *len),
        Dim::Open(name) => Message::default().text(2, name),
    };
    let shape = shape.iter().fold(Message::default(), |shape, d| shape.message(1, &dim(d)));
    let tensor = Message::default().varint(1, elem_type).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

impl Net {
    pub(crate) fn new(opset: u64) -> Self {
        Self { opset, graph: Message::default(), constants: 0 }
    }

    /// One with the input `x` of this shape.
    pub(crate) fn of(opset: u64, shape: &[usize]) -> Self {
        let shape: Vec<Dim> = shape.iter().map(|&len| Dim::Is(len as u64)).collect();
        Self::new(opset).input("x", &shape)
    }

    pub(crate) fn input(self, name: &str, shape: &[Dim]) -> Self {
        self.typed_input(name, shape, 1)
    }

    pub(crate) fn typed_input(mut self, name: &str, shape: &[Dim], elem_type: u64) -> Self {
        self.graph = self.graph.message(11, &port(name, shape, elem_type));
        self
    }

    pub(crate) fn output(mut self, name: &str) -> Self {
        self.graph = self.graph.message(12, &port(name, &[], 1));
        self
    }

    /// An initializer.
    pub(crate) fn tensor(mut self, tensor: &Message) -> Self {
        self.graph = self.graph.message(5, tensor);
        self
    }

    pub(crate) fn floats(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        self.tensor(&floats(name, shape, values))
    }

    pub(crate) fn ints(self, name: &str, values: &[i64]) -> Self {
        self.tensor(&ints(name, &[values.len()], values))
    }

    /// A number.
    pub(crate) fn scalar(self, name: &str, value: f32) -> Self {
        self.floats(name, &[], &[value])
    }

    /// A node called after its output: `"Mul a b"` reads `a` and `b`.
    pub(crate) fn node(self, call: &str, outputs: &str, attributes: &[(&str, Attribute)]) -> Self {
        self.node_of("", call, outputs, attributes)
    }

    pub(crate) fn node_of(
        mut self,
        domain: &str,
        call: &str,
        outputs: &str,
        attributes: &[(&str, Attribute)],
    ) -> Self {
        let mut words = call.split(' ');
        let operator = words.next().unwrap();
        // A dash stands for an input that is left out.
        let node =
            words.fold(Message::default(), |node, name| node.text(1, if name == "-" { "" } else { name }));
        let node = outputs.split(' ').fold(node, |node, name| node.text(2, name));
        let node = node.text(3, &format!("{operator}_{}", self.constants)).text(4, operator).text(7, domain);
        self.constants += 1;
        let node =
            attributes.iter().fold(node, |node, (name, value)| node.message(5, &attribute(name, value)));
        self.graph = self.graph.message(1, &node);
        self
    }

    /// A 1x1 convolution of `x` to `y` with the numbers of [`weights`], so that there is something to fold into.
    pub(crate) fn pointwise(self, x: &str, y: &str, (ic, oc): (usize, usize)) -> Self {
        let name = format!("{y}.weight");
        let call = format!("Conv {x} {name}");
        self.floats(&name, &[oc, ic, 1, 1], &weights(oc, oc * ic)).node(&call, y, &[])
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let opset = Message::default().text(1, "").varint(2, self.opset);
        let model = Message::default().varint(1, 8).text(2, "tests").text(3, "1");
        model.message(7, &self.graph).message(8, &opset).0
    }
}

fn attribute(name: &str, value: &Attribute) -> Message {
    let attribute = Message::default().text(1, name);
    match value {
        Attribute::Int(value) => attribute.varint(3, *value as u64).varint(20, 2),
        Attribute::Ints(values) => {
            let mut packed = Message::default();
            values.iter().for_each(|&value| packed.number(value as u64));
            attribute.bytes(8, &packed.0).varint(20, 7)
        }
        Attribute::Float(value) => attribute.float(2, *value).varint(20, 1),
        Attribute::Text(text) => attribute.text(4, text).varint(20, 3),
        Attribute::Tensor(tensor) => attribute.message(5, tensor).varint(20, 4),
    }
}
