//! Every operator, built from a problem and run on every instruction set.

use super::*;
use kernels::{
    Activate, Add, Affine, AveragePool, Convolution, Depthwise, GlobalAverage, Head, Image, Linear,
};
use kernels::{Materialize, MaxPool, Pointwise, Stem, Upsample, layout};
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

fn convolution(conv: &op::Convolution, parameters: &op::ConvolutionParameters, isa: Isa) -> Convolution {
    configured!(Convolution::builder(conv.src.c, conv.oc, conv.window), conv, parameters, isa)
        .build(&parameters.weights)
        .unwrap()
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
        let (order, shape) = (op.output_order(), op.output_shape(how.src(p).view().shape()));
        assert_eq!(shape, Shape { c: order.width(), ..p.dst_shape() }, "{isa}: {p:?}");
        let shape = Shape { c: shape.c + how.spare[1], ..shape };
        check_runs((p, how), (shape, order), format_args!("depthwise, {isa}"), &|parallel, dst| {
            op.on(parallel).run(src.view(), dst);
        });
    }
}

pub(crate) fn check_convolution(p: &Problem<op::Convolution>, how: &How) {
    let (blocked, planar, shape) = (how.src(p), p.src_nchw(), p.dst_shape());
    let order = &ChannelOrder::identity(p.oc());
    for isa in isas() {
        let op = convolution(p.op(), p.parameters(), isa);
        assert_eq!(op.output_shape(p.src_shape()), shape, "{isa}: {p:?}");
        check_runs((p, how), (shape, order), format_args!("convolution, {isa}"), &|parallel, dst| {
            op.on(parallel).run(blocked.view(), dst);
        });
        check_runs((p, how), (shape, order), format_args!("planar convolution, {isa}"), &|parallel, dst| {
            op.on(parallel).run(Image::planar(&planar, p.src_shape()).unwrap(), dst);
        });
    }
}

pub(crate) fn check_stem(p: &Problem<op::Stem>, how: &How) {
    let (planar, order) = (p.src_nchw(), &ChannelOrder::identity(p.op().conv.oc));
    for isa in isas() {
        let op = convolution(&p.op().conv, p.parameters(), isa);
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

pub(crate) fn check_upsample(p: &Problem<op::Upsample2x>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    let op = Upsample::builder().build().unwrap();
    check_runs((p, how), (p.dst_shape(), order), format_args!("upsample"), &|parallel, dst| {
        op.on(parallel).run(src.view(), dst);
    });
}
