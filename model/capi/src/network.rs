//! A whole ShuffleNetV2.

use crate::failure::{Failure, Status, guard};
use crate::memory::{
    Floats, FloatsMut, check, expect_apart, hand_out, reference, slice, slice_mut, string, take_back,
};
use crate::operators::isa;
use kernels::Serial;
use model::preprocess::{Picture, Recipe};
use model::weights::Checkpoint;
use model::{Images, Network};
use std::ffi::c_char;

/// ShuffleNetV2 with its weights, packed.
pub struct ShuffleNet(Network);

/// Memory of one running inference. It grows on the first run and is then used again.
pub struct Workspace(model::Workspace);

/// Loads a checkpoint (.pth, .safetensors or Keras .h5) and recognises width, wiring and classes. `isa` as in
/// kernels_pointwise_options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_shufflenet_load(
    path: *const c_char,
    isa: *const c_char,
    out: *mut *mut ShuffleNet,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let path = string("path", path)?;
        let isa = self::isa(isa)?;
        hand_out("out", out, || {
            let checkpoint = Checkpoint::open(path.as_ref()).map_err(Failure::checkpoint)?;
            Ok(ShuffleNet(Network::load(&checkpoint, isa).map_err(Failure::checkpoint)?))
        })
    })
}

/// The same for a checkpoint in memory, of `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_shufflenet_load_bytes(
    data: *const u8,
    len: usize,
    isa: *const c_char,
    out: *mut *mut ShuffleNet,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let bytes = slice("data", data, len)?;
        let isa = self::isa(isa)?;
        hand_out("out", out, || {
            let checkpoint = Checkpoint::from_bytes(bytes.to_vec()).map_err(Failure::checkpoint)?;
            Ok(ShuffleNet(Network::load(&checkpoint, isa).map_err(Failure::checkpoint)?))
        })
    })
}

/// Decodes a photo, a JPEG or PNG file of `len` bytes in memory, and makes of it the input that such a network was
/// trained on, as `shufflenet classify` does: one image of 224 x 224, 3 * 224 * 224 numbers, for kernels_shufflenet_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_shufflenet_read_photo(
    network: *const ShuffleNet,
    data: *const u8,
    len: usize,
    image: FloatsMut,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let recipe = Recipe::of(reference("network", network)?.0.config());
        let file = slice("data", data, len)?;
        expect_apart(("data", data.cast(), len.div_ceil(4)), ("image", image.data, image.len))?;
        let image = slice_mut("image", image.data, image.len)?;
        let expected = 3 * recipe.crop * recipe.crop;
        if image.len() != expected {
            let found = image.len();
            return Err(Failure::invalid(format!("image: expected {expected} elements, found {found}")));
        }
        image.copy_from_slice(&recipe.apply(&Picture::decode(file).map_err(Failure::photo)?));
        Ok(())
    })
}

/// Replaces the logits of one image by probabilities.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_softmax(values: FloatsMut) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        kernels::softmax(slice_mut("values", values.data, values.len)?);
        Ok(())
    })
}

/// Classes: the numbers that kernels_shufflenet_run writes per image; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_shufflenet_classes(network: *const ShuffleNet) -> usize {
    // SAFETY: the caller's.
    unsafe { reference("network", network) }.map_or(0, |network| network.0.config().outputs())
}

/// Computes the logits of `n` preprocessed images of `h` x `w`, at least 32 x 32. `images` are n * 3 * h * w numbers:
/// image, channel, row, column. `logits` are n * classes numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_shufflenet_run(
    network: *const ShuffleNet,
    workspace: *mut Workspace,
    images: Floats,
    n: usize,
    h: usize,
    w: usize,
    logits: FloatsMut,
) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe {
        let network = &reference("network", network)?.0;
        check("workspace", workspace, 1)?;
        expect_apart(("images", images.data, images.len), ("logits", logits.data, logits.len))?;
        let (images, logits) = (images.read("images")?, slice_mut("logits", logits.data, logits.len)?);
        if h < Images::MIN_SIDE || w < Images::MIN_SIDE {
            return Err(Failure::invalid(format!("images of {h}x{w}: at least 32x32")));
        }
        let expect = |what: &str, expected: Option<usize>, found: usize| match expected {
            Some(expected) if expected == found => Ok(()),
            Some(expected) => {
                Err(Failure::invalid(format!("{what}: expected {expected} elements, found {found}")))
            }
            None => Err(Failure::invalid(format!("{n} images of {h}x{w} do not fit into memory"))),
        };
        let pixels = h.checked_mul(w).and_then(|pixels| pixels.checked_mul(3)?.checked_mul(n));
        expect("images", pixels, images.len())?;
        expect("logits", n.checked_mul(network.config().outputs()), logits.len())?;
        network.run(&Serial, Images::nchw(images, n, h, w), &mut (*workspace).0, logits);
        Ok(())
    })
}

/// Frees a network. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_shufflenet_free(network: *mut ShuffleNet) {
    // SAFETY: the caller's.
    unsafe { take_back(network) }
}

/// An empty workspace. It serves networks of any size, one call at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_workspace_new(out: *mut *mut Workspace) -> Status {
    // SAFETY: the caller's.
    guard(|| unsafe { hand_out("out", out, || Ok(Workspace(model::Workspace::default()))) })
}

/// Frees a workspace. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_workspace_free(workspace: *mut Workspace) {
    // SAFETY: the caller's.
    unsafe { take_back(workspace) }
}
