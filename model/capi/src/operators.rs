//! 1x1 and depthwise convolution, batch normalisation with ReLU, and the shuffle that moves data.

use crate::failure::{Failure, Status, guard};
use crate::memory::{Floats, check, expect_apart, hand_out, reference, string, take_back};
use crate::order::Order;
use crate::tensor::{Shape, View, ViewMut};
use kernels::{Activation, Isa, Padding, Window};
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
pub struct Pointwise(kernels::Pointwise);

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
        if !options.input_order.is_null() {
            builder = builder.input_order(&reference("input order", options.input_order)?.0);
        }
        if !options.output_order.is_null() {
            builder = builder.output_order(&reference("output order", options.output_order)?.0);
        }
        if let Some(bias) = options.bias.read_if_any("bias")? {
            builder = builder.bias(bias);
        }
        if !options.batch_norm.is_null() {
            builder = builder.batch_norm(reference("batch norm", options.batch_norm)?.read()?);
        }
        hand_out("out", out, || Ok(Pointwise(builder.build(weights)?)))
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
        let op = &reference("pointwise", pointwise)?.0;
        if residual.is_null() {
            let (src, dst) = src.read_into(dst)?;
            return Ok(op.try_run(src, dst)?);
        }
        let view = reference("residual", residual)?;
        expect_apart(("residual", view.data, view.len), ("dst", dst.data, dst.len))?;
        let residual = view.read("residual")?;
        let (src, dst) = src.read_into(dst)?;
        Ok(op.residual(residual).try_run(src, dst)?)
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
    /// Slots that the input order names.
    slots: usize,
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
        let window = Window::new(kernel).stride(stride).padding(if same { Padding::Same } else { sides });
        let mut builder = kernels::Depthwise::builder(channels, window)
            .activation(activation(options.activation)?)
            .isa(isa(options.isa)?);
        let mut slots = channels;
        if !options.input_order.is_null() {
            let order = &reference("input order", options.input_order)?.0;
            (builder, slots) = (builder.input_order(order), order.width());
        }
        if let Some(bias) = options.bias.read_if_any("bias")? {
            builder = builder.bias(bias);
        }
        if !options.batch_norm.is_null() {
            builder = builder.batch_norm(reference("batch norm", options.batch_norm)?.read()?);
        }
        hand_out("out", out, || Ok(Depthwise { op: builder.build(weights)?, slots }))
    })
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
        let Depthwise { op, slots } = reference("depthwise", depthwise)?;
        let shape = op.try_output_shape(kernels::Shape::new(*slots, h, w))?;
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
        let op = &reference("depthwise", depthwise)?.op;
        let (src, dst) = src.read_into(dst)?;
        Ok(op.try_run(src, dst)?)
    })
}

/// Frees a depthwise convolution. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_depthwise_free(depthwise: *mut Depthwise) {
    // SAFETY: the caller's.
    unsafe { take_back(depthwise) }
}

/// dst = activation(src * scale + shift), one scale and shift per channel.
pub struct Affine(kernels::Affine);

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
    Ok(Affine(kernels::Affine::builder(scale.len()).activation(activation).isa(isa).build(scale, shift)?))
}

/// Computes `dst` from `src`, of the same shape; the two may be the same memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_affine_run(affine: *const Affine, src: View, dst: ViewMut) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let op = &reference("affine", affine)?.0;
        if src.data == dst.data.cast_const() {
            op.check(src.shape.into(), dst.shape.into())?;
            Ok(op.try_run_in_place(dst.write("dst")?)?)
        } else {
            let (src, dst) = src.read_into(dst)?;
            Ok(op.try_run(src, dst)?)
        }
    })
}

/// Frees a batch normalisation. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_affine_free(affine: *mut Affine) {
    // SAFETY: the caller's.
    unsafe { take_back(affine) }
}

/// A copy of a value with channel c in slot c: a shuffle that moves data.
pub struct Materialize(kernels::Materialize);

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
        let op = kernels::Materialize::builder(order).isa(self::isa(isa)?).build()?;
        hand_out("out", out, || Ok(Materialize(op)))
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
        let op = &reference("materialize", materialize)?.0;
        let (src, dst) = src.read_into(dst)?;
        Ok(op.try_run(src, dst)?)
    })
}

/// Frees a shuffle. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_materialize_free(materialize: *mut Materialize) {
    // SAFETY: the caller's.
    unsafe { take_back(materialize) }
}
