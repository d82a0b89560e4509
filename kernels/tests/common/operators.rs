//! Every operator, built from a problem and run on every instruction set.

use super::*;
use kernels::{
    Activate, Add, Affine, AveragePool, Convolution, Depthwise, GlobalAverage, Head, Image, Linear,
};
use kernels::{LayerNorm, Materialize, MaxPool, Mul, PRelu, Pointwise, Resize, Stem, Transposed, layout};
use kernels_testing::operators as op;

/// A builder told everything that a problem has besides the weights.
macro_rules! configured {
    ($builder:expr, $conv:expr, $parameters:expr, $isa:expr) => {{
        let mut builder = $builder.isa($isa).activation($conv.activation);
        if let Some(bias) = &$parameters.bias {
            builder = builder.bias(bias);
        }
        if let Some(batch_norm) = $parameters.batch_norm() {
            builder = builder.batch_norm(batch_norm);
        }
        builder
    }};
}

fn pointwise_builder<'a>(
    conv: &op::Convolution,
    parameters: &'a op::ConvolutionParameters,
    isa: Isa,
) -> kernels::PointwiseBuilder<'a> {
    configured!(Pointwise::builder(conv.src.c, conv.oc), conv, parameters, isa).groups(conv.groups)
}

fn convolution_builder<'a>(
    conv: &op::Convolution,
    parameters: &'a op::ConvolutionParameters,
    isa: Isa,
) -> kernels::ConvolutionBuilder<'a> {
    let builder = Convolution::builder(conv.src.c, conv.oc, conv.window);
    configured!(builder, conv, parameters, isa).groups(conv.groups)
}

pub(crate) fn check_pointwise(p: &Problem<op::Convolution>, how: &How) {
    let output = how.output.clone().unwrap_or_else(|| ChannelOrder::identity(p.oc()));
    let shape = Shape { c: output.width() + how.spare[1], ..p.dst_shape() };
    let src = how.src(p);
    let residual = p.parameters().residual.as_ref();
    let residual = residual.map(|residual| Framed::through(residual, &output, shape.c, how.frames[0]));
    for isa in isas() {
        let mut builder = pointwise_builder(p.op(), p.parameters(), isa);
        if let Some(order) = &how.input {
            builder = builder.input_order(order);
        }
        if let Some(order) = &how.output {
            builder = builder.output_order(order);
        }
        let op = builder.build(p.weights()).unwrap();
        assert_eq!((op.ic(), op.oc()), (p.ic(), p.oc()));
        check_runs((p, how), (shape, &output), format_args!("pointwise, {isa}"), &|parallel, dst| {
            match &residual {
                Some(residual) => op.on(parallel).residual(residual.view()).run(src.view(), dst),
                None => op.on(parallel).run(src.view(), dst),
            }
        });
    }
}

