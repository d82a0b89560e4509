//! Networks from `.onnx` files.
//!
//! [`Network::open`] reads what an exporter wrote and packs it for this machine; [`check`] tells what would become of each
//! node without running anything:
//!
//! ```no_run
//! use kernels::{Isa, Serial};
//! use model::npy::Array;
//! use model::onnx::Network;
//!
//! let network = Network::open("mobilenet_v2.onnx".as_ref(), Isa::best())?;
//! let images = Array { shape: vec![1, 3, 224, 224], values: vec![0.0; 3 * 224 * 224] };
//! let outputs = network.run(&Serial, &[&images], &mut network.workspace())?;
//! println!("{}: {:?}", network.outputs()[0], outputs[0].shape);
//! # Ok::<(), model::onnx::OnnxError>(())
//! ```
//!
//! | step | what it does |
//! |---|---|
//! | `proto` | finds the messages of the file, and copies nothing |
//! | `walk`, `import`, `operators` | decides attributes as each operator set wants them, evaluates what depends on constants and sizes alone |
//! | `patterns` | puts together what exporters spell out: batch normalisation, SiLU, GELU, layer normalisation, padding |
//! | `lower`, `view` | makes a [`Graph`]: shuffles, splits and layouts are bookkeeping on axes |
//! | `tail` | computes what stands behind the last map: the decoding of a detector |
//!
//! Files are not trusted: every size is checked before memory is asked for, nothing recurses, weights in other files are
//! looked for below the model's folder only.

mod array;
mod erf;
mod grid;
mod import;
mod lower;
mod net;
mod operators;
mod patterns;
mod proto;
mod report;
mod sizes;
mod tail;
mod tensor;
mod view;
mod walk;

pub use report::{Fate, NodeReport, Port, Refusal, Report};

use crate::graph::{self, Graph, Parameters, Passes, Program, Tensors, Value, Workspace};
use crate::images::{Images, Layout};
use crate::npy;
use import::{ImageInput, Importer, Reason};
use kernels::{Isa, Parallel};
use lower::{Lowered, Lowering};
use net::Op;
use sizes::Num;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tail::{Map, Tail};
use tensor::Folder;
use view::View;

/// Why a file cannot be run. Displays as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file system said no.
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The bytes are no ONNX model, or contradict themselves.
    Invalid(String),
    /// Nodes that cannot be run; at least one.
    Refused(Vec<Refusal>),
    /// What the network was given does not fit it.
    Input(String),
    /// The network cannot work at this size, or an operator refused its parameters.
    Graph(crate::Error),
}

impl fmt::Display for OnnxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Invalid(why) | Self::Input(why) => f.write_str(why),
            Self::Refused(refusals) => {
                let Some(first) = refusals.first() else { return f.write_str("nothing can be run") };
                first.fmt(f)?;
                match refusals.len() {
                    1 => Ok(()),
                    n => write!(f, "; and {} more that `shufflenet check` lists", n - 1),
                }
            }
            Self::Graph(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OnnxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Graph(error) => Some(error),
            _ => None,
        }
    }
}

impl From<crate::Error> for OnnxError {
    fn from(error: crate::Error) -> Self {
        Self::Graph(error)
    }
}

/// Models of more bytes are refused: Protocol Buffers allow no more in one file.
const MAX_BYTES: u64 = 1 << 31;

/// A name out of a file, fit for an error message: escaped, of bounded length.
fn shortened(name: &str) -> String {
    const SHOWN: usize = 100;
    let mut text: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

/// The same in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", shortened(name))
}

