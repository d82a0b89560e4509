//! What is summed up, profiled and measured: ShuffleNetV2 with random weights, or the network of an .onnx file.

use crate::failure::{Failure, Result};
use crate::options::{NetworkArgs, Size};
use kernels::Isa;
use model::graph::{Cost, Input, Layer, Op, Program};
use model::{Images, Layout, Network, onnx};
use serde::Serialize;
use std::path::Path;

/// What `--json` calls the network.
#[derive(Clone, Serialize)]
pub(crate) struct Named {
    /// The file, if the network is from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wiring: Option<&'static str>,
    pub(crate) size: Size,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { network: Some(file), .. } => write!(f, "{file}, {}", self.size),
            Self { width: Some(width), wiring: Some(wiring), .. } => {
                write!(f, "ShuffleNetV2 {width:.1}x ({wiring} wiring), {}", self.size)
            }
            _ => write!(f, "{}", self.size),
        }
    }
}

/// A packed network, and the size of its images.
pub(crate) struct Subject {
    network: Packed,
    pub(crate) named: Named,
    pub(crate) costs: Vec<Cost>,
    /// Channels and layout of each input.
    inputs: Vec<(usize, Layout)>,
    /// Numbers of each output, for one image.
    outputs: Vec<usize>,
}

enum Packed {
    ShuffleNet(Network),
    File(onnx::Network),
}

impl Subject {
    pub(crate) fn new(args: &NetworkArgs, isa: Isa) -> Result<Self> {
        let (network, named, layouts) = match &args.file {
            Some(file) => Self::of_file(file, args.size, isa)?,
            None => {
                let (width, wiring) = (Some(args.width()), Some(args.wiring.name()));
                let named =
                    Named { network: None, width, wiring, size: args.size.unwrap_or(Size::PUBLISHED) };
                (Packed::ShuffleNet(args.network(isa)?), named, vec![Layout::Nchw])
            }
        };
        let Size { h, w } = named.size;
        let program = network.program();
        let fails = |error: model::Error| match &named.network {
            Some(file) => Failure::Other(format!("{file}: {error}")),
            None => error.into(),
        };
        program.check(h, w).map_err(fails)?;
        let (graph, costs) = (program.graph(), program.costs(h, w).map_err(fails)?);
        let shapes = graph.shapes(h, w).map_err(fails)?;
        let channels = graph.nodes().iter().filter_map(|node| match node.op {
            Op::Input { channels, .. } => Some(channels),
            _ => None,
        });
        let inputs = channels.zip(layouts).collect();
        let numbers = |value: &model::graph::Value| shapes[value.index()].elements();
        let outputs = graph.outputs().iter().map(numbers).collect();
        Ok(Self { network, named, costs, inputs, outputs })
    }

    fn of_file(file: &Path, size: Option<Size>, isa: Isa) -> Result<(Packed, Named, Vec<Layout>)> {
        let network = onnx::Network::open(file, isa).map_err(|error| crate::run::of(file, &error))?;
        let fixed = network.inputs().iter().find_map(|input| input.size).map(|(h, w)| Size { h, w });
        if let (Some(wanted), Some(fixed)) = (size, fixed)
            && wanted != fixed
        {
            let name = file.display();
            return Err(Failure::Usage(format!("--size {wanted}: {name} is for images of {fixed} only")));
        }
        let size = fixed.or(size).unwrap_or(Size::PUBLISHED);
        let named = Named { network: Some(file.display().to_string()), width: None, wiring: None, size };
        let layouts = network.inputs().iter().map(|input| input.layout).collect();
        Ok((Packed::File(network), named, layouts))
    }

    pub(crate) fn program(&self) -> &Program {
        self.network.program()
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        self.program().layers()
    }

    /// ShuffleNetV2, if that is what it is.
    pub(crate) fn shufflenet(&self) -> Option<&Network> {
        match &self.network {
            Packed::ShuffleNet(network) => Some(network),
            Packed::File(_) => None,
        }
    }

    /// Room for the outputs of `n` images.
    pub(crate) fn outputs(&self, n: u32) -> Result<Vec<Vec<f32>>> {
        let room = |&numbers: &usize| numbers.checked_mul(n as usize).filter(|&len| len <= MAX_NUMBERS);
        let len = self.outputs.iter().map(room).collect::<Option<Vec<_>>>();
        let len = len
            .ok_or_else(|| Failure::Usage(format!("the outputs of {n} images would need more than 2 GiB")))?;
        Ok(len.into_iter().map(|len| vec![0.0; len]).collect())
    }

    /// A batch of images to measure with.
    pub(crate) fn batch(&self, n: u32) -> Result<Batch> {
        Batch::new(n as usize, self.named.size, &self.inputs)
    }
}

impl Packed {
    fn program(&self) -> &Program {
        match self {
            Self::ShuffleNet(network) => network.program(),
            Self::File(network) => network.program(),
        }
    }
}

/// 2 GiB; one image of the largest size fits many times.
const MAX_NUMBERS: usize = 1 << 29;

/// A batch to measure with: random numbers in [-2, 2), as normalised photos have them. Zeros could be faster than photos.
pub(crate) struct Batch {
    /// For each input: its numbers, its channels, and their order.
    inputs: Vec<(Vec<f32>, usize, Layout)>,
    n: usize,
    pub(crate) size: Size,
}

impl Batch {
    fn new(n: usize, size: Size, inputs: &[(usize, Layout)]) -> Result<Self> {
        let mut state = 0x9E37_79B9u32;
        let mut random = || {
            // xorshift32
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        };
        let mut filled = Vec::new();
        for &(channels, layout) in inputs {
            let numbers = n.checked_mul(channels).and_then(|len| len.checked_mul(size.h * size.w));
            let Some(numbers) = numbers.filter(|&numbers| numbers <= MAX_NUMBERS) else {
                return Err(Failure::Usage(format!("{n} images of {size} would need more than 2 GiB")));
            };
            filled.push((std::iter::repeat_with(&mut random).take(numbers).collect(), channels, layout));
        }
        Ok(Self { inputs: filled, n, size })
    }

    /// One batch for each input.
    pub(crate) fn images(&self) -> Vec<Images<'_>> {
        let Size { h, w } = self.size;
        self.inputs
            .iter()
            .map(|(data, _, layout)| Images { data, n: self.n, h, w, layout: *layout })
            .collect()
    }

    /// Each image as a batch of its own.
    pub(crate) fn one_by_one<'a>(&'a self) -> impl Iterator<Item = Vec<Images<'a>>> {
        let Size { h, w } = self.size;
        (0..self.n).map(move |index| {
            let image = |(data, channels, layout): &'a (Vec<f32>, usize, Layout)| {
                let len = channels * h * w;
                Images { data: &data[index * len..][..len], n: 1, h, w, layout: *layout }
            };
            self.inputs.iter().map(image).collect()
        })
    }

    /// The first image of each batch, as [`Program::observe`] wants it.
    pub(crate) fn first<'a>(&self, images: &[Images<'a>]) -> Vec<Input<'a>> {
        images.iter().zip(&self.inputs).map(|(images, (_, channels, _))| images.image(0, *channels)).collect()
    }
}
