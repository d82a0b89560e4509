//! SIMD kernels for lightweight convolutional networks.
