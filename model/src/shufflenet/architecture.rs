//! ShuffleNetV2 (Ma et al., ECCV 2018, arXiv 1807.11164) as a graph: Table 5, made of the units of Figure 3.

use super::config::Config;
use super::wiring::{Part, Site};
use crate::Error;
use crate::graph::{Conv, Graph, Linear, Op, Value};
use kernels::{Activation, Window};

/// Table 5, from the image to the classes; without classes, to the averages of conv5.
///
/// # Errors
/// Where the configuration contradicts itself.
pub fn graph(config: &Config) -> Result<Graph, Error> {
    Ok(describe(config, false)?.0)
}

/// Conv1, the pool and the stages alone, for a network that goes on otherwise: what each stage makes.
///
/// # Errors
/// As [`graph`].
pub fn backbone(graph: &mut Graph, config: &Config, image: Value) -> Result<[Value; 3], Error> {
    Net { graph, config, sites: Vec::new() }.backbone(image)
}

/// The graph, and which of its nodes have weights. A last layer has a bias where the wiring has one there, or else
/// `head_bias`.
pub(crate) fn describe(config: &Config, head_bias: bool) -> Result<(Graph, Vec<(Value, Site)>), Error> {
    let mut graph = Graph::new();
    let image = graph.named("image", Op::Input { channels: 3, size: None }, &[])?;
    let mut net = Net { graph: &mut graph, config, sites: Vec::new() };
    let [.., x] = net.backbone(image)?;
    let x = net.pointwise(Site::Conv5, x, config.stage_channels[4])?;
    let x = net.graph.named("pool", Op::GlobalAverage, &[x])?;
    if config.classes > 0 {
        net.fc(x, config.classes, head_bias)?;
    }
    let sites = net.sites;
    Ok((graph, sites))
}

/// Visits every convolution of `config`, and the fully connected layer, with the shape of its weights in PyTorch's order.
pub(crate) fn each_site(config: &Config, mut visit: impl FnMut(Site, Vec<usize>)) -> Result<(), Error> {
    let (graph, sites) = describe(config, false)?;
    sites.into_iter().for_each(|(value, site)| visit(site, graph.weights(value)));
    Ok(())
}

struct Net<'a> {
    graph: &'a mut Graph,
    config: &'a Config,
    sites: Vec<(Value, Site)>,
}

impl Net<'_> {
    /// Table 5 up to stage 4.
    fn backbone(&mut self, image: Value) -> Result<[Value; 3], Error> {
        let window = self.window().stride(2);
        let conv1 = Conv::new(self.config.stage_channels[0], window).activation(RELU);
        let x = self.conv(Site::Conv1, image, conv1)?;
        let mut x = self.graph.named("max_pool", Op::MaxPool(window), &[x])?;
        let mut stages = [x; 3];
        for (stage, made) in stages.iter_mut().enumerate() {
            if self.config.stage_repeats[stage] == 0 {
                return Err(Error::Config(format!("stage {}: at least one unit", stage + 2)));
            }
            for unit in 0..self.config.stage_repeats[stage] {
                x = self.unit(stage, unit, x)?;
            }
            *made = x;
        }
        Ok(stages)
    }

    /// Figure 3: (d), of stride 2, begins a stage; the others are (c), of stride 1.
    fn unit(&mut self, stage: usize, unit: usize, x: Value) -> Result<Value, Error> {
        let Config { wiring, ref stage_repeats, .. } = *self.config;
        let index = stage_repeats[..stage].iter().sum::<usize>() + unit;
        let site = |part| Site::Unit { stage, unit, index, part };
        let name = format!("stage{}.{unit}", stage + 2);
        let channels = self.config.branches(stage, unit, self.graph.node(x).channels)?;
        let (stride, (left, right)) = match unit {
            0 => {
                let left = self.depthwise(site(Part::ProjDepthwise), x, 2)?;
                (2, (self.pointwise(site(Part::ProjPointwise), left, channels.proj)?, x))
            }
            _ => (1, wiring.split(self.graph, &name, x)?),
        };
        let right = self.pointwise(site(Part::MainExpand), right, channels.mid)?;
        let right = self.depthwise(site(Part::MainDepthwise), right, stride)?;
        let right = self.pointwise(site(Part::MainPointwise), right, channels.main)?;
        wiring.join(self.graph, &name, left, right)
    }

    /// 1x1, BN, ReLU.
    fn pointwise(&mut self, site: Site, x: Value, oc: usize) -> Result<Value, Error> {
        self.conv(site, x, Conv::new(oc, Window::new(1)).activation(RELU))
    }

    /// 3x3 depthwise, BN.
    fn depthwise(&mut self, site: Site, x: Value, stride: usize) -> Result<Value, Error> {
        let channels = self.graph.node(x).channels;
        self.conv(site, x, Conv::new(channels, self.window().stride(stride)).groups(channels))
    }

    fn fc(&mut self, x: Value, oc: usize, bias: bool) -> Result<Value, Error> {
        let bias = bias || self.config.wiring.names(Site::Fc).bias.is_some();
        let fc = Op::Linear(Linear { oc, bias, activation: Activation::None });
        let x = self.graph.named(&Site::Fc.label(), fc, &[x])?;
        self.sites.push((x, Site::Fc));
        Ok(x)
    }

    /// Of 3x3 taps.
    fn window(&self) -> Window {
        Window::new(3).padding(self.config.wiring.padding())
    }

    /// A convolution with the bias and normalisation that the wiring has there.
    fn conv(&mut self, site: Site, x: Value, mut conv: Conv) -> Result<Value, Error> {
        let names = self.config.wiring.names(site);
        conv.bias = names.bias.is_some();
        conv.batch_norm = names.batch_norm.is_some();
        let x = self.graph.named(&site.label(), conv, &[x])?;
        self.sites.push((x, site));
        Ok(x)
    }
}

const RELU: Activation = Activation::Relu;
