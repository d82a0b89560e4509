//! How a network wants its pictures.

use super::Picture;
use super::resize::{self, Axis};
use crate::{Config, Wiring};

/// Which framework's resizing to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resizing {
    /// Pillow's bilinear filter, with antialiasing, bit for bit; the long side rounded down as torchvision
    /// does.
    Pillow,
    /// Bilinear without antialiasing, as OpenCV's `INTER_LINEAR` (to within 1 of 255); the long side
    /// rounded to the nearest.
    OpenCv,
}

/// How a network wants its pictures: short side to `resize`, the middle `crop` x `crop` of that, each
/// sample as `(sample / divisor - mean) / std`, planes in the order of `channels`.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Length that the short side is brought to.
    pub resize: usize,
    /// Side of the square that is cut from the middle. Where the resized picture is smaller, black is put
    /// around it.
    pub crop: usize,
    /// How to resize.
    pub resizing: Resizing,
    /// What samples are divided by first.
    pub divisor: f32,
    /// What is then subtracted, for red, green and blue.
    pub mean: [f32; 3],
    /// What is then divided by, for red, green and blue.
    pub std: [f32; 3],
    /// The order of the planes: 0 is red, 1 green, 2 blue.
    pub channels: [usize; 3],
}

impl Recipe {
    /// torchvision's `ImageClassification(crop_size=224, resize_size=resize)`. The short side of its
    /// checkpoints for 0.5x and 1.0x is 256, that of 1.5x and 2.0x is 232.
    pub fn torchvision(resize: usize) -> Self {
        Self {
            resize,
            crop: 224,
            resizing: Resizing::Pillow,
            divisor: 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            channels: [0, 1, 2],
        }
    }

    /// Megvii's: OpenCV's resizing, blue first, 0 to 255 as they are.
    pub fn megvii() -> Self {
        Self {
            resize: 256,
            crop: 224,
            resizing: Resizing::OpenCv,
            divisor: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            channels: [2, 1, 0],
        }
    }

    /// For networks trained with the Keras code, which leaves the input open: RGB from 0 to 1, cut out as
    /// torchvision does. Whoever trained with another scaling sets `divisor`, `mean` and `std`.
    pub fn keras() -> Self {
        Self { mean: [0.0; 3], std: [1.0; 3], ..Self::torchvision(256) }
    }

    /// How whoever trained such networks prepares a photo.
    pub fn of(config: &Config) -> Self {
        match (config.wiring, config.width()) {
            (Wiring::Torchvision, Some("1.5" | "2.0")) => Self::torchvision(232),
            (Wiring::Torchvision, _) => Self::torchvision(256),
            (Wiring::Megvii, _) => Self::megvii(),
            (Wiring::Keras, _) => Self::keras(),
        }
    }

    /// The network's input: three planes of `crop` x `crop` values.
    pub fn apply(&self, picture: &Picture) -> Vec<f32> {
        self.normalise(&self.crop(picture))
    }

    /// What [`apply`](Self::apply) does once a picture has its size: planes of `pixels`, which are interleaved RGB.
    pub fn normalise(&self, pixels: &[u8]) -> Vec<f32> {
        let mut input = Vec::with_capacity(pixels.len());
        for channel in self.channels {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            let plane = pixels.as_chunks::<3>().0.iter();
            input.extend(plane.map(|pixel| (f32::from(pixel[channel]) / self.divisor - mean) / std));
        }
        input
    }

    /// The resized and cropped picture, as the network will see it.
    pub fn crop(&self, picture: &Picture) -> Vec<u8> {
        let (width, height) = self.resized(picture);
        let (x, y) = (Crop::of(width, self.crop), Crop::of(height, self.crop));
        let axis = |from, to, crop: &Crop| Axis { from, to, window: crop.start..crop.start + crop.len };
        let window = resize::bilinear(
            picture.pixels(),
            &axis(picture.width(), width, &x),
            &axis(picture.height(), height, &y),
            self.resizing == Resizing::Pillow,
        );
        if x.len == self.crop && y.len == self.crop {
            return window;
        }
        let mut padded = vec![0; 3 * self.crop * self.crop];
        let rows = padded.chunks_exact_mut(3 * self.crop).skip(y.before);
        for (row, window) in rows.zip(window.chunks_exact(3 * x.len)) {
            row[3 * x.before..3 * (x.before + x.len)].copy_from_slice(window);
        }
        padded
    }

    /// Width and height with the short side brought to `resize`.
    fn resized(&self, picture: &Picture) -> (usize, usize) {
        let long = |short: usize, long: usize| match self.resizing {
            Resizing::Pillow => ((self.resize * long) as f64 / short as f64) as usize,
            Resizing::OpenCv => (self.resize as f64 / short as f64 * long as f64 + 0.5) as usize,
        };
        let (width, height) = (picture.width(), picture.height());
        if width <= height { (self.resize, long(width, height)) } else { (long(height, width), self.resize) }
    }
}

/// What a centre crop takes of one axis: `len` from `start` on, after `before` pixels of padding.
struct Crop {
    start: usize,
    len: usize,
    before: usize,
}

impl Crop {
    fn of(from: usize, crop: usize) -> Self {
        match from.checked_sub(crop) {
            // Python rounds halves to the even neighbour.
            Some(excess) => {
                Self { start: (excess as f64 / 2.0).round_ties_even() as usize, len: crop, before: 0 }
            }
            None => Self { start: 0, len: from, before: (crop - from) / 2 },
        }
    }
}
