//! Every operator, built from a problem and run on every instruction set.

use super::*;
use kernels::{
    Affine, AveragePool, Convolution, Depthwise, Head, Linear, Materialize, MaxPool, Pointwise,
    activate_with, add_with, global_average, layout, upsample_nearest_2x,
};
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

/// The one kernel and stride of a square window.
fn square(window: Window) -> (usize, usize) {
    assert!(window.kernel[0] == window.kernel[1] && window.stride[0] == window.stride[1], "{window:?}");
    (window.kernel[0], window.stride[0])
}

fn pointwise_builder<'a>(
    conv: &op::Convolution,
    parameters: &'a op::ConvolutionParameters,
    isa: Isa,
) -> kernels::PointwiseBuilder<'a> {
    configured!(Pointwise::builder(conv.src.c, conv.oc), conv, parameters, isa).groups(conv.groups)
}

fn convolution(conv: &op::Convolution, parameters: &op::ConvolutionParameters, isa: Isa) -> Convolution {
    let (kernel, stride) = square(conv.window);
    configured!(Convolution::builder(conv.src.c, conv.oc, kernel, stride), conv, parameters, isa)
        .padding(conv.window.padding)
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
            op.run_with(parallel, src.view(), residual.as_ref().map(Framed::view), dst);
        });
    }
}

pub(crate) fn check_depthwise(p: &Problem<op::Convolution>, how: &How) {
    let (kernel, stride) = square(p.op().window);
    let src = how.src(p);
    for isa in isas() {
        let builder = Depthwise::builder(p.ic(), kernel, stride);
        let mut builder = configured!(builder, p.op(), p.parameters(), isa).padding(p.op().window.padding);
        if let Some(order) = &how.input {
            builder = builder.input_order(order);
        }
        let op = builder.build(p.weights()).unwrap();
        let (order, shape) = (op.output_order(), op.output_shape(p.h(), p.w()));
        assert_eq!(shape, Shape { c: order.width(), ..p.dst_shape() }, "{isa}: {p:?}");
        let shape = Shape { c: shape.c + how.spare[1], ..shape };
        check_runs((p, how), (shape, order), format_args!("depthwise, {isa}"), &|parallel, dst| {
            op.run_with(parallel, src.view(), dst);
        });
    }
}

pub(crate) fn check_convolution(p: &Problem<op::Convolution>, how: &How) {
    let (blocked, planar, shape) = (how.src(p), p.src_nchw(), p.dst_shape());
    let order = &ChannelOrder::identity(p.oc());
    for isa in isas() {
        let op = convolution(p.op(), p.parameters(), isa);
        assert_eq!(op.output_shape(p.h(), p.w()), shape, "{isa}: {p:?}");
        check_runs((p, how), (shape, order), format_args!("convolution, {isa}"), &|parallel, dst| {
            op.run_with(parallel, blocked.view(), dst);
        });
        check_runs((p, how), (shape, order), format_args!("planar convolution, {isa}"), &|parallel, dst| {
            op.run_planar_with(parallel, &planar, p.h(), p.w(), dst);
        });
    }
}

pub(crate) fn check_stem(p: &Problem<op::Stem>, how: &How) {
    let (planar, order) = (p.src_nchw(), &ChannelOrder::identity(p.op().conv.oc));
    for isa in isas() {
        let op = convolution(&p.op().conv, p.parameters(), isa);
        let (kernel, stride) = square(p.op().pool);
        let pool = MaxPool::new(kernel, stride, p.op().pool.padding, isa).unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("stem, {isa}"), &|parallel, dst| {
            let mut scratch = Guarded::new(op.pooled_scratch(parallel, p.h(), p.w()), 5);
            op.run_planar_pooled(parallel, &planar, p.h(), p.w(), &pool, &mut scratch, dst);
            scratch.intact().unwrap_or_else(|fault| panic!("scratch, {isa}: {fault}\nof {p:?}"));
        });
    }
}

