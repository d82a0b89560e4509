//! What a network is given.

use kernels::{Shape, View};

/// In which order an image's numbers come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Image, channel, row, column: PyTorch's.
    #[default]
    Nchw,
    /// Image, row, column, channel: TensorFlow's.
    Nhwc,
}

/// A batch of images, preprocessed.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// `n * c * h * w` numbers; a ShuffleNetV2 reads three channels.
    pub data: &'a [f32],
    /// Images.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Their order.
    pub layout: Layout,
}

impl<'a> Images<'a> {
    /// The least height and width of a ShuffleNetV2's images: it halves them five times.
    pub const MIN_SIDE: usize = 32;

    /// A batch in PyTorch's order.
    pub fn nchw(data: &'a [f32], n: usize, h: usize, w: usize) -> Self {
        Self { data, n, h, w, layout: Layout::Nchw }
    }

    /// The `index`-th image, of `channels` channels.
    ///
    /// # Panics
    /// Where there is no such image, or the batch has not `n * channels * h * w` numbers.
    pub fn image(&self, index: usize, channels: usize) -> Input<'a> {
        let Self { data, n, h, w, layout } = *self;
        let each = channels.saturating_mul(h).saturating_mul(w);
        assert!(
            data.len() == n.saturating_mul(each),
            "{} numbers for {n} images of {channels}x{h}x{w}",
            data.len()
        );
        let data = &data[index * each..][..each];
        match layout {
            Layout::Nchw => Input::Planar { data, h, w },
            Layout::Nhwc => Input::Interleaved { data, h, w },
        }
    }
}

/// One image or map, as its caller has it.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Channel, row, column.
    Planar {
        /// `c * h * w` numbers.
        data: &'a [f32],
        /// Rows.
        h: usize,
        /// Columns.
        w: usize,
    },
    /// Row, column, channel.
    Interleaved {
        /// `h * w * c` numbers.
        data: &'a [f32],
        /// Rows.
        h: usize,
        /// Columns.
        w: usize,
    },
    /// In the kernels' blocks of sixteen channels: what another program made.
    Blocked(View<'a>),
}

impl Input<'_> {
    /// Channels (so many, where it does not say), rows and columns.
    ///
    /// # Panics
    /// Where there are not as many numbers.
    pub(crate) fn shape(&self, channels: usize) -> Shape {
        let (data, shape) = match *self {
            Self::Planar { data, h, w } | Self::Interleaved { data, h, w } => {
                (data, Shape::new(channels, h, w))
            }
            Self::Blocked(view) => return view.shape(),
        };
        assert!(data.len() == shape.elements(), "{} numbers for an image of {shape}", data.len());
        shape
    }
}