/// A message on one line of bounded length: parts of it may come from a file.
fn one_line(text: &str) -> String {
    const SHOWN: usize = 600;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A network from a file: its graph, and the numbers of the graph's nodes as [`Tensors`].
#[derive(Debug)]
pub struct Model {
    graph: Graph,
    numbers: Vec<Option<Parameters<'static>>>,
    ends: Arc<Ends>,
}

/// A network packed for one instruction set. Shared by threads as it is; what one inference needs of its own is in a
/// [`Workspace`].
#[derive(Debug)]
pub struct Network {
    program: Program,
    ends: Arc<Ends>,
}

/// What lies before and behind a graph.
#[derive(Debug)]
struct Ends {
    inputs: Vec<Input>,
    outputs: Vec<String>,
    tail: Tail,
    /// Images of the batch that the file was written for, if it says so.
    batch: Option<usize>,
}

/// What a network reads.
#[derive(Clone, Debug)]
pub struct Input {
    /// The file's name for it.
    pub name: String,
    /// Channels of an image.
    pub channels: usize,
    /// Whether the channels come first or last.
    pub layout: Layout,
    /// Height and width, where the file fixes them.
    pub size: Option<(usize, usize)>,
    shape: Vec<Num>,
    shown: String,
}

/// Reads a whole file.
fn read(path: &Path) -> Result<Vec<u8>, OnnxError> {
    let failed = |source| OnnxError::Io { path: path.to_owned(), source };
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    if metadata.len() > MAX_BYTES {
        return Err(OnnxError::Invalid(format!("{}: more than 2 GiB in one file", path.display())));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path).map_err(failed)?.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// What would become of each node of a file.
///
/// # Errors
/// Where the file cannot be read, or is no ONNX model. What cannot be run is in the report.
pub fn check(path: &Path) -> Result<Report, OnnxError> {
    let bytes = read(path)?;
    planned(&bytes, Folder(path.parent()), |plan| plan.report(Isa::best()))
}

/// The same for a file in memory, whose weights lie inside.
///
/// # Errors
/// As [`check`].
pub fn check_bytes(bytes: &[u8]) -> Result<Report, OnnxError> {
    planned(bytes, Folder(None), |plan| plan.report(Isa::best()))
}

impl Model {
    /// Reads a file, and those beside it that its weights lie in.
    ///
    /// # Errors
    /// Where the file cannot be read, is no ONNX model, or has nodes that cannot be run.
    pub fn open(path: &Path) -> Result<Self, OnnxError> {
        let bytes = read(path)?;
        planned(&bytes, Folder(path.parent()), |plan| plan.model())?
    }

    /// The same for a file in memory, whose weights lie inside.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OnnxError> {
        planned(bytes, Folder(None), |plan| plan.model())?
    }

    /// The network: operations, their order, and channels. Its outputs are the maps that the file's outputs are made of.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What it reads, in the file's order.
    pub fn inputs(&self) -> &[Input] {
        &self.ends.inputs
    }

    /// What it makes is called, in the file's order.
    pub fn outputs(&self) -> &[String] {
        &self.ends.outputs
    }

    /// Packs it for an instruction set.
    ///
    /// # Errors
    /// Where an operator refuses its parameters.
    pub fn pack(&self, isa: Isa, passes: Passes) -> Result<Network, OnnxError> {
        let program = Program::build(&self.graph, self, isa, passes)?;
        Ok(Network { program, ends: Arc::clone(&self.ends) })
    }
}

impl Tensors for Model {
    fn of(&self, graph: &Graph, value: Value) -> Result<Parameters<'_>, crate::Error> {
        let Some(Some(Parameters { weights, bias, .. })) = self.numbers.get(value.index()) else {
            let node = graph.node(value).name.clone();
            return Err(crate::Error::Graph { node, why: "the file has no numbers for it".into() });
        };
        Ok(Parameters {
            weights: Cow::Borrowed(weights),
            bias: bias.as_deref().map(Cow::Borrowed),
            batch_norm: None,
        })
    }
}

impl Network {
    /// Reads a file and packs it: [`Model::open`] and [`Model::pack`].
    ///
    /// # Errors
    /// As these.
    pub fn open(path: &Path, isa: Isa) -> Result<Self, OnnxError> {
        Model::open(path)?.pack(isa, Passes::All)
    }

