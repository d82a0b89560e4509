//! Into the blocked layout and out of it, by the formula of [`kernels::View`].
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::reference::Planar;
use kernels::{ChannelOrder, Shape, Tensor, layout};
use kernels_testing::blocked::{Frame, Framed, Order, frames};
use kernels_testing::{Layout, Random};

fn check(shape: Shape, frame: Frame, seed: u64) {
    let rng = &mut Random::new(seed);
    let image = Data::Reals.image(shape, rng);
    let (planar, nhwc) = (Layout::Nchw.of(&image), Layout::Nhwc.of(&image));
    let identity = ChannelOrder::identity(shape.c);
    let context = format!("{shape}, {frame:?}");

    // In: by `Framed`'s own formula.
    let mut dst = Framed::new(shape, frame);
    layout::from_nchw(&planar, dst.view_mut());
    assert_eq!(dst.intact(), Ok(()), "from_nchw: {context}");
    assert_eq!(dst.read(&identity), planar, "from_nchw: {context}");
    let mut dst = Framed::new(shape, frame);
    layout::from_nhwc(&nhwc, dst.view_mut());
    assert_eq!(dst.intact(), Ok(()), "from_nhwc: {context}");
    assert_eq!(dst.read(&identity), planar, "from_nhwc: {context}");

    // Out, through orders of fewer, more and repeated channels.
    for order in [identity, Order::Permuted.of(shape.c, rng), Order::Repeated.of(shape.c, rng)] {
        let order = order.range(rng.below(shape.c)..shape.c).unwrap();
        let expected = dst.read(&order);
        let mut found = vec![0.0; expected.len()];
        layout::to_nchw(dst.view(), &order, &mut found);
        assert_eq!(found, expected, "to_nchw: {context}, {order:?}");
        layout::to_nhwc(dst.view(), &order, &mut found);
        let expected = Layout::Nhwc.of(&Planar::new(Shape { c: order.channels(), ..shape }, &expected));
        assert_eq!(found, expected, "to_nhwc: {context}, {order:?}");
    }

    // Owned.
    let tensor = Tensor::from_nchw(&planar, shape).unwrap();
    assert_eq!(tensor.shape(), shape);
    assert_eq!(tensor.to_nchw(), planar, "Tensor: {context}");
    assert_eq!(Tensor::from_nhwc(&nhwc, shape).unwrap().to_nchw(), planar, "Tensor: {context}");
}

proptest! {
    #![proptest_config(config(200))]
    #[test]
    fn there_and_back(
        (c, h, w) in (CHANNELS, 1..=12usize, 1..=12usize), frame in frames(), seed in any::<u64>(),
    ) {
        check(Shape::new(c, h, w), frame, seed);
    }
}

#[test]
fn every_channel_count() {
    for c in CHANNELS {
        check(Shape::new(c, 1 + c % 3, 3), Frame::WIDE, c as u64);
    }
}

/// Maps longer than what is converted at a time, and planes that begin alike in the first-level cache.
#[test]
fn large_maps() {
    for (c, h, w) in [(3, 17, 31), (16, 16, 32), (40, 32, 32), (33, 9, 29)] {
        check(Shape::new(c, h, w), Frame::WIDE, 3);
    }
}

/// The conversions compute with what the environment chooses, so each choice takes a process of its own.
#[test]
#[cfg(not(target_family = "wasm"))]
fn on_every_instruction_set() {
    if std::env::var_os("KERNELS_LAYOUT_CHILD").is_some() {
        return;
    }
    let runner = std::env::var("KERNELS_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().map(std::ffi::OsString::from).collect::<Vec<_>>();
    words.push(std::env::current_exe().unwrap().into());
    for isa in kernels::Isa::available() {
        let mut command = std::process::Command::new(&words[0]);
        command.args(&words[1..]).env("KERNELS_LAYOUT_CHILD", "1").env("KERNELS_ISA", isa.name());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{isa}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
