//! How a tensor of the file relates to a value of the graph: which of its axes is the batch, the rows, the columns, and
//! in which order its other axes run through the channels.
//!
//! `Reshape`, `Transpose`, `Squeeze` and their kin move nothing here: they rearrange this description. A channel shuffle,
//! in whatever spelling, is the channels cut into two pieces and put together in the other order; a network that is
//! written channels-last has the channels on its last axis.

use super::sizes::{Num, Sizes};
use crate::graph::Value;
use std::collections::VecDeque;

/// A part of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Batch,
    Row,
    Column,
    /// Every `stride`-th channel.
    Channel {
        len: usize,
        stride: usize,
    },
}

impl Piece {
    pub(crate) fn is_pixel(&self) -> bool {
        matches!(self, Self::Row | Self::Column)
    }
}

/// A tensor of the file that lies in a value of the graph.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) value: Value,
    pub(crate) channels: usize,
    /// Images of the batch, rows and columns.
    pub(crate) extents: [Num; 3],
    /// For each axis, its parts from the outermost to the innermost. Pieces of length one are left out, but for the
    /// batch.
    pub(crate) axes: Vec<Vec<Piece>>,
}

impl View {
    /// `[batch, channels, rows, columns]`, of which some may have been dropped: as many as `rank`.
    pub(crate) fn map(sizes: &Sizes, value: Value, channels: usize, extents: [Num; 3]) -> Self {
        let side = |piece, num| if sizes.value(num) == Some(1.0) { vec![] } else { vec![piece] };
        let all = vec![
            vec![Piece::Batch],
            channel_piece(channels),
            side(Piece::Row, extents[1]),
            side(Piece::Column, extents[2]),
        ];
        Self { value, channels, extents, axes: all }
    }

    /// The same axes in another value, of other channels in order.
    pub(crate) fn with(&self, value: Value) -> Self {
        Self { value, ..self.clone() }
    }

    fn len(&self, sizes: &mut Sizes, piece: Piece) -> Num {
        match piece {
            Piece::Batch => self.extents[0],
            Piece::Row => self.extents[1],
            Piece::Column => self.extents[2],
            Piece::Channel { len, .. } => sizes.len(len),
        }
    }

    /// The same elements in another shape, if its axes are made of whole pieces.
    pub(crate) fn reshaped(&self, sizes: &mut Sizes, shape: &[Num]) -> Option<Self> {
        let mut rest: VecDeque<Piece> = self.axes.iter().flatten().copied().collect();
        let only = sizes.int(1);
        let mut axes = Vec::with_capacity(shape.len());
        for &target in shape {
            let (mut axis, mut have) = (Vec::new(), only);
            // A batch of one goes with an axis of one.
            if sizes.same(target, only)
                && let Some(&piece) = rest.front()
            {
                let len = self.len(sizes, piece);
                if sizes.same(len, only) {
                    axis.push(piece);
                    rest.pop_front();
                }
            }
            while !sizes.same(have, target) {
                let piece = rest.pop_front()?;
                let len = self.len(sizes, piece);
                let with = sizes.mul(have, len);
                if sizes.divides(with, target) {
                    axis.push(piece);
                    have = with;
                    continue;
                }
                let Piece::Channel { len, stride } = piece else { return None };
                let part = sizes.multiple(target, have).filter(|part| len % part == 0)?;
                axis.push(Piece::Channel { len: part, stride: stride * (len / part) });
                rest.push_front(Piece::Channel { len: len / part, stride });
                have = target;
            }
            axes.push(merged(axis));
        }
        for piece in rest {
            let len = self.len(sizes, piece);
            if !sizes.same(len, only) {
                return None;
            }
            axes.last_mut()?.push(piece);
        }
        Some(Self { axes, ..self.clone() })
    }

    /// The same with axes in another order.
    pub(crate) fn transposed(&self, perm: &[usize]) -> Self {
        Self { axes: perm.iter().map(|&axis| self.axes[axis].clone()).collect(), ..self.clone() }
    }