    /// The same for a file in memory, whose weights lie inside.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8], isa: Isa) -> Result<Self, OnnxError> {
        Model::from_bytes(bytes)?.pack(isa, Passes::All)
    }

    /// What it reads, in the file's order.
    pub fn inputs(&self) -> &[Input] {
        &self.ends.inputs
    }

    /// What it makes is called, in the file's order.
    pub fn outputs(&self) -> &[String] {
        &self.ends.outputs
    }

    /// What runs: layers, costs, profiles.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// An empty workspace.
    pub fn workspace(&self) -> Workspace {
        self.program.workspace()
    }

    /// Computes the outputs of a batch, in the file's order. Each input is shaped as the file says; the batch may be of
    /// any number of images, also where the file says one.
    ///
    /// # Errors
    /// Where inputs are shaped otherwise, or the network cannot work at their size.
    pub fn run(
        &self,
        parallel: &dyn Parallel,
        inputs: &[&npy::Array],
        workspace: &mut Workspace,
    ) -> Result<Vec<npy::Array>, OnnxError> {
        let ends = &*self.ends;
        let Fit { n, open, size } = ends.fit(inputs)?;
        let images: Vec<Images<'_>> = ends
            .inputs
            .iter()
            .zip(inputs)
            .map(|(input, array)| {
                let (h, w) = input.pixels(&array.shape);
                Images { data: &array.values, n, h, w, layout: input.layout }
            })
            .collect();
        self.program.check(size.0, size.1)?;
        let graph = self.program.graph();
        let shapes = graph.shapes(size.0, size.1)?;
        let shapes: Vec<_> = graph.outputs().iter().map(|value| shapes[value.index()]).collect();
        let len = |shape: &kernels::Shape| shape.c.checked_mul(shape.h)?.checked_mul(shape.w);
        let mut maps = Vec::with_capacity(shapes.len());
        for shape in &shapes {
            let mut map = Vec::new();
            let len = len(shape).and_then(|len| len.checked_mul(n));
            let Some(len) = len.filter(|&len| map.try_reserve_exact(len).is_ok()) else {
                return Err(OnnxError::Input(format!("an output of {n} maps of {shape} cannot be had")));
            };
            map.resize(len, 0.0f32);
            maps.push(map);
        }
        if n > 0 {
            let mut slices: Vec<&mut [f32]> = maps.iter_mut().map(Vec::as_mut_slice).collect();
            self.program.run(parallel, &images, workspace, &mut slices);
        }
        // As many images at a time as the file was written for.
        let each = ends.batch.unwrap_or(n).max(1);
        let mut results: Vec<npy::Array> = Vec::new();
        for first in (0..n.max(1)).step_by(each) {
            let images = each.min(n - first.min(n));
            let maps: Vec<Map<'_>> = maps
                .iter()
                .zip(&shapes)
                .map(|(map, shape)| {
                    let len = shape.c * shape.h * shape.w;
                    let data = &map[first * len..(first + images) * len];
                    Map { data, shape: [images, shape.c, shape.h, shape.w] }
                })
                .collect();
            let made = ends.tail.run(&maps, &open).map_err(OnnxError::Input)?;
            if results.is_empty() {
                results = made.into_iter().map(|a| npy::Array { shape: a.shape, values: a.items }).collect();
                continue;
            }
            for ((result, more), name) in results.iter_mut().zip(made).zip(&ends.outputs) {
                let Some(stacked) = result.shape.first_mut().filter(|_| more.shape.first() == Some(&each))
                else {
                    let found = &more.shape;
                    return Err(OnnxError::Input(format!(
                        "output {} of shape {found:?} has no axis for more than {each} images: run them one by one",
                        quoted(name)
                    )));
                };
                *stacked += each;
                result.values.extend_from_slice(&more.items);
            }
        }
        Ok(results)
    }
}

impl Ends {
    /// Holds inputs against what the file says.
    fn fit(&self, inputs: &[&npy::Array]) -> Result<Fit, OnnxError> {
        let wrong = |why| Err(OnnxError::Input(why));
        if inputs.len() != self.inputs.len() {
            return wrong(format!("expected {} inputs, found {}", self.inputs.len(), inputs.len()));
        }
        let sizes = self.tail.sizes();
        let mut fit = Fit { n: 0, open: vec![f64::NAN; sizes.open_extents()], size: (1, 1) };
        for (index, (input, array)) in self.inputs.iter().zip(inputs).enumerate() {
            let (name, found, shown) = (quoted(&input.name), &array.shape, &input.shown);
            let product = found.iter().try_fold(1usize, |product, &len| product.checked_mul(len));
            if product != Some(array.values.len()) {
                return wrong(format!("input {name}: {} numbers for shape {found:?}", array.values.len()));
            }
            if found.len() != input.shape.len() {
                return wrong(format!("input {name}: expected shape {shown}, found {found:?}"));
            }
            for (axis, (&num, &len)) in input.shape.iter().zip(found).enumerate() {
                if axis == 0 {
                    let one_by_one = self.batch.is_none_or(|batch| len > 0 && len.is_multiple_of(batch));
                    if index == 0 {
                        fit.n = len;
                    }
                    if !one_by_one || len != fit.n {
                        return wrong(format!("input {name}: a batch of {len} where {shown} was expected"));
                    }
                    if let Some(open) = sizes.open_index(num) {
                        fit.open[open] = len as f64;
                    }
                    continue;
                }
                let fits = match (sizes.open_index(num), sizes.count(num)) {
                    (open, Some(expected)) if expected == len => {
                        open.into_iter().for_each(|open| fit.open[open] = len as f64);
                        true
                    }
                    (Some(open), None) => {
                        let before = std::mem::replace(&mut fit.open[open], len as f64);
                        len > 0 && (before.is_nan() || before == len as f64)
                    }
                    _ => false,
                };
                if !fits {
                    return wrong(format!("input {name}: expected shape {shown}, found {found:?}"));
                }
            }
            if input.size.is_none() {
                fit.size = input.pixels(found);
            }
        }
        Ok(fit)
    }
}

