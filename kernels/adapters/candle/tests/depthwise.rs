//! Held against candle's own grouped convolution.

use candle_core::{DType, Device, Module, Result, Tensor};
use kernels_candle::DepthwiseConv2d;

fn random(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1f32, shape, &Device::Cpu)
}

fn assert_close(a: &Tensor, b: &Tensor) -> Result<()> {
    assert_eq!(a.shape(), b.shape());
    let difference = (a - b)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(difference < 1e-4, "{difference}");
    Ok(())
}

#[test]
fn computes_what_candle_computes() -> Result<()> {
    for (images, channels, h, w, kernel, stride, padding) in [
        (1, 1, 3, 3, 3, 1, 0),
        (2, 24, 9, 14, 3, 1, 1),
        (3, 58, 8, 8, 3, 2, 1),
        (1, 33, 11, 7, 5, 1, 2),
        (2, 16, 10, 10, 5, 2, 0),
        (1, 20, 9, 9, 7, 1, 3),
        (1, 7, 10, 11, 3, 3, 3),
    ] {
        let (x, weight) = (random(&[images, channels, h, w])?, random(&[channels, 1, kernel, kernel])?);
        let bias = random(&[channels])?;
        let expected = x
            .conv2d(&weight, padding, stride, 1, channels)?
            .broadcast_add(&bias.reshape((1, channels, 1, 1))?)?;
        let op = DepthwiseConv2d::new(&weight, Some(&bias), stride, padding)?;
        assert_close(&op.forward(&x)?, &expected)?;
    }
    Ok(())
}

#[test]
fn reads_a_part_of_a_transposed_tensor() -> Result<()> {
    let (x, weight) = (random(&[2, 6, 8, 20])?, random(&[12, 1, 3, 3])?);
    // (2, 12, 6, 8), not contiguous.
    let x = x.permute((0, 3, 1, 2))?.narrow(1, 5, 12)?;
    let op = DepthwiseConv2d::new(&weight, None, 1, 1)?;
    assert_close(&op.forward(&x)?, &x.contiguous()?.conv2d(&weight, 1, 1, 1, 12)?)
}

#[test]
fn what_cannot_be_is_an_error() -> Result<()> {
    for (weight, stride, padding) in [([4, 2, 3, 3], 1, 1), ([4, 1, 3, 5], 1, 1), ([4, 1, 3, 3], 0, 1)] {
        assert!(DepthwiseConv2d::new(&random(&weight)?, None, stride, padding).is_err(), "{weight:?}");
    }
    let op = DepthwiseConv2d::new(&random(&[4, 1, 5, 5])?, None, 1, 1)?;
    for shape in [[1, 3, 8, 8], [1, 5, 8, 8], [1, 4, 8, 2]] {
        assert!(op.forward(&random(&shape)?).is_err(), "{shape:?}");
    }
    assert!(op.forward(&random(&[4, 8, 8])?).is_err());
    assert!(op.forward(&random(&[1, 4, 8, 8])?.to_dtype(DType::F64)?).is_err());
    Ok(())
}
