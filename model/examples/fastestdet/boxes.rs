//! From the network's numbers to boxes.

use crate::network::{FIELDS, GRID};

const LEAST_SCORE: f32 = 0.65;
const GREATEST_OVERLAP: f32 = 0.45;

/// One thing found in the photo.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detection {
    pub(crate) class: usize,
    pub(crate) score: f32,
    /// Left, top, right, bottom in pixels of the photo; may reach beyond it.
    pub(crate) bounds: [f32; 4],
}

/// The boxes that `output`, [`FIELDS`] numbers per cell, stands for in a photo of `width` x `height`, the likeliest
/// first.
pub(crate) fn decode(output: &[f32], width: u32, height: u32) -> Vec<Detection> {
    let grid = GRID as f32;
    let cells = output.chunks_exact(FIELDS).enumerate();
    let mut found: Vec<Detection> = cells
        .filter_map(|(cell, fields)| {
            let (class, likeliest) = fields[5..].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
            let score = fields[0].powf(0.6) * likeliest.powf(0.4);
            if score.is_nan() || score <= LEAST_SCORE {
                return None;
            }
            let x = ((cell % GRID) as f32 + fields[1].tanh()) / grid;
            let y = ((cell / GRID) as f32 + fields[2].tanh()) / grid;
            let (half_w, half_h) = (sigmoid(fields[3]) / 2.0, sigmoid(fields[4]) / 2.0);
            let (width, height) = (width as f32, height as f32);
            let bounds =
                [(x - half_w) * width, (y - half_h) * height, (x + half_w) * width, (y + half_h) * height];
            bounds.iter().all(|x| x.is_finite()).then_some(Detection { class, score, bounds })
        })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));

    let mut kept: Vec<Detection> = Vec::new();
    for detection in found {
        if kept.iter().all(|better| overlap(&better.bounds, &detection.bounds) <= GREATEST_OVERLAP) {
            kept.push(detection);
        }
    }
    kept
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Intersection over union.
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |[x1, y1, x2, y2]: [f32; 4]| (x2 - x1).max(0.0) * (y2 - y1).max(0.0);
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    common / (area(*a) + area(*b) - common)
}