/// What inputs are, once they fit.
struct Fit {
    n: usize,
    /// Values of the open extents.
    open: Vec<f64>,
    /// Height and width of the open inputs.
    size: (usize, usize),
}

impl Input {
    fn pixels(&self, shape: &[usize]) -> (usize, usize) {
        match self.layout {
            Layout::Nchw => (shape[2], shape[3]),
            Layout::Nhwc => (shape[1], shape[2]),
        }
    }
}

/// A file on its way to a graph.
struct Plan<'p, 'a> {
    model: &'p proto::Model<'a>,
    inputs: Vec<ImageInput<'a>>,
    opset: i64,
    evaluated: Vec<usize>,
    unseen: Vec<usize>,
    refusals: Vec<Refusal>,
    lowering: Lowering<'p, 'a>,
}

/// Of the file's nodes that one operation stands for, the one that it is called after.
fn main_of(model: &proto::Model<'_>, from: &[usize]) -> Option<usize> {
    let heavy = |&&file: &&usize| {
        matches!(
            model.graph.nodes[file].op_type,
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "LayerNormalization"
        )
    };
    from.iter().find(heavy).or(from.last()).copied()
}

/// Reads a file, and hands on what was made of it.
fn planned<R>(
    bytes: &[u8],
    folder: Folder<'_>,
    then: impl FnOnce(Plan<'_, '_>) -> R,
) -> Result<R, OnnxError> {
    let invalid = |why: String| OnnxError::Invalid(one_line(&why));
    let model = proto::Model::parse(bytes).map_err(|error| invalid(error.to_string()))?;
    let (importer, inputs) = Importer::import(&model, folder).map_err(invalid)?;
    let Importer { net, opset, evaluated, unseen, mut refusals, .. } = importer;
    let mut net = patterns::simplify(net);
    let nodes = &model.graph.nodes;
    let name = |node: &net::Node| match main_of(&model, &node.from) {
        Some(file) if !nodes[file].name.is_empty() => shortened(nodes[file].name),
        Some(file) => shortened(nodes[file].outputs.first().copied().unwrap_or("")),
        None => String::new(),
    };
    let lowering = Lowering::new(&mut net, folder, &name);
    for (node, lowered) in lowering.net.nodes.iter().zip(&lowering.lowered) {
        if let (Lowered::Refused(why, _), false) = (lowered, matches!(node.op, Op::Refused)) {
            let reason = Reason { why: why.why.clone(), instead: why.instead };
            match main_of(&model, &node.from) {
                Some(file) => refusals.push(Refusal::of(&nodes[file], Some(file), opset, reason)),
                None => refusals.push(Refusal::of(&proto::Node::default(), None, opset, reason)),
            }
        }
    }
    Ok(then(Plan { model: &model, inputs, opset, evaluated, unseen, refusals, lowering }))
}

impl Plan<'_, '_> {
    /// Chooses the graph's outputs: maps that the file asks for, or that something behind the graph reads.
    fn outputs(&mut self) -> Tail {
        let mut chosen: Vec<Value> = Vec::new();
        let lowered = &self.lowering.lowered;
        let tail = Tail::new(self.lowering.net, &mut |node| {
            let Lowered::View(view) = &lowered[node] else { return None };
            let view: View = view.clone();
            let output = chosen.iter().position(|value| *value == view.value).unwrap_or_else(|| {
                chosen.push(view.value);
                chosen.len() - 1
            });
            Some((output, view))
        });
        self.lowering.graph.set_outputs(&chosen);
        tail
    }

