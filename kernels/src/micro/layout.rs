//! Planes of pixels to lines of channels, and back: blocks of four channels by four pixels, transposed in registers.
//!
//! ```text
//!              quads of four pixels, LANES / 4 planes four channels apart in one register
//!   rows[0]    c0: p0 p1 p2 p3 | c4: p0 p1 p2 p3 | ..          c0 c1 c2 c3 | c4 c5 c6 c7 | ..  of p0
//!   rows[1]    c1: p0 p1 p2 p3 | c5: p0 p1 p2 p3 | ..    ->    c0 c1 c2 c3 | c4 c5 c6 c7 | ..  of p1
//!   rows[2]    c2: ..                                          ..                              of p2
//!   rows[3]    c3: ..                                          ..                              of p3
//! ```

use crate::micro::unroll;
use crate::simd::Quads;

/// One block of channels, from planes.
///
/// Contract: each of `planes` holds `pixels` floats (several may be the same plane), `dst` `pixels` pixels of sixteen.
pub(crate) struct FromPlanes {
    pub(crate) planes: [*const f32; 16],
    pub(crate) dst: *mut f32,
    pub(crate) pixels: usize,
}

/// One block of channels, to planes.
///
/// Contract: `src` holds `pixels` pixels of sixteen floats, each of `planes` that is not null `pixels` floats; a channel
/// whose plane is null is left out.
pub(crate) struct ToPlanes {
    pub(crate) src: *const f32,
    pub(crate) planes: [*mut f32; 16],
    pub(crate) pixels: usize,
}

/// Where the planes of the quads of one register lie: from channel `first` on, every fourth. (A register has four quads or
/// fewer; those behind are not looked at.)
#[inline(always)]
fn quads<T: Copy>(planes: &[T; 16], first: usize) -> [T; 4] {
    [planes[first % 16], planes[(first + 4) % 16], planes[(first + 8) % 16], planes[(first + 12) % 16]]
}

/// # Safety
/// The contract of [`FromPlanes`].
#[inline(always)]
pub(crate) unsafe fn from_planes<S: Quads>(s: S, args: &FromPlanes) {
    let FromPlanes { planes, dst, pixels } = *args;
    // SAFETY: the contract of `FromPlanes`; no four pixels end beyond the last. Registers may be
    // zeroed: `Simd` demands it.
    unsafe {
        if pixels < 4 {
            for pixel in 0..pixels {
                for (lane, plane) in planes.iter().enumerate() {
                    *dst.add(pixel * 16 + lane) = *plane.add(pixel);
                }
            }
            return;
        }
        for pixel in (0..pixels).step_by(4) {
            // Where fewer than four are left, some are done again.
            let pixel = pixel.min(pixels - 4);
            let at = planes.map(|plane| plane.add(pixel));
            for lane in (0..16).step_by(S::LANES) {
                let mut rows: [S::F32; 4] = core::mem::zeroed();
                unroll!(r < 4, { rows[r] = s.gather(&quads(&at, lane + r)) });
                let lines = s.transpose(rows);
                unroll!(i < 4, { s.store(lines[i], dst.add((pixel + i) * 16 + lane)) });
            }
        }
    }
}

/// # Safety
/// The contract of [`ToPlanes`].
#[inline(always)]
pub(crate) unsafe fn to_planes<S: Quads>(s: S, args: &ToPlanes) {
    let ToPlanes { src, planes, pixels } = *args;
    // SAFETY: the contract of `ToPlanes`; no four pixels end beyond the last. Registers may be
    // zeroed: `Simd` demands it.
    unsafe {
        if pixels < 4 {
            for pixel in 0..pixels {
                for (lane, plane) in planes.iter().enumerate().filter(|(_, plane)| !plane.is_null()) {
                    *plane.add(pixel) = *src.add(pixel * 16 + lane);
                }
            }
            return;
        }
        for pixel in (0..pixels).step_by(4) {
            // Where fewer than four are left, some are done again.
            let pixel = pixel.min(pixels - 4);
            let at = planes.map(|plane| if plane.is_null() { plane } else { plane.add(pixel) });
            for lane in (0..16).step_by(S::LANES) {
                let mut lines: [S::F32; 4] = core::mem::zeroed();
                unroll!(i < 4, { lines[i] = s.load(src.add((pixel + i) * 16 + lane)) });
                let rows = s.transpose(lines);
                unroll!(r < 4, { s.scatter(rows[r], &quads(&at, lane + r)) });
            }
        }
    }
}
