//! The photo: squashed into the network's input, and drawn upon.

use crate::boxes::Detection;
use crate::network::SIDE;
use font8x8::UnicodeFonts;
use image::{Rgb, RgbImage};

/// The photo as the network wants it: `SIDE` x `SIDE`, planes of blue, green and red, 0 to 1.
pub(crate) fn network_input(photo: &RgbImage) -> Vec<f32> {
    let small = area_resize(photo, SIDE);
    let plane = |channel: usize| small.pixels().map(move |pixel| f32::from(pixel[channel]) / 255.0);
    plane(2).chain(plane(1)).chain(plane(0)).collect()
}

/// For each destination pixel of one axis, the first source pixel and the weights of it and of those after it.
type Taps = Vec<(usize, Vec<f32>)>;

/// `side` x `side` pixels by area averaging, as OpenCV's `INTER_AREA` defines it: the mean of what a destination pixel
/// covers where the photo shrinks on both axes, else an interpolation between two source pixels per axis.
pub(crate) fn area_resize(photo: &RgbImage, side: usize) -> RgbImage {
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    let taps = if width >= side && height >= side { covered } else { two };
    let (columns, rows) = (taps(width, side), taps(height, side));
    let source = photo.as_raw();
    let mut small = Vec::with_capacity(side * side * 3);
    let mut line = vec![0.0; width * 3];
    for (first, weights) in &rows {
        line.fill(0.0);
        for (row, weight) in source[first * width * 3..].chunks_exact(width * 3).zip(weights) {
            line.iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * f32::from(value));
        }
        for (first, weights) in &columns {
            for channel in 0..3 {
                let pixels = line[first * 3 + channel..].iter().step_by(3);
                let mean: f32 = pixels.zip(weights).map(|(value, weight)| weight * value).sum();
                small.push(mean.round_ties_even() as u8);
            }
        }
    }
    RgbImage::from_raw(side as u32, side as u32, small).expect("three numbers per pixel")
}

/// Weights in proportion to what a destination pixel covers of each source pixel.
fn covered(from: usize, to: usize) -> Taps {
    // In units of 1 / to source pixels, everything is an integer.
    (0..to)
        .map(|i| {
            let (start, end) = (i * from, (i + 1) * from);
            let first = start / to;
            let overlap = |pixel: usize| (end.min((pixel + 1) * to) - start.max(pixel * to)) as f32;
            (first, (first..end.div_ceil(to)).map(|pixel| overlap(pixel) / from as f32).collect())
        })
        .collect()
}

/// Weights of the source pixel that a destination pixel begins in and of the next one.
fn two(from: usize, to: usize) -> Taps {
    let (from_f, to_f) = (from as f64, to as f64);
    (0..to)
        .map(|i| {
            let first = i * from / to;
            let beyond = (i + 1) as f64 - (first + 1) as f64 * to_f / from_f;
            let next = if beyond <= 0.0 || first + 1 == from { 0.0 } else { beyond.fract() as f32 };
            if next == 0.0 { (first, vec![1.0]) } else { (first, vec![1.0 - next, next]) }
        })
        .collect()
}

/// Draws a frame and a name for every detection.
pub(crate) fn draw(photo: &mut RgbImage, detections: &[Detection], names: &[String]) {
    let zoom = (photo.width().min(photo.height()) / 240).max(1);
    // The likeliest last, on top of the others.
    for detection in detections.iter().rev() {
        let colour = colour(detection.class);
        let [x1, y1, x2, y2] = detection.bounds.map(|x| x.round() as i64);
        let thick = 2 * i64::from(zoom) - 1;
        for (left, top, right, bottom) in [
            (x1, y1, x2, y1 + thick),
            (x1, y2 - thick, x2, y2),
            (x1, y1, x1 + thick, y2),
            (x2 - thick, y1, x2, y2),
        ] {
            fill(photo, left, top, right, bottom, colour);
        }
        let text = format!("{} {:.0}%", names[detection.class], 100.0 * detection.score);
        write(photo, &text, x1.max(0), y1.max(0), i64::from(zoom), colour);
    }
}

/// Black letters on a ground of `colour`, whose upper left corner is (x, y).
fn write(photo: &mut RgbImage, text: &str, x: i64, y: i64, zoom: i64, colour: Rgb<u8>) {
    let letters = text.chars().count() as i64;
    fill(photo, x, y, x + (8 * letters + 2) * zoom, y + 10 * zoom, colour);
    for (i, letter) in (0..).zip(text.chars()) {
        let glyph =
            font8x8::BASIC_FONTS.get(letter).or_else(|| font8x8::BASIC_FONTS.get('?')).unwrap_or_default();
        for (row, bits) in (0..).zip(glyph) {
            for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                let (left, top) = (x + (8 * i + column + 1) * zoom, y + (row + 1) * zoom);
                fill(photo, left, top, left + zoom, top + zoom, Rgb([0, 0, 0]));
            }
        }
    }
}

/// Fills the part of a rectangle that lies in the photo.
fn fill(photo: &mut RgbImage, left: i64, top: i64, right: i64, bottom: i64, colour: Rgb<u8>) {
    let columns = left.max(0)..right.min(photo.width().into());
    let rows = top.max(0)..bottom.min(photo.height().into());
    for y in rows {
        for x in columns.clone() {
            photo.put_pixel(x as u32, y as u32, colour);
        }
    }
}

/// Bright colours, unlike for neighbouring classes.
fn colour(class: usize) -> Rgb<u8> {
    let hue = class as f32 * 0.618_034 % 1.0 * 6.0;
    let channel = |offset: f32| {
        let distance = (((hue + offset) % 6.0) - 3.0).abs() - 1.0;
        (80.0 + 175.0 * distance.clamp(0.0, 1.0)) as u8
    };
    Rgb([channel(0.0), channel(4.0), channel(2.0)])
}