    fn model(mut self) -> Result<Model, OnnxError> {
        if !self.refusals.is_empty() {
            return Err(OnnxError::Refused(self.refusals));
        }
        let tail = self.outputs();
        let Lowering { graph, net, .. } = &self.lowering;
        if graph.outputs().is_empty() {
            return Err(OnnxError::Invalid("no output depends on an image".into()));
        }
        let mut inputs = Vec::new();
        for (input, (value, layout)) in self.inputs.iter().zip(&self.lowering.inputs) {
            let graph::Op::Input { channels, size } = graph.node(*value).op else { continue };
            inputs.push(Input {
                name: input.name.to_owned(),
                channels,
                layout: *layout,
                size,
                shape: input.shape.clone(),
                shown: net.sizes.show_all(&input.shape),
            });
        }
        let batch = self.inputs.first().and_then(|input| net.sizes.count(input.shape[0]));
        let outputs = net.outputs.iter().map(|(name, _)| (*name).to_owned()).collect();
        let numbers = graph.values().map(|value| self.lowering.numbers(value)).collect::<Result<_, _>>()?;
        let ends = Arc::new(Ends { inputs, outputs, tail, batch });
        Ok(Model { graph: self.lowering.graph, numbers, ends })
    }

    fn report(self, isa: Isa) -> Report {
        let files = &self.model.graph.nodes;
        let mut nodes: Vec<NodeReport> = files.iter().map(Report::node).collect();
        self.evaluated.iter().for_each(|&file| nodes[file].fate = Fate::Evaluated);
        self.unseen.iter().for_each(|&file| nodes[file].fate = Fate::Unseen);
        let mut parameters = 0u64;
        for (node, lowered) in self.lowering.net.nodes.iter().zip(&self.lowering.lowered) {
            let Some(main) = main_of(self.model, &node.from) else { continue };
            let (fate, note) = match lowered {
                Lowered::Dead => continue,
                Lowered::View(_) => match node.op {
                    Op::Reshape | Op::Transpose(_) | Op::Slice { .. } | Op::Gather { .. } | Op::Concat(_) => {
                        (Fate::Renamed, String::new())
                    }
                    _ => (Fate::Runs, String::new()),
                },
                Lowered::Tail(why) => (Fate::Behind, one_line(&why.why)),
                Lowered::Refused(..) => (Fate::Refused, String::new()),
                Lowered::Unseen => (Fate::Unseen, String::new()),
            };
            if let Op::Conv(net::Conv { weights, .. }) | Op::Linear(weights) = &node.op {
                parameters += self.lowering.net.constants[weights.tensor].count() as u64;
                parameters += weights.bias.as_ref().map_or(0, |bias| bias.len() as u64);
            }
            for &file in &node.from {
                nodes[file].fate = if file == main || fate != Fate::Runs { fate } else { Fate::Fused };
                nodes[file].note =
                    if nodes[file].fate == Fate::Fused { nodes[main].title.clone() } else { note.clone() };
            }
        }
        let sizes = &self.lowering.net.sizes;
        let port = |name: &str, shape: &[Num]| Port { name: shortened(name), shape: sizes.show_all(shape) };
        let inputs = self.inputs.iter().map(|input| port(input.name, &input.shape)).collect();
        let net = &self.lowering.net;
        let outputs = net.outputs.iter().map(|(name, node)| port(name, &net.nodes[*node].shape)).collect();
        for file in self.refusals.iter().filter_map(|refusal| refusal.index) {
            nodes[file].fate = Fate::Refused;
        }
        let (producer, version) = self.model.producer;
        let opset = self.opset;
        let mut report = Report {
            producer: shortened(format!("{producer} {version}").trim()),
            opset,
            inputs,
            outputs,
            nodes,
            parameters,
            layers: 0,
            refusals: self.refusals.clone(),
        };
        match self.model().and_then(|model| model.pack(isa, Passes::All)) {
            Ok(network) => report.layers = network.program.layers().len(),
            Err(OnnxError::Refused(_)) => {}
            Err(error) => report.refusals.push(Refusal {
                node: String::new(),
                operator: "network".into(),
                domain: String::new(),
                opset,
                reason: one_line(&error.to_string()),
                instead: None,
                index: None,
            }),
        }
        report
    }
}
