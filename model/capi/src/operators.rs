//! 1x1 and depthwise convolution, batch normalisation with ReLU, and the shuffle that moves data.

use crate::failure::{Failure, Status, guard};
use crate::memory::{Floats, check, expect_apart, hand_out, reference, string, take_back};
use crate::order::Order;
use crate::tensor::{Shape, View, ViewMut};
use kernels::{Activation, Isa, Padding};
use std::ffi::c_char;

/// No activation.
pub const KERNELS_NONE: u32 = 0;
/// max(0, x).
pub const KERNELS_RELU: u32 = 1;
/// min(6, max(0, x)).
pub const KERNELS_RELU6: u32 = 2;

/// The statistics of a batch normalisation, one number per channel each:
/// y = (x - mean) / sqrt(variance + eps) * gamma + beta.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BatchNorm {
    /// Scale.
    pub gamma: Floats,
    /// Shift.
    pub beta: Floats,
    /// Running mean.
    pub mean: Floats,
    /// Running variance.
    pub variance: Floats,
    /// 1e-5 in PyTorch, 1e-3 in Keras.
    pub eps: f32,
}

impl BatchNorm {
    /// # Safety
    /// The statistics are the caller's to read for as long as `'a`.
    unsafe fn read<'a>(&self) -> Result<kernels::BatchNorm<'a>, Failure> {
        // SAFETY: the caller's.
        unsafe {
            Ok(kernels::BatchNorm {
                gamma: self.gamma.read("gamma")?,
                beta: self.beta.read("beta")?,
                mean: self.mean.read("mean")?,
                variance: self.variance.read("variance")?,
                eps: self.eps,
            })
        }
    }
}

fn activation(number: u32) -> Result<Activation, Failure> {
    match number {
        KERNELS_NONE => Ok(Activation::None),
        KERNELS_RELU => Ok(Activation::Relu),
        KERNELS_RELU6 => Ok(Activation::Relu6),
        _ => Err(Failure::invalid(format!("activation {number}: expected 0, 1 or 2"))),
    }
}

/// # Safety
/// `name` is NULL or a string.
pub(crate) unsafe fn isa(name: *const c_char) -> Result<Isa, Failure> {
    if name.is_null() {
        return Ok(Isa::from_env()?);
    }
    // SAFETY: the caller's.
    Ok(Isa::from_name(unsafe { string("isa", name) }?)?)
}

/// 1x1 convolution with bias, folded batch normalisation, activation and an optional residual.
pub struct Pointwise {
    op: kernels::Pointwise,
    src_slots: usize,
    dst_slots: usize,
}

/// What a 1x1 convolution is made of. Zero every field that is not needed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PointwiseOptions {
    /// Input channels.
    pub ic: usize,
    /// Output channels.
    pub oc: usize,
    /// Groups of channels that do not see each other; 0 is 1.
    pub groups: usize,
    /// Where the input channels lie; NULL for channel c in slot c.
    pub input_order: *const Order,
    /// Where the output channels go; NULL for channel c in slot c.
    pub output_order: *const Order,
    /// One number per output channel, or none.
    pub bias: Floats,
    /// Behind the convolution, or NULL.
    pub batch_norm: *const BatchNorm,
    /// KERNELS_NONE, KERNELS_RELU or KERNELS_RELU6.
    pub activation: u32,
    /// "avx512", "avx2", "portable" or "auto"; NULL for what the environment variable KERNELS_ISA says, else "auto".
    pub isa: *const c_char,
}

/// Packs `weights`, oc rows of ic / groups numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_pointwise_new(
    options: *const PointwiseOptions,
    weights: Floats,
    out: *mut *mut Pointwise,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let options = reference("options", options)?;
        let weights = weights.read("weights")?;
        let mut builder = kernels::Pointwise::builder(options.ic, options.oc)
            .groups(options.groups.max(1))
            .activation(activation(options.activation)?)
            .isa(isa(options.isa)?);
        let (mut src_slots, mut dst_slots) = (options.ic, options.oc);
        if !options.input_order.is_null() {
            let order = &reference("input order", options.input_order)?.0;
            (builder, src_slots) = (builder.input_order(order), order.width());
        }
        if !options.output_order.is_null() {
            let order = &reference("output order", options.output_order)?.0;
            (builder, dst_slots) = (builder.output_order(order), order.width());
        }
        if let Some(bias) = options.bias.read_if_any("bias")? {
            builder = builder.bias(bias);
        }
        if !options.batch_norm.is_null() {
            builder = builder.batch_norm(reference("batch norm", options.batch_norm)?.read()?);
        }
        hand_out("out", out, || Ok(Pointwise { op: builder.build(weights)?, src_slots, dst_slots }))
    })
}