pub(crate) fn check_linear(p: &Problem<op::Convolution>, how: &How) {
    let src = p.src_nchw();
    for isa in isas() {
        let op = Linear::new(p.ic(), p.oc(), p.weights(), p.bias(), p.activation(), isa).unwrap();
        assert_eq!((op.ic(), op.oc()), (p.ic(), p.oc()));
        check_flat((p, how), format_args!("linear, {isa}"), &|parallel, dst| {
            op.run_with(parallel, &src, dst)
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
        let op = Head::new(op, classes, p.weights(), p.bias()).unwrap();
        assert_eq!((op.conv().ic(), op.conv().oc(), op.classes()), (conv.src.c, conv.oc, classes));
        check_flat((p, how), format_args!("head, {isa}"), &|parallel, dst| {
            let mut scratch = Guarded::new(op.scratch(p.h(), p.w()), 1);
            op.run_with(parallel, src.view(), &mut scratch, dst);
            scratch.intact().unwrap_or_else(|fault| panic!("scratch, {isa}: {fault}\nof {p:?}"));
        });
    }
}

pub(crate) fn check_affine(p: &Problem<op::Affine>, how: &How) {
    let (src, planar, order) = (how.src(p), p.src_nchw(), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        let op = Affine::new(p.scale(), p.shift(), p.activation(), isa).unwrap();
        let dst = (p.dst_shape(), order);
        check_runs((p, how), dst, format_args!("affine, {isa}"), &|parallel, dst| {
            op.run_with(parallel, src.view(), dst);
        });
        check_runs((p, how), dst, format_args!("affine in place, {isa}"), &|parallel, mut dst| {
            layout::from_nchw(&planar, dst.reborrow());
            op.run_in_place_with(parallel, dst);
        });
    }
}

pub(crate) fn check_add(p: &Problem<op::Add>, how: &How) {
    let (a, b) = (how.src(p), Framed::holding(p.parameters(), how.frames[0]));
    let order = &ChannelOrder::identity(p.dst_shape().c);
    for isa in isas() {
        check_runs((p, how), (p.dst_shape(), order), format_args!("add, {isa}"), &|parallel, dst| {
            add_with(parallel, isa, a.view(), b.view(), p.activation(), dst);
        });
    }
}

pub(crate) fn check_activate(p: &Problem<op::Activate>, how: &How) {
    let (planar, order) = (p.src_nchw(), &ChannelOrder::identity(p.dst_shape().c));
    for isa in isas() {
        check_runs(
            (p, how),
            (p.dst_shape(), order),
            format_args!("activate, {isa}"),
            &|parallel, mut dst| {
                layout::from_nchw(&planar, dst.reborrow());
                activate_with(parallel, isa, p.activation(), dst);
            },
        );
    }
}

pub(crate) fn check_max_pool(p: &Problem<op::MaxPool>, how: &How) {
    let (src, order, (kernel, stride)) =
        (how.src(p), &ChannelOrder::identity(p.dst_shape().c), square(p.op().window));
    for isa in isas() {
        let op = MaxPool::new(kernel, stride, p.op().window.padding, isa).unwrap();
        assert_eq!(op.output_shape(p.src_shape()), p.dst_shape(), "{isa}: {p:?}");
        check_runs((p, how), (p.dst_shape(), order), format_args!("max pool, {isa}"), &|parallel, dst| {
            op.run_with(parallel, src.view(), dst);
        });
    }
}

pub(crate) fn check_average_pool(p: &Problem<op::AveragePool>, how: &How) {
    let (src, order, (kernel, stride)) =
        (how.src(p), &ChannelOrder::identity(p.dst_shape().c), square(p.op().window));
    for isa in isas() {
        let op = AveragePool::new(kernel, stride, p.op().window.padding, p.op().count_pad, isa).unwrap();
        assert_eq!(op.output_shape(p.src_shape()), p.dst_shape(), "{isa}: {p:?}");
        check_runs(
            (p, how),
            (p.dst_shape(), order),
            format_args!("average pool, {isa}"),
            &|parallel, dst| {
                op.run_with(parallel, src.view(), dst);
            },
        );
    }
}

pub(crate) fn check_global_average(p: &Problem<op::GlobalAverage>, how: &How) {
    let src = how.src(p);
    for isa in isas() {
        check_flat((p, how), format_args!("global average, {isa}"), &|_, dst| {
            global_average(isa, src.view(), dst);
        });
    }
}

pub(crate) fn check_shuffle(p: &Problem<op::Shuffle>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    let shuffled = how.read(p).shuffle(p.groups()).unwrap();
    for isa in isas() {
        let op = Materialize::new(&shuffled, isa).unwrap();
        check_runs((p, how), (p.dst_shape(), order), format_args!("materialize, {isa}"), &|parallel, dst| {
            op.run_with(parallel, src.view(), dst);
        });
    }
}

pub(crate) fn check_upsample(p: &Problem<op::Upsample2x>, how: &How) {
    let (src, order) = (how.src(p), &ChannelOrder::identity(p.dst_shape().c));
    check_runs((p, how), (p.dst_shape(), order), format_args!("upsample"), &|_, dst| {
        upsample_nearest_2x(src.view(), dst);
    });
}
