//! Convolutions of other networks, as a share of what the processor reaches with multiply-adds alone, and what activations cost
//! behind a convolution.
//!
//! Everything is measured in turns, and of each the fastest of many: `cargo bench -p bench-suite --bench rates`, or with a part of a
//! name behind `--`.

use kernels::{
    Activation, Convolution, Depthwise, Image, Isa, LayerNorm, Pointwise, Shape, Source, Tensor, Transposed,
    View, Window,
};
use std::time::Instant;

/// Rounds of all cases. (Cargo adds `--bench` to measure; without it, each is tried once.)
fn rounds() -> usize {
    if std::env::args().any(|arg| arg == "--bench") { 60 } else { 1 }
}

/// Something to run again and again.
struct Case {
    name: String,
    /// Multiply-adds.
    macs: usize,
    run: Box<dyn FnMut()>,
    seconds: f64,
}

/// A convolution from `c` channels of `h` x `w` to `oc`.
struct Conv {
    what: &'static str,
    src: Shape,
    oc: usize,
    window: Window,
    groups: usize,
    activation: Activation,
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i % 29) as f32 / 29.0 - 0.45).collect()
}

impl Conv {
    fn dense(what: &'static str, src: Shape, oc: usize, window: Window) -> Self {
        Self { what, src, oc, window, groups: 1, activation: Activation::Relu }
    }

    fn case(&self, isa: Isa) -> Case {
        let Self { what, src, oc, window, groups, activation } = *self;
        let (data, weights) = (numbers(src.elements()), numbers(oc * src.c / groups * window.taps()));
        let tensor = Tensor::from_nchw(&data, src).expect("as many numbers as elements");
        let (h, w) = window.output(src.h, src.w).expect("the window fits");
        let mut dst = Tensor::zeros(Shape::new(oc, h, w));
        let [kh, kw] = window.kernel;
        let (name, macs) = (
            format!("{what} {kh}x{kw}/{}, {} to {oc}, {}x{}", window.stride[0], src.c, src.h, src.w),
            oc * h * w * src.c / groups * window.taps(),
        );
        let run: Box<dyn FnMut()> = if kh == 1 && window.stride == [1, 1] {
            let op = Pointwise::builder(src.c, oc).activation(activation).isa(isa).build(&weights);
            let op = op.expect("a convolution");
            Box::new(move || op.run(tensor.view(), dst.view_mut()))
        } else if groups == src.c {
            let op = Depthwise::builder(src.c, window).activation(activation).isa(isa).build(&weights);
            let op = op.expect("a convolution");
            Box::new(move || op.run(tensor.view(), dst.view_mut()))
        } else {
            let op = Convolution::builder(src.c, oc, window).groups(groups).activation(activation);
            let op = op.isa(isa).build(&weights).expect("a convolution");
            let planar = src.c <= 4;
            Box::new(move || {
                let image = Image::planar(&data, src).expect("an image");
                let source: Source<'_> = if planar { image.into() } else { View::into(tensor.view()) };
                op.run(source, dst.view_mut());
            })
        };
        Case { name, macs, run, seconds: f64::INFINITY }
    }
}

fn cases(isa: Isa) -> Vec<Case> {
    let (three, map) = (Window::new(3).pad(1), Shape::new);
    let dense = Conv::dense;
    let mut all = vec![
        dense("dense", map(64, 56, 56), 64, three),
        dense("dense", map(128, 28, 28), 128, three),
        dense("dense", map(256, 14, 14), 256, three),
        dense("dense", map(512, 7, 7), 512, three),
        dense("dense", map(64, 56, 56), 128, three.stride(2)),
        dense("dense", map(256, 14, 14), 512, three.stride(2)),
        dense("dense", map(64, 56, 56), 128, Window::new(1).stride(2)),
        dense("image", map(3, 224, 224), 32, three.stride(2)),
        dense("image", map(3, 224, 224), 64, Window::new(7).stride(2).pad(3)),
        dense("image patches", map(3, 224, 224), 40, Window::new(4).stride(4)),
        dense("patches", map(40, 56, 56), 80, Window::new(2).stride(2)),
        dense("patches", map(160, 14, 14), 320, Window::new(2).stride(2)),
        dense("patches", map(40, 56, 56), 80, Window::new(4).stride(4)),
        dense("dilated", map(64, 28, 28), 64, Window::new(3).dilation(2).pad(2)),
    ];
    for (c, side) in [(64, 56), (208, 28), (448, 14)] {
        all.push(Conv { groups: c / 16, ..dense("groups of 16", map(c, side, side), c, three) });
    }
    all.push(Conv { groups: 13, ..dense("groups of 8", map(104, 28, 28), 104, three) });
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2), (9, 1)] {
        let window = Window::new(kernel).stride(stride).pad(kernel / 2);
        all.push(Conv { groups: 96, ..dense("depthwise", map(96, 28, 28), 96, window) });
    }
    let mut cases: Vec<Case> = all.iter().map(|conv| conv.case(isa)).collect();
    let mut dst = Tensor::zeros(Shape::new(24, 80, 80));
    let src = Tensor::from_nchw(&numbers(96 * 1600), Shape::new(96, 40, 40)).expect("a tensor");
    let up = Transposed::builder(96, 24, Window::new(2).stride(2)).isa(isa).build(&numbers(96 * 24 * 4));
    let up = up.expect("a convolution");
    cases.push(Case {
        name: "transposed 2x2/2, 96 to 24, 40x40".to_owned(),
        macs: 96 * 24 * 4 * 1600,
        run: Box::new(move || up.run(src.view(), dst.view_mut())),
        seconds: f64::INFINITY,
    });
    cases
}