    /// Whether it is `[batch, channels, rows, columns]`, with the channels in any order.
    pub(crate) fn is_map(&self) -> bool {
        let [batch, channels, rows, columns] = &self.axes[..] else { return false };
        batch[..] == [Piece::Batch]
            && channels.iter().all(|piece| matches!(piece, Piece::Channel { .. }))
            && (rows.is_empty() || rows[..] == [Piece::Row])
            && (columns.is_empty() || columns[..] == [Piece::Column])
    }

    /// The axis on which all channels lie and nothing else, if there is one.
    pub(crate) fn channel_axis(&self) -> Option<usize> {
        let is_channel = |piece: &Piece| matches!(piece, Piece::Channel { .. });
        let mut axes = self.axes.iter().enumerate().filter(|(_, axis)| axis.iter().any(is_channel));
        let (at, axis) = axes.next()?;
        (axes.next().is_none() && axis.iter().all(is_channel)).then_some(at)
    }

    /// Whether some axis runs over rows or columns.
    pub(crate) fn has_pixels(&self) -> bool {
        self.axes.iter().flatten().any(|piece| piece.is_pixel())
    }

    /// Whether `small` has one number where this has channels, or where it has pixels, or both.
    pub(crate) fn repeats(&self, small: &Self) -> bool {
        let pixels = |view: &Self| view.axes.iter().flatten().filter(|piece| piece.is_pixel()).count();
        self.axes.len() == small.axes.len()
            && self.axes.iter().zip(&small.axes).all(|(axis, small)| axis == small || small.is_empty())
            && [1, self.channels].contains(&small.channels)
            && [0, pixels(self)].contains(&pixels(small))
    }

    /// Whether the axes run through the channels in their order in the value.
    pub(crate) fn is_in_order(&self) -> bool {
        let mut inner = 1;
        let channels = self.axes.iter().flatten().rev().filter_map(|piece| match piece {
            Piece::Channel { len, stride } => Some((len, stride)),
            _ => None,
        });
        for (len, stride) in channels {
            if *stride != inner {
                return false;
            }
            inner *= len;
        }
        inner == self.channels
    }

    /// The value's channels in the order in which the axes run through them.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order = vec![0];
        for &piece in self.axes.iter().flatten() {
            if let Piece::Channel { len, stride } = piece {
                order = order.iter().flat_map(|&at| (0..len).map(move |i| at + i * stride)).collect();
            }
        }
        order
    }

    /// The same axes in a value whose channels were put in the order of [`order`](Self::order), or some of them.
    pub(crate) fn renamed(&self, value: Value) -> Self {
        let mut stride = 1;
        let mut axes = self.axes.clone();
        for piece in axes.iter_mut().flatten().rev() {
            if let Piece::Channel { len, stride: of } = piece {
                *of = stride;
                stride *= *len;
            }
        }
        axes.iter_mut().for_each(|axis| *axis = merged(std::mem::take(axis)));
        Self { value, channels: stride, axes, ..self.clone() }
    }

    /// For each channel of the value, its index along an axis that only channels lie on.
    pub(crate) fn along(&self, sizes: &Sizes, axis: usize) -> Option<Vec<usize>> {
        let mut along = vec![0; self.channels];
        for &piece in &self.axes[axis] {
            match piece {
                Piece::Channel { len, stride } => along
                    .iter_mut()
                    .enumerate()
                    .for_each(|(channel, index)| *index = *index * len + channel / stride % len),
                Piece::Batch if sizes.value(self.extents[0]) == Some(1.0) => {}
                _ => return None,
            }
        }
        Some(along)
    }
}

/// The piece of all channels; nothing where there is one.
pub(crate) fn channel_piece(channels: usize) -> Vec<Piece> {
    if channels == 1 { vec![] } else { vec![Piece::Channel { len: channels, stride: 1 }] }
}

/// Pieces that follow each other as one, and those of one channel left out.
fn merged(axis: Vec<Piece>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(axis.len());
    for piece in axis {
        match (pieces.last_mut(), piece) {
            (_, Piece::Channel { len: 1, .. }) => {}
            (Some(Piece::Channel { len, stride }), Piece::Channel { len: more, stride: step })
                if *stride == step * more =>
            {
                (*len, *stride) = (*len * more, step);
            }
            _ => pieces.push(piece),
        }
    }
    pieces
}
