//! What one convolution costs, from its shape alone: multiply-adds and memory-access cost.
//!
//! The paper calls the number of elements a layer must read and write at least once "MAC", memory access
//! cost. Here it is `mac_bytes`, in bytes, and multiply-adds are `macs`. FLOP = 2 per multiply-add.

use std::fmt;

/// Bytes per element: everything is `f32`.
pub const ELEMENT: u64 = 4;

/// The largest size, channel count, kernel or stride a shape file may ask for.
const LIMIT: u64 = 1 << 14;

/// The most multiply-adds a layer in a shape file may have: no count overflows, no benchmark runs for hours.
const MACS_LIMIT: u128 = 1 << 40;

/// A convolution (or a fully connected layer, a 1x1 convolution on a 1x1 map), padded by `kernel / 2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layer {
    /// What the layer is called in its network.
    pub name: String,
    /// Input height.
    pub ih: u64,
    /// Input width.
    pub iw: u64,
    /// Input channels.
    pub ic: u64,
    /// Output channels.
    pub oc: u64,
    /// Height and width of the kernel.
    pub kernel: u64,
    /// Step between outputs, the same along both axes.
    pub stride: u64,
    /// Groups that do not see each other's channels.
    pub groups: u64,
}

/// The kinds of layer that multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// 1x1 convolution, grouped or not.
    Pointwise,
    /// One filter per channel.
    Depthwise,
    /// Any other convolution.
    Dense,
    /// Fully connected.
    Linear,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pointwise => "1x1",
            Self::Depthwise => "depthwise",
            Self::Dense => "dense",
            Self::Linear => "fc",
        })
    }
}

impl Layer {
    /// A 1x1 convolution over an `ih` x `iw` map.
    pub fn pointwise(ih: u64, iw: u64, ic: u64, oc: u64, groups: u64) -> Self {
        Self { name: String::new(), ih, iw, ic, oc, kernel: 1, stride: 1, groups }
    }

    /// Which kind of layer the shape makes it.
    pub fn kind(&self) -> Kind {
        if self.kernel == 1 && self.ih == 1 && self.iw == 1 {
            Kind::Linear
        } else if self.kernel == 1 {
            Kind::Pointwise
        } else if self.groups > 1 && self.groups == self.ic && self.groups == self.oc {
            Kind::Depthwise
        } else {
            Kind::Dense
        }
    }

    /// Output height.
    pub fn oh(&self) -> u64 {
        self.ih.div_ceil(self.stride)
    }

    /// Output width.
    pub fn ow(&self) -> u64 {
        self.iw.div_ceil(self.stride)
    }

    /// Weights, without bias.
    pub fn weights(&self) -> u64 {
        self.kernel * self.kernel * (self.ic / self.groups) * self.oc
    }

    /// Multiply-adds, the paper's B.
    pub fn macs(&self) -> u64 {
        self.oh() * self.ow() * self.weights()
    }

    /// Floating-point operations: two per multiply-add.
    pub fn flop(&self) -> u64 {
        2 * self.macs()
    }

    /// Memory access cost in bytes: input, output and weights, each once. For a 1x1 convolution this is the
    /// paper's `hw(c1 + c2) + c1 c2 / g`, times the element size.
    pub fn mac_bytes(&self) -> u64 {
        let input = self.ih * self.iw * self.ic;
        let output = self.oh() * self.ow() * self.oc;
        ELEMENT * (input + output + self.weights())
    }

    /// The paper's lower bound (its equation 1) on `mac_bytes` at this layer's multiply-adds B and output
    /// map hw, `2 sqrt(hw B) + B / hw`: what the best ungrouped layer of the same FLOPs would cost. A k x k
    /// kernel divides the square root by k. `None` for a stride and for depthwise layers, to which the argument
    /// does not apply.
    pub fn lower_bound_bytes(&self) -> Option<f64> {
        let (hw, b) = ((self.oh() * self.ow()) as f64, self.macs() as f64);
        let applies = self.stride == 1 && self.kind() != Kind::Depthwise;
        applies.then(|| ELEMENT as f64 * (2.0 * (hw * b).sqrt() / self.kernel as f64 + b / hw))
    }

    /// FLOP per byte of memory access cost.
    pub fn intensity(&self) -> f64 {
        self.flop() as f64 / self.mac_bytes() as f64
    }
}

/// Why a shape file was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct ShapeError {
    line: usize,
    message: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ShapeError {}

/// Reads layers, one a line: `name ih iw ic oc k stride groups`. `#` starts a comment.
pub fn parse(text: &str) -> Result<Vec<Layer>, ShapeError> {
    let mut layers = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        if fields.is_empty() {
            continue;
        }
        layers.push(parse_line(&fields).map_err(|message| ShapeError { line: index + 1, message })?);
    }
    Ok(layers)
}

fn parse_line(fields: &[&str]) -> Result<Layer, String> {
    const NAMES: [&str; 7] = ["ih", "iw", "ic", "oc", "k", "stride", "groups"];
    if fields.len() != 1 + NAMES.len() {
        return Err(format!("expected 8 fields (name ih iw ic oc k stride groups), found {}", fields.len()));
    }
    let mut values = [0; NAMES.len()];
    for ((value, field), name) in values.iter_mut().zip(&fields[1..]).zip(NAMES) {
        *value = match field.parse() {
            Ok(number @ 1..=LIMIT) => number,
            _ => return Err(format!("{name} must be a whole number from 1 to {LIMIT}, found {field:?}")),
        };
    }
    let [ih, iw, ic, oc, kernel, stride, groups] = values;
    if kernel % 2 == 0 {
        return Err(format!("k must be odd, found {kernel}"));
    }
    if ic % groups != 0 || oc % groups != 0 {
        return Err(format!("groups must divide ic and oc, found {groups} for {ic} and {oc}"));
    }
    let macs: u128 = [ih, iw, kernel, kernel, ic / groups, oc].into_iter().map(u128::from).product();
    if macs > MACS_LIMIT {
        return Err(format!("at most {MACS_LIMIT} multiply-adds, found {macs}"));
    }
    Ok(Layer { name: fields[0].to_owned(), ih, iw, ic, oc, kernel, stride, groups })
}

