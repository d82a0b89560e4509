//! JPEG files.
//!
//! No decoder on crates.io is right about all of them. What became of 3552 files, all that libjpeg-turbo 2.1 writes in eight
//! sizes, held against Pillow 13 (a mean difference below 2 of 255 is right):
//!
//! | | right | wrong, or a panic | refused |
//! |---|---|---|---|
//! | `zune-jpeg` 0.5.15 | 2186 | 728 | 638 |
//! | `zune-jpeg` 0.5.16-rc3 | 2635 | 287 | 630 |
//! | `jpeg-decoder` 0.3.2 | 3452 | 43 | 57 |
//! | `libjpeg-turbo-rs` 0.9.0, which promises no memory safety | 2512 | 48 | 992 |
//! | this module | 3437 | 0 | 115 |
//!
//! Bindings to libjpeg-turbo itself need a C compiler, CMake and an assembler, for WebAssembly too. So the markers are read
//! here ([`markers`]), and the decoder is chosen by them: `zune-jpeg`, the fastest, for the usual kinds, about which it is
//! always right; `jpeg-decoder` for all others, but for some whose sampling factors nobody uses. `tests/jpeg.rs` tries them.
//!
//! A decoder gets only the segments that make the picture. Damaged metadata, a second picture behind the first and the
//! like stay outside. A file without its end marker is cut off: it is refused before anything is decoded.

mod markers;

use super::decoded::{Decoded, MAX_BYTES, to_rgb};
use super::orientation::Orientation;
use jpeg_decoder::ColorTransform;
use markers::{Colours, File, Frame};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Decodes a JPEG file; of several in one the first.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let file = File::read(bytes)?;
    let pixels = if is_usual(&file) {
        usual(&file)
    } else {
        beyond_both(&file)?;
        unusual(&file)
    };
    let pixels = pixels.map_err(|e| format!("a JPEG file that is damaged: {e}"))?;
    let Frame { width, height, .. } = file.frame;
    Ok(Decoded { width, height, pixels, orientation: Orientation::of(file.exif, file.xmp) })
}

/// At the right and at the lower edge, `zune-jpeg` mixes into the colour what lies beyond. Of a picture of this side, that
/// is little; one of a single column has no other colour.
const MIN_SIDE: usize = 64;

/// Whether the file is of the kinds that cameras, phones and programs write: grey or YCbCr, colour in full or in half
/// resolution, all components in one scan or progressive in several, and more than a thumbnail.
fn is_usual(file: &File<'_>) -> bool {
    let (luma, chroma) = file.frame.components.split_first().expect("a frame has components");
    file.has_tables
        && matches!(file.colours, Colours::Grey | Colours::YCbCr)
        && file.frame.width.min(file.frame.height) >= MIN_SIDE
        && luma.h <= 2
        && luma.v <= 2
        && chroma.iter().all(|component| component.h == 1 && component.v == 1)
        && file.frame.progressive == (file.scans.len() > 1)
}

fn usual(file: &File<'_>) -> Result<Vec<u8>, String> {
    // `zune-jpeg` wants to see the marker behind the first scan of several before it has read all of that.
    let picture = file.without_the_rest(usize::from(file.frame.progressive));
    let (colour_space, channels) =
        if file.colours == Colours::Grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(side)
        .set_max_height(side)
        .jpeg_set_out_colorspace(colour_space);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(&picture), options);
    Ok(to_rgb(decoder.decode().map_err(|e| e.to_string())?, channels))
}

fn unusual(file: &File<'_>) -> Result<Vec<u8>, String> {
    let picture = file.without_the_rest(0);
    let mut decoder = jpeg_decoder::Decoder::new(&picture[..]);
    decoder.set_max_decoding_buffer_size(MAX_BYTES / 3 * 4);
    decoder.set_color_transform(match file.colours {
        Colours::Grey => ColorTransform::Grayscale,
        Colours::Rgb => ColorTransform::RGB,
        Colours::YCbCr => ColorTransform::YCbCr,
        Colours::Cmyk => ColorTransform::CMYK,
        Colours::Ycck => ColorTransform::YCCK,
    });
    let samples = decoder.decode().map_err(|e| e.to_string())?;
    Ok(match file.frame.components.len() {
        4 => samples.as_chunks().0.iter().flat_map(|&cmyk| cmyk_to_rgb(cmyk)).collect(),
        channels => to_rgb(samples, channels),
    })
}

/// An error where `jpeg-decoder` cannot be trusted: in a scan of one component it counts blocks by the frame's grid, which
/// is wrong for some components whose sampling factors are neither the smallest nor the greatest.
fn beyond_both(file: &File<'_>) -> Result<(), String> {
    let Frame { width, height, components, .. } = &file.frame;
    let (h_max, v_max) = file.frame.max_sampling();
    // Blocks along one axis, as they are and as they are counted.
    let wrong = |pixels: usize, sampling: usize, max: usize| {
        let there = (pixels * sampling).div_ceil(8 * max);
        let counted = (pixels.div_ceil(8 * max) * sampling).min(pixels.div_ceil(8));
        there != counted
    };
    for component in file.scans.iter().filter(|scan| scan.len() == 1).map(|scan| &components[scan[0]]) {
        let (h, v) = (component.h, component.v);
        if wrong(*width, h, h_max) || wrong(*height, v, v_max) {
            return Err(format!(
                "a JPEG file with sampling factors {h}x{v} beside {h_max}x{v_max} in scans of their own, \
                 which is not read: convert it first"
            ));
        }
    }
    Ok(())
}

/// As Pillow converts: ink of each colour, black on top of it.
fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = u32::from(255 - k);
    [c, m, y].map(|ink| {
        // Divided by 255, rounded.
        let product = u32::from(ink) * white + 128;
        (white - (((product >> 8) + product) >> 8)) as u8
    })
}
