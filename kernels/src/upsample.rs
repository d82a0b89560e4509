//! Nearest-neighbour upsampling.

use crate::view::{BLOCK, View, ViewMut};

/// `dst[c][y][x] = src[c][y / 2][x / 2]`.
///
/// # Panics
/// Where `dst` has not the channels and twice the height and width of `src`.
pub fn upsample_nearest_2x(src: View<'_>, mut dst: ViewMut<'_>) {
    let (from, to) = (src.shape(), dst.shape());
    assert!(to.c == from.c && (to.h, to.w) == (2 * from.h, 2 * from.w), "upsample from {from} to {to}");
    let dst_block_stride = dst.block_stride();
    for block in 0..to.blocks() {
        let src = &src.data()[block * src.block_stride()..];
        let dst = &mut dst.data_mut()[block * dst_block_stride..];
        for y in 0..from.h {
            let row = &src[y * from.w * BLOCK..][..from.w * BLOCK];
            let (upper, lower) = dst[2 * y * to.w * BLOCK..][..2 * to.w * BLOCK].split_at_mut(to.w * BLOCK);
            for (pixel, pair) in row.chunks_exact(BLOCK).zip(upper.chunks_exact_mut(2 * BLOCK)) {
                pair[..BLOCK].copy_from_slice(pixel);
                pair[BLOCK..].copy_from_slice(pixel);
            }
            lower.copy_from_slice(upper);
        }
    }
}