/// The layers of ShuffleNetV2 (torchvision's wiring) at 224x224, by width.
pub const SHUFFLENET_V2: [(&str, &str); 4] = [
    ("0.5", include_str!("../shapes/shufflenet_v2_x0_5.txt")),
    ("1.0", include_str!("../shapes/shufflenet_v2_x1_0.txt")),
    ("1.5", include_str!("../shapes/shufflenet_v2_x1_5.txt")),
    ("2.0", include_str!("../shapes/shufflenet_v2_x2_0.txt")),
];

/// Every layer of one width of [`SHUFFLENET_V2`].
///
/// # Panics
/// If the shape file compiled in is not well formed; a test reads them all.
pub fn shufflenet_v2(text: &str) -> Vec<Layer> {
    parse(text).expect("the shape files of this crate are well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiply-adds and parameters of the four widths, as torchvision's modules have them.
    #[test]
    fn totals_are_torchvisions() {
        let expected = [
            (40_476_448, 1_366_792),
            (144_907_992, 2_278_604),
            (295_759_392, 3_503_624),
            (583_253_464, 7_393_996),
        ];
        for ((width, text), (macs, params)) in SHUFFLENET_V2.into_iter().zip(expected) {
            let layers = shufflenet_v2(text);
            assert_eq!(layers.len(), 57, "{width}");
            assert_eq!(layers.iter().map(Layer::macs).sum::<u64>(), macs, "{width}");
            // Batch normalisation has a scale and a shift per channel, the classifier a bias.
            let extra = |l: &Layer| if l.kind() == Kind::Linear { l.oc } else { 2 * l.oc };
            assert_eq!(layers.iter().map(|l| l.weights() + extra(l)).sum::<u64>(), params, "{width}");
        }
    }

    /// Where the multiply-adds of the 1.0x network are, in millions.
    #[test]
    fn split_by_kind() {
        let layers = shufflenet_v2(SHUFFLENET_V2[1].1);
        let millions = |which: &dyn Fn(&&Layer) -> bool| {
            let macs: u64 = layers.iter().filter(which).map(Layer::macs).sum();
            (macs as f64 / 1e4).round() / 100.0
        };
        assert_eq!(millions(&|l| l.kind() == Kind::Dense), 8.13);
        assert_eq!(millions(&|l| l.kind() == Kind::Depthwise), 4.16);
        assert_eq!(millions(&|l| l.kind() == Kind::Linear), 1.02);
        assert_eq!(millions(&|l| l.kind() == Kind::Pointwise && l.name.starts_with("stage")), 108.31);
        assert_eq!(millions(&|l| l.name == "conv5.0"), 23.28);
    }

    /// Table 1 of the paper, 1x on the GPU: elements per convolution, and the ratio to the bound.
    #[test]
    fn cost_of_unequal_channels() {
        let rows = [
            (128, 128, 819_200, 1.000),
            (90, 180, 862_920, 1.059),
            (52, 312, 1_157_728, 1.420),
            (36, 432, 1_483_200, 1.859),
        ];
        for (ic, oc, elements, over_bound) in rows {
            let layer = Layer::pointwise(56, 56, ic, oc, 1);
            assert_eq!(layer.mac_bytes(), 4 * elements);
            let ratio = layer.mac_bytes() as f64 / layer.lower_bound_bytes().unwrap();
            assert!((ratio - over_bound).abs() < 5e-4, "{ratio}");
        }
    }

    /// Table 2 of the paper, 1x on the GPU.
    #[test]
    fn cost_of_groups() {
        for (groups, c, elements) in
            [(1, 128, 819_200), (2, 180, 1_145_160), (4, 256, 1_622_016), (8, 360, 2_274_120)]
        {
            assert_eq!(Layer::pointwise(56, 56, c, c, groups).mac_bytes(), 4 * elements);
        }
    }

    #[test]
    fn strides_round_up() {
        let stem = &shufflenet_v2(SHUFFLENET_V2[0].1)[0];
        assert_eq!((stem.oh(), stem.ow(), stem.macs()), (112, 112, 112 * 112 * 27 * 24));
        assert_eq!(stem.lower_bound_bytes(), None);
        let odd = Layer { ih: 7, iw: 5, stride: 2, ..stem.clone() };
        assert_eq!((odd.oh(), odd.ow()), (4, 3));
    }

    #[test]
    fn bad_lines_are_named() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(parse("# nothing\n\n"), Ok(vec![]));
        assert!(message("a 1 2 3").starts_with("line 1: expected 8 fields"));
        assert!(message("# c\na 56 56 24 x 1 1 1").starts_with("line 2: oc must be a whole number"));
        assert!(message("a 0 56 24 24 1 1 1").contains("ih must be"));
        assert!(message("a 99999 56 24 24 1 1 1").contains("16384"));
        assert!(message("a 56 56 24 24 2 1 1").contains("k must be odd, found 2"));
        assert!(message("a 56 56 24 24 1 1 5").contains("groups must divide"));
        assert!(
            message("a 16384 16384 16384 16384 16383 1 1").contains("at most 1099511627776 multiply-adds")
        );
    }
}