/// Computes `dst` from `src`; `residual` (NULL for none) is shaped and ordered like `dst` and added before the
/// activation. `src` and `dst` need as many slots as their orders name, and the same rows and columns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_pointwise_run(
    pointwise: *const Pointwise,
    src: View,
    residual: *const View,
    dst: ViewMut,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let Pointwise { op, src_slots, dst_slots } = reference("pointwise", pointwise)?;
        let residual = match residual.is_null() {
            true => None,
            false => {
                let view = reference("residual", residual)?;
                expect_apart(("residual", view.data, view.len), ("dst", dst.data, dst.len))?;
                Some(view.read("residual")?)
            }
        };
        let (src, dst) = src.read_into(dst)?;
        let (from, to) = (src.shape(), dst.shape());
        if (from.h, from.w) != (to.h, to.w) || from.c < *src_slots || to.c < *dst_slots {
            return Err(Failure::invalid(format!(
                "pointwise from {src_slots} to {dst_slots} slots: cannot run from {from} to {to}"
            )));
        }
        if let Some(residual) = residual.filter(|residual| residual.shape() != to) {
            return Err(Failure::invalid(format!("residual is {}, dst is {to}", residual.shape())));
        }
        op.run_with(&kernels::Serial, src, residual, dst);
        Ok(())
    })
}

/// Frees a 1x1 convolution. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_pointwise_free(pointwise: *mut Pointwise) {
    // SAFETY: the caller's.
    unsafe { take_back(pointwise) }
}

/// Depthwise convolution with bias, folded batch normalisation and activation.
pub struct Depthwise {
    op: kernels::Depthwise,
    src_slots: usize,
    kernel: usize,
    /// Rows and columns of padding, both sides together.
    pad: (usize, usize),
}

/// What a depthwise convolution is made of. Zero every field that is not needed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DepthwiseOptions {
    /// Channels.
    pub channels: usize,
    /// Rows and columns of the window: 3 or 5.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Rows of nothing above the image.
    pub pad_top: usize,
    /// Rows of nothing below the image.
    pub pad_bottom: usize,
    /// Columns of nothing before the image.
    pub pad_left: usize,
    /// Columns of nothing behind the image.
    pub pad_right: usize,
    /// Not 0: TensorFlow's padding "same" instead of the four numbers above.
    pub pad_same: u32,
    /// Where the input channels lie; NULL for channel c in slot c.
    pub input_order: *const Order,
    /// One number per channel, or none.
    pub bias: Floats,
    /// Behind the convolution, or NULL.
    pub batch_norm: *const BatchNorm,
    /// KERNELS_NONE, KERNELS_RELU or KERNELS_RELU6.
    pub activation: u32,
    /// As in kernels_pointwise_options.
    pub isa: *const c_char,
}

/// Packs `weights`, kernel * kernel numbers per channel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_depthwise_new(
    options: *const DepthwiseOptions,
    weights: Floats,
    out: *mut *mut Depthwise,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let options = reference("options", options)?;
        let weights = weights.read("weights")?;
        let DepthwiseOptions { channels, kernel, stride, .. } = *options;
        let sides = Padding::Sides {
            top: options.pad_top,
            bottom: options.pad_bottom,
            left: options.pad_left,
            right: options.pad_right,
        };
        let same = options.pad_same != 0;
        let mut builder = kernels::Depthwise::builder(channels, kernel, stride)
            .padding(if same { Padding::Same } else { sides })
            .activation(activation(options.activation)?)
            .isa(isa(options.isa)?);
        let mut src_slots = channels;
        if !options.input_order.is_null() {
            let order = &reference("input order", options.input_order)?.0;
            (builder, src_slots) = (builder.input_order(order), order.width());
        }
        if let Some(bias) = options.bias.read_if_any("bias")? {
            builder = builder.bias(bias);
        }
        if !options.batch_norm.is_null() {
            builder = builder.batch_norm(reference("batch norm", options.batch_norm)?.read()?);
        }
        hand_out("out", out, || {
            let op = builder.build(weights)?;
            // With padding "same", the window fits every image.
            let pad = match same {
                true => (kernel, kernel),
                // (Each is smaller than the kernel, or `build` would have refused it.)
                false => (options.pad_top + options.pad_bottom, options.pad_left + options.pad_right),
            };
            Ok(Depthwise { op, src_slots, kernel, pad })
        })
    })
}

impl Depthwise {
    fn output_shape(&self, h: usize, w: usize) -> Result<kernels::Shape, Failure> {
        let fits = |len: usize, pad| len > 0 && len.checked_add(pad).is_some_and(|len| len >= self.kernel);
        if !fits(h, self.pad.0) || !fits(w, self.pad.1) {
            return Err(Failure::invalid(format!(
                "a {h}x{w} image is smaller than the window, {}",
                self.kernel
            )));
        }
        Ok(self.op.output_shape(h, w))
    }
}

/// The shape that `dst` must have (it may have more slots) for a source of `h` x `w`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_depthwise_output_shape(
    depthwise: *const Depthwise,
    h: usize,
    w: usize,
    out: *mut Shape,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let shape = reference("depthwise", depthwise)?.output_shape(h, w)?;
        check("out", out, 1)?;
        out.write(shape.into());
        Ok(())
    })
}

