//! How a map in another size is computed.

/// Where a pixel of the result lies in the source, of which it is `len` long and the result `out`; `i` counts pixels of the
/// result from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coordinates {
    /// `(i + 1/2) * len / out - 1/2`: pixels are squares, and the maps' borders coincide. PyTorch's `align_corners=False`.
    HalfPixel,
    /// `i * (len - 1) / (out - 1)`: the centres of the corner pixels coincide. PyTorch's `align_corners=True`.
    AlignCorners,
    /// `i * len / out`: the first pixels coincide.
    Asymmetric,
}

/// How a number between pixels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest pixel; of two, the first. With [`Coordinates::Asymmetric`], that before it: PyTorch's `nearest`.
    Nearest,
    /// The mean of the four around it, weighted by how near they are.
    Bilinear,
}
