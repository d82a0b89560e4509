//! From a photo to a network's input.
//!
//! ```no_run
//! # fn main() -> Result<(), model::photo::PictureError> {
//! use model::photo::{Picture, Recipe};
//! let picture = Picture::open("dog.jpg".as_ref())?;
//! let input: Vec<f32> = Recipe::torchvision(256).apply(&picture); // 1 x 3 x 224 x 224
//! # Ok(()) }
//! ```

#[cfg(feature = "image")]
mod decode;
#[cfg(feature = "image")]
mod decoded;
#[cfg(feature = "image")]
mod jpeg;
#[cfg(feature = "image")]
mod orientation;
#[cfg(feature = "image")]
mod png;
mod recipe;
mod resize;
#[cfg(feature = "image")]
mod webp;

pub use recipe::{Recipe, Resizing};
use std::fmt;

/// An 8-bit RGB picture, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Why a picture cannot be used. Displays as one line.
#[derive(Debug)]
pub struct PictureError(String);

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PictureError {}

impl Picture {
    /// A picture of interleaved RGB samples.
    pub fn from_rgb(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, PictureError> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if expected != Some(pixels.len()) || pixels.is_empty() {
            return Err(PictureError(format!(
                "a picture of {width} x {height} pixels from {} bytes of RGB",
                pixels.len()
            )));
        }
        Ok(Self { width, height, pixels })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Interleaved RGB samples, rows from the top.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}