/// Where each channel lies in `dst`: lanes stay lanes, so this is the input order less the blocks without a channel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_depthwise_output_order(
    depthwise: *const Depthwise,
    out: *mut *mut Order,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let order = reference("depthwise", depthwise)?.op.output_order();
        hand_out("out", out, || Ok(Order(order.clone())))
    })
}

/// Computes `dst` from `src`, which needs as many slots as the input order names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_depthwise_run(
    depthwise: *const Depthwise,
    src: View,
    dst: ViewMut,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let depthwise = reference("depthwise", depthwise)?;
        let (src, dst) = src.read_into(dst)?;
        let (from, to) = (src.shape(), dst.shape());
        let expected = depthwise.output_shape(from.h, from.w)?;
        if from.c < depthwise.src_slots || to.c < expected.c || (to.h, to.w) != (expected.h, expected.w) {
            return Err(Failure::invalid(format!(
                "depthwise of {} slots: cannot run from {from} to {to}, which should be {expected}",
                depthwise.src_slots
            )));
        }
        depthwise.op.run(src, dst);
        Ok(())
    })
}

/// Frees a depthwise convolution. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_depthwise_free(depthwise: *mut Depthwise) {
    // SAFETY: the caller's.
    unsafe { take_back(depthwise) }
}

/// dst = activation(src * scale + shift), one scale and shift per channel.
pub struct Affine {
    op: kernels::Affine,
    channels: usize,
}

/// Packs one scale and one shift per channel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_affine_new(
    scale: Floats,
    shift: Floats,
    activation: u32,
    isa: *const c_char,
    out: *mut *mut Affine,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let (scale, shift) = (scale.read("scale")?, shift.read("shift")?);
        hand_out("out", out, || affine(scale, shift, activation, isa))
    })
}

/// Packs a batch normalisation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_affine_from_batch_norm(
    batch_norm: *const BatchNorm,
    activation: u32,
    isa: *const c_char,
    out: *mut *mut Affine,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let (scale, shift) = reference("batch norm", batch_norm)?.read()?.scale_shift()?;
        hand_out("out", out, || affine(&scale, &shift, activation, isa))
    })
}

/// # Safety
/// As [`isa`].
unsafe fn affine(
    scale: &[f32],
    shift: &[f32],
    activation: u32,
    isa: *const c_char,
) -> Result<Affine, Failure> {
    let activation = self::activation(activation)?;
    // SAFETY: the caller's.
    let isa = unsafe { self::isa(isa) }?;
    Ok(Affine { op: kernels::Affine::new(scale, shift, activation, isa)?, channels: scale.len() })
}

/// Computes `dst` from `src`, of the same shape; the two may be the same memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_affine_run(affine: *const Affine, src: View, dst: ViewMut) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let affine = reference("affine", affine)?;
        if src.shape != dst.shape || src.shape.c != affine.channels {
            let (from, to) = (kernels::Shape::from(src.shape), kernels::Shape::from(dst.shape));
            return Err(Failure::invalid(format!(
                "affine of {} channels: cannot run from {from} to {to}",
                affine.channels
            )));
        }
        if src.data == dst.data.cast_const() {
            affine.op.run_in_place(dst.write("dst")?);
        } else {
            let (src, dst) = src.read_into(dst)?;
            affine.op.run(src, dst);
        }
        Ok(())
    })
}

/// Frees a batch normalisation. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_affine_free(affine: *mut Affine) {
    // SAFETY: the caller's.
    unsafe { take_back(affine) }
}

/// A copy of a value with channel c in slot c: a shuffle that moves data.
pub struct Materialize {
    op: kernels::Materialize,
    channels: usize,
    src_slots: usize,
}

/// Prepares to gather the channels of `order`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_materialize_new(
    order: *const Order,
    isa: *const c_char,
    out: *mut *mut Materialize,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let order = &reference("order", order)?.0;
        let op = kernels::Materialize::new(order, self::isa(isa)?)?;
        hand_out("out", out, || Ok(Materialize { op, channels: order.channels(), src_slots: order.width() }))
    })
}

/// Gathers `dst`, which has exactly the channels of the order, from `src`, which has at least its slots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_materialize_run(
    materialize: *const Materialize,
    src: View,
    dst: ViewMut,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let Materialize { op, channels, src_slots } = reference("materialize", materialize)?;
        let (src, dst) = src.read_into(dst)?;
        let (from, to) = (src.shape(), dst.shape());
        if (from.h, from.w) != (to.h, to.w) || from.c < *src_slots || to.c != *channels {
            return Err(Failure::invalid(format!(
                "shuffle of {channels} channels from {src_slots} slots: cannot run from {from} to {to}"
            )));
        }
        op.run(src, dst);
        Ok(())
    })
}

/// Frees a shuffle. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_materialize_free(materialize: *mut Materialize) {
    // SAFETY: the caller's.
    unsafe { take_back(materialize) }
}