fn activations() -> [(&'static str, Activation); 11] {
    use Activation::*;
    [
        ("none", None),
        ("ReLU", Relu),
        ("ReLU6", Relu6),
        ("leaky ReLU", LeakyRelu { slope: 0.1 }),
        ("hard sigmoid", HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 }),
        ("hard swish", HardSwish),
        ("sigmoid", Sigmoid),
        ("SiLU", Silu),
        ("tanh", Tanh),
        ("GELU", Gelu),
        ("GELU by tanh", GeluTanh),
    ]
}

/// Runs all in turns; the peak beside them.
fn measure(isa: Isa, cases: &mut [Case]) -> f64 {
    let mut peak: f64 = 0.0;
    for _ in 0..rounds() {
        let start = Instant::now();
        let flop = isa.fma_burst(2000);
        peak = peak.max(flop as f64 / start.elapsed().as_secs_f64());
        for case in &mut *cases {
            for _ in 0..2 {
                let start = Instant::now();
                (case.run)();
                case.seconds = case.seconds.min(start.elapsed().as_secs_f64());
            }
        }
    }
    peak
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for isa in Isa::available() {
        let mut all = cases(isa);
        all.retain(|case| is_wanted(&case.name));
        if !all.is_empty() {
            let peak = measure(isa, &mut all);
            println!("{isa}, of {:.1} GFLOP/s:", peak / 1e9);
            for Case { name, macs, seconds, .. } in &all {
                let share = 200.0 * *macs as f64 / seconds / peak;
                println!("  {name:44} {:9.1} us {share:5.1} %", seconds * 1e6);
            }
        }
        for (ic, oc) in [(96, 96), (24, 96), (96, 24)].into_iter().filter(|_| is_wanted("activations")) {
            let conv = |activation| {
                let plain = Conv::dense("1x1", Shape::new(ic, 28, 28), oc, Window::new(1));
                Conv { activation, ..plain }.case(isa)
            };
            let mut all: Vec<Case> = activations().iter().map(|&(_, activation)| conv(activation)).collect();
            measure(isa, &mut all);
            let of_none = all[0].seconds;
            println!("{isa}, 1x1, {ic} to {oc}, 28x28, and behind it, more than {:.1} us:", of_none * 1e6);
            for ((name, _), case) in activations().iter().zip(&all).skip(1) {
                println!("  {name:44} {:+5.1} %", (case.seconds / of_none - 1.0) * 100.0);
            }
        }
        if is_wanted("layer norm") {
            let shape = Shape::new(96, 28, 28);
            let src = Tensor::from_nchw(&numbers(shape.elements()), shape).expect("a tensor");
            let (mut dst, mut copy) = (Tensor::zeros(shape), Tensor::zeros(shape));
            let ones = vec![1.0; shape.c];
            let op = LayerNorm::builder(shape.c).isa(isa).build(&ones, &ones).expect("an operator");
            let from = src.clone();
            let case = |name: &str, run| Case { name: name.into(), macs: 0, run, seconds: f64::INFINITY };
            let mut all = [
                case(
                    "a copy",
                    Box::new(move || copy.view_mut().data_mut().copy_from_slice(from.view().data())),
                ),
                case("layer norm", Box::new(move || op.run(src.view(), dst.view_mut()))),
            ];
            measure(isa, &mut all);
            let [copy, norm] = all.map(|case| case.seconds * 1e6);
            println!("{isa}, layer norm of {shape}: {norm:.1} us, a copy {copy:.1} us");
        }
    }
}
