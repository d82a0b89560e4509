//! A file's nodes, one by one, into a [`Net`]: each is handed to its function in `operators`.

use super::Refusal;
use super::import::{Call, ImageInput, Importer, MAX_INPUTS, MAX_REFUSALS, OPSETS, Value, title};
use super::net::{Net, Op};
use super::operators;
use super::proto::{self, Dimension};
use super::sizes::{Extent, Num, Sizes};
use super::tensor::{Constant, Folder, data_type};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl<'m, 'a> Importer<'m, 'a> {
    /// Reads the inputs, constants and nodes of a model; whatever is wrong with them is in the refusals.
    pub(super) fn import(
        model: &'m proto::Model<'a>,
        folder: Folder<'m>,
    ) -> Result<(Self, Vec<ImageInput<'a>>), String> {
        let opset = model.opsets.iter().find(|(domain, _)| matches!(*domain, "" | "ai.onnx"));
        let Some(&(_, opset)) = opset else {
            return Err("the file does not say which operator set it is written in".into());
        };
        if !OPSETS.contains(&opset) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            return Err(format!(
                "operator set {opset} is not known, only {first} to {last}; exporters take a version, as in \
                 torch.onnx.export(.., opset_version=18)"
            ));
        }
        let net = Net { nodes: Vec::new(), outputs: Vec::new(), constants: Vec::new(), sizes: Sizes::new() };
        let mut importer = Self {
            net,
            folder,
            opset,
            values: HashMap::new(),
            current: usize::MAX,
            made: 0,
            evaluated: Vec::new(),
            refusals: Vec::new(),
            unseen: Vec::new(),
            integers: HashSet::new(),
        };
        if model.graph.sparse_initializers > 0 {
            return Err("sparse initializers are not supported: store the weights dense".into());
        }
        for tensor in &model.graph.initializers {
            let value = Constant::of(tensor, folder)
                .map_err(|why| format!("tensor {}: {why}", super::quoted(tensor.name)))?;
            if importer.values.insert(tensor.name, Value::Constant(Arc::new(value))).is_some() {
                return Err(format!("two tensors are called {}", super::quoted(tensor.name)));
            }
        }
        let inputs = importer.inputs(&model.graph)?;
        for (index, node) in model.graph.nodes.iter().enumerate() {
            importer.current = index;
            importer.node(model, node)?;
            if importer.refusals.len() == MAX_REFUSALS {
                return Ok((importer, inputs));
            }
        }
        importer.outputs(&model.graph)?;
        Ok((importer, inputs))
    }

    /// Inputs that are not initializers too, as files before IR version 4 list them.
    fn inputs(&mut self, graph: &'m proto::Graph<'a>) -> Result<Vec<ImageInput<'a>>, String> {
        let mut inputs = Vec::new();
        for info in &graph.inputs {
            if matches!(self.values.get(info.name), Some(Value::Constant(_))) {
                continue;
            }
            let name = super::quoted(info.name);
            if inputs.len() == MAX_INPUTS {
                return Err(format!("more than {MAX_INPUTS} inputs"));
            }
            if !matches!(info.elem_type, 1 | 2 | 10 | 11) {
                let found = data_type(info.elem_type);
                return Err(format!("input {name}: expected float32, found {found}"));
            }
            let Some(dims) = &info.shape else {
                return Err(format!("input {name}: the file does not tell its shape"));
            };
            let shape = self.input_shape(dims).map_err(|why| format!("input {name}: {why}"))?;
            let node = self.push(Op::Input, vec![], shape.clone());
            if self.values.insert(info.name, Value::Data(node)).is_some() {
                return Err(format!("two inputs are called {name}"));
            }
            inputs.push(ImageInput { name: info.name, shape });
        }
        if inputs.is_empty() { Err("the network has no input".into()) } else { Ok(inputs) }
    }

    /// The batch first; height and width by their places around the channels.
    fn input_shape(&mut self, dims: &[Dimension<'a>]) -> Result<Vec<Num>, String> {
        let small = |dim: Option<&Dimension<'_>>| matches!(dim, Some(Dimension::Value(1..=4)));
        let channels_last = dims.len() == 4 && small(dims.get(3)) && !small(dims.get(1));
        if dims.len() > super::proto::MAX_RANK {
            return Err(format!("{} dimensions", dims.len()));
        }
        let places = if channels_last {
            [Extent::Batch, Extent::Height, Extent::Width, Extent::Other]
        } else {
            [Extent::Batch, Extent::Other, Extent::Height, Extent::Width]
        };
        let mut shape = Vec::new();
        for (i, dim) in dims.iter().enumerate() {
            let extent = if dims.len() == 4 {
                places[i]
            } else if i == 0 {
                Extent::Batch
            } else {
                Extent::Other
            };
            shape.push(match *dim {
                Dimension::Value(n @ 1..=0xFFFF_FFFF) => self.net.sizes.int(n),
                // Older exporters write 0 or -1 for an open extent.
                Dimension::Value(0 | -1) | Dimension::Open => self.net.sizes.open(extent, ""),
                Dimension::Value(n) => return Err(format!("an extent of {n}")),
                Dimension::Param(name) => self.net.sizes.open(extent, name),
            });
        }
        Ok(shape)
    }

    fn outputs(&mut self, graph: &'m proto::Graph<'a>) -> Result<(), String> {
        if graph.outputs.is_empty() {
            return Err("the network has no output".into());
        }
        for (index, info) in graph.outputs.iter().enumerate() {
            let name = super::quoted(info.name);
            if graph.outputs[..index].iter().any(|other| other.name == info.name) {
                return Err(format!("two outputs are called {name}"));
            }
            self.current = usize::MAX;
            let node = match self.values.get(info.name).cloned() {
                None => return Err(format!("output {name}: no node makes it")),
                Some(Value::Data(node)) => node,
                Some(Value::Unknown) => continue,
                Some(Value::Numbers(numbers)) => self.numbers_as_data(&numbers),
                Some(Value::Constant(constant)) => {
                    let array =
                        constant.floats(self.folder).map_err(|why| format!("output {name}: {why}"))?;
                    self.constant_as_data(array)
                }
            };
            self.net.outputs.push((info.name, node));
        }
        Ok(())
    }

    /// Imports one node. What is wrong with the node goes to the refusals; what is wrong with the file is an error.
    fn node(&mut self, model: &proto::Model<'a>, node: &'m proto::Node<'a>) -> Result<(), String> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        let mut unknown = false;
        for &name in &node.inputs {
            let value = match name {
                "" => None,
                _ => Some(self.values.get(name).cloned().ok_or_else(|| {
                    format!("{} reads {}, which no node before it makes", title(node), super::quoted(name))
                })?),
            };
            unknown |= matches!(value, Some(Value::Unknown));
            inputs.push(value);
        }
        let (nodes, outputs) = (self.net.nodes.len(), node.outputs.len());
        let call = Call { node, inputs, asked: RefCell::new(Vec::new()) };
        let result = match operators::operator(node) {
            None => Err(operators::unknown(model, node)),
            Some(_) if unknown => {
                self.unseen.push(self.current);
                Ok(vec![Value::Unknown; outputs])
            }
            Some(operator) => operator(self, &call).and_then(|values| call.nothing_else().map(|()| values)),
        };
        let refused = result.is_err();
        let values = match result {
            Ok(values) => values,
            Err(reason) => {
                self.refusals.push(Refusal::of(node, Some(self.current), self.opset, reason));
                self.net.nodes.truncate(nodes);
                vec![self.stand_in(&call)]
            }
        };
        if !unknown && !refused && self.net.nodes.len() == nodes {
            self.evaluated.push(self.current);
        }
        for (index, &name) in node.outputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            // An optional output that is not computed: whoever reads it is refused.
            let value = values.get(index).cloned().unwrap_or(Value::Unknown);
            if self.values.insert(name, value).is_some() {
                return Err(format!("two nodes make {}", super::quoted(name)));
            }
        }
        Ok(())
    }

    /// Something to go on with behind a refused node, so that all refusals are found: most operators keep the shape.
    fn stand_in(&mut self, call: &Call<'m, 'a>) -> Value<'a> {
        match call.inputs.first() {
            Some(Some(Value::Data(node))) if operators::keeps_shape(call.node) => {
                let (node, shape) = (*node, self.net.nodes[*node].shape.clone());
                Value::Data(self.push(Op::Refused, vec![node], shape))
            }
            _ => Value::Unknown,
        }
    }
}