pub(crate) fn check_depthwise(p: &Problem<op::Convolution>, how: &How) {
    let src = how.src(p);
    for isa in isas() {
        let builder = Depthwise::builder(p.ic(), p.op().window);
        let mut builder = configured!(builder, p.op(), p.parameters(), isa);
        if let Some(order) = &how.input {
            builder = builder.input_order(order);
        }
        let op = builder.build(p.weights()).unwrap();
        let (order, shape) = (op.output_order(), op.output_shape(src.view().shape()));
        assert_eq!(shape, Shape { c: order.width(), ..p.dst_shape() }, "{isa}: {p:?}");
        let shape = Shape { c: shape.c + how.spare[1], ..shape };
        check_runs((p, how), (shape, order), format_args!("depthwise, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_convolution(p: &Problem<op::Convolution>, how: &How) {
    let output = how.output.clone().unwrap_or_else(|| ChannelOrder::identity(p.oc()));
    let spare = how.output.as_ref().map_or(0, |_| how.spare[1]);
    let shape = Shape { c: output.width() + spare, ..p.dst_shape() };
    let (blocked, planar) = (how.src(p), p.src_nchw());
    let residual = p.parameters().residual.as_ref();
    let residual = residual.map(|residual| Framed::through(residual, &output, shape.c, how.frames[0]));
    for isa in isas() {
        let mut builder = convolution_builder(p.op(), p.parameters(), isa);
        if let Some(order) = &how.output {
            builder = builder.output_order(order);
        }
        let plain = builder.build(p.weights()).unwrap();
        if let Some(order) = &how.input {
            builder = builder.input_order(order);
        }
        let op = builder.build(p.weights()).unwrap();
        assert_eq!(plain.output_shape(p.src_shape()), Shape { c: output.width(), ..shape }, "{isa}: {p:?}");
        assert_eq!((op.ic(), op.oc()), (p.ic(), p.oc()));
        let run = |call: kernels::Call<'_, Convolution>, source: kernels::Source<'_>, dst: ViewMut<'_>| {
            match &residual {
                Some(residual) => call.residual(residual.view()).run(source, dst),
                None => call.run(source, dst),
            }
        };
        check_runs((p, how), (shape, &output), format_args!("convolution, {isa}"), &|parallel, dst| {
            run(op.on(parallel), blocked.view().into(), dst);
        });
        check_runs(
            (p, how),
            (shape, &output),
            format_args!("planar convolution, {isa}"),
            &|parallel, dst| {
                run(plain.on(parallel), Image::planar(&planar, p.src_shape()).unwrap().into(), dst);
            },
        );
    }
}

pub(crate) fn check_stem(p: &Problem<op::Stem>, how: &How) {
    let (planar, order) = (p.src_nchw(), &ChannelOrder::identity(p.op().conv.oc));
    for isa in isas() {
        let builder = convolution_builder(&p.op().conv, p.parameters(), isa);
        let op = builder.build(&p.parameters().weights).unwrap();
        let pool = MaxPool::builder(p.op().pool).isa(isa).build().unwrap();
        let op = Stem::builder(op, pool).build().unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("stem, {isa}"), &|parallel, dst| {
            let mut scratch = Guarded::new(op.on(parallel).scratch(p.src_shape()), 5);
            op.on(parallel).run(Image::planar(&planar, p.src_shape()).unwrap(), &mut scratch, dst);
            scratch.intact().unwrap_or_else(|fault| panic!("scratch, {isa}: {fault}\nof {p:?}"));
        });
    }
}

pub(crate) fn check_linear(p: &Problem<op::Convolution>, how: &How) {
    let src = p.src_nchw();
    for isa in isas() {
        let op = configured!(Linear::builder(p.ic(), p.oc()), p.op(), p.parameters(), isa);
        let op = op.build(p.weights()).unwrap();
        assert_eq!((op.ic(), op.oc()), (p.ic(), p.oc()));
        check_flat((p, how), format_args!("linear, {isa}"), &|parallel, dst| {
            op.on(parallel).run(&src, dst);
        });
    }
}

pub(crate) fn check_head(p: &Problem<op::Head>, how: &How) {
    let (src, conv, classes) = (how.src(p), &p.op().conv, p.op().classes);
    for isa in isas() {
        let mut builder = pointwise_builder(conv, &p.parameters().conv, isa);
        if let Some(order) = &how.input {
            builder = builder.input_order(order);
        }
        let op = builder.build(p.conv_weights()).unwrap();
        let builder = Head::builder(op, classes);
        let builder = p.bias().into_iter().fold(builder, |builder, bias| builder.bias(bias));
        let op = builder.build(p.weights()).unwrap();
        assert_eq!((op.conv().ic(), op.conv().oc(), op.classes()), (conv.src.c, conv.oc, classes));
        check_flat((p, how), format_args!("head, {isa}"), &|parallel, dst| {
            let mut scratch = Guarded::new(op.scratch(src.view().shape()), 1);
            op.on(parallel).run(src.view(), &mut scratch, dst);
            scratch.intact().unwrap_or_else(|fault| panic!("scratch, {isa}: {fault}\nof {p:?}"));
        });
    }
}

pub(crate) fn check_affine(p: &Problem<op::Affine>, how: &How) {
    let (src, planar, order) = (how.src(p), p.src_nchw(), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        let builder = Affine::builder(p.scale().len()).activation(p.activation()).isa(isa);
        let op = builder.build(p.scale(), p.shift()).unwrap();
        let dst = (p.dst_shape(), order);
        check_runs((p, how), dst, format_args!("affine, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
        check_runs((p, how), dst, format_args!("affine in place, {isa}"), &|parallel, mut dst| {
            layout::from_nchw(&planar, dst.reborrow());
            op.on(parallel).run_in_place(dst);
        });
    }
}

pub(crate) fn check_add(p: &Problem<op::Add>, how: &How) {
    let (a, b) = (how.src(p), Framed::holding(p.parameters(), how.frames[0]));
    let order = &ChannelOrder::identity(p.dst_shape().c);
    for isa in isas() {
        let op = Add::builder().activation(p.activation()).isa(isa).build().unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("add, {isa}"), &|parallel, dst| {
            op.on(parallel).run(a.view(), b.view(), dst);
        });
    }
}

pub(crate) fn check_activate(p: &Problem<op::Activate>, how: &How) {
    let (src, planar, order) = (how.src(p), p.src_nchw(), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        let op = Activate::builder(p.activation()).isa(isa).build().unwrap();
        let dst = (p.dst_shape(), order);
        check_runs((p, how), dst, format_args!("activate, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
        check_runs((p, how), dst, format_args!("activate in place, {isa}"), &|parallel, mut dst| {
            layout::from_nchw(&planar, dst.reborrow());
            op.on(parallel).run_in_place(dst);
        });
    }
}

pub(crate) fn check_max_pool(p: &Problem<op::MaxPool>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        let op = MaxPool::builder(p.op().window).isa(isa).build().unwrap();
        assert_eq!(op.output_shape(p.src_shape()), p.dst_shape(), "{isa}: {p:?}");
        check_runs((p, how), (p.dst_shape(), order), format_args!("max pool, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_average_pool(p: &Problem<op::AveragePool>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        let builder = AveragePool::builder(p.op().window).count_include_pad(p.op().count_pad);
        let op = builder.isa(isa).build().unwrap();
        assert_eq!(op.output_shape(p.src_shape()), p.dst_shape(), "{isa}: {p:?}");
        check_runs(
            (p, how),
            (p.dst_shape(), order),
            format_args!("average pool, {isa}"),
            &|parallel, dst| {
                op.on(parallel).run(src.view(), dst);
            },
        );
    }
}

pub(crate) fn check_global_average(p: &Problem<op::GlobalAverage>, how: &How) {
    let src = how.src(p);
    for isa in isas() {
        let op = GlobalAverage::builder().isa(isa).build().unwrap();
        check_flat((p, how), format_args!("global average, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_shuffle(p: &Problem<op::Shuffle>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    let shuffled = how.read(p).shuffle(p.groups()).unwrap();
    for isa in isas() {
        let op = Materialize::builder(&shuffled).isa(isa).build().unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("materialize, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_resize(p: &Problem<op::Resize>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        let builder = Resize::builder(p.op().interpolation).coordinates(p.op().coordinates);
        let op = builder.isa(isa).build().unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("resize, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_mul(p: &Problem<op::Mul>, how: &How) {
    let (a, b) = (how.src(p), Framed::holding(p.parameters(), how.frames[0]));
    let order = &ChannelOrder::identity(p.dst_shape().c);
    for isa in isas() {
        let op = Mul::builder().activation(p.activation()).isa(isa).build().unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("multiply, {isa}"), &|parallel, dst| {
            op.on(parallel).run(a.view(), b.view(), dst);
        });
    }
}

pub(crate) fn check_prelu(p: &Problem<op::PRelu>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        let op = PRelu::builder().isa(isa).build(p.parameters()).unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("PReLU, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_layer_norm(p: &Problem<op::LayerNorm>, how: &How) {
    let src = how.src(p);
    for isa in isas() {
        let mut builder = LayerNorm::builder(p.src_shape().c).eps(p.op().eps).isa(isa);
        if let Some(order) = &how.input {
            builder = builder.input_order(order);
        }
        let op = builder.build(p.gamma(), p.beta()).unwrap();
        let (order, shape) = (op.output_order(), op.output_shape(src.view().shape()));
        let shape = Shape { c: shape.c + how.spare[1], ..shape };
        check_runs((p, how), (shape, order), format_args!("layer norm, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_transposed(p: &Problem<op::Transposed>, how: &How) {
    let output = how.output.clone().unwrap_or_else(|| ChannelOrder::identity(p.op().oc));
    let shape = Shape { c: output.width() + how.spare[1], ..p.dst_shape() };
    let src = how.src(p);
    for isa in isas() {
        let op::Transposed { src: from, oc, groups, window, output_padding, activation, .. } = *p.op();
        let builder = Transposed::builder(from.c, oc, window).output_padding(output_padding);
        let mut builder = builder.groups(groups).activation(activation).isa(isa);
        if let Some(bias) = p.bias() {
            builder = builder.bias(bias);
        }
        if let Some(order) = &how.input {
            builder = builder.input_order(order);
        }
        if let Some(order) = &how.output {
            builder = builder.output_order(order);
        }
        let op = builder.build(p.weights()).unwrap();
        check_runs((p, how), (shape, &output), format_args!("transposed, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}
