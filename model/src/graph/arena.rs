//! Where each piece of memory lies, for one size of image: pieces that do not live at the same time overlap.

use crate::Error;
use kernels::{Buffer, Shape};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Memory of running inferences, the caller's: it grows on the first run and is then reused without allocation, also
/// where sizes alternate. It serves any program, one call at a time.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) layout: Layout,
    /// One for each image that runs at the same time.
    pub(crate) arenas: Vec<Mutex<Arena>>,
}

/// What one inference writes to.
#[derive(Debug)]
pub(crate) struct Arena {
    pub(crate) memory: Buffer,
    /// Outputs of the images that this arena has run, until all are there.
    pub(crate) kept: Vec<f32>,
}

/// What a layout was made for.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The program's own.
    pub(crate) program: Arc<()>,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) threads: usize,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let of = |key: &Self| (key.h, key.w, key.threads);
        Arc::ptr_eq(&self.program, &other.program) && of(self) == of(other)
    }
}

/// Memory from the first step that writes it up to the one that no longer reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) len: usize,
    pub(crate) from: usize,
    pub(crate) until: usize,
}

/// The shape of every node's value, and where every piece begins.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) key: Option<Key>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) at: Vec<usize>,
    /// Where the memory begins that operators use for themselves, behind all pieces.
    pub(crate) scratch: usize,
    pub(crate) len: usize,
    pieces: Vec<Piece>,
    by_length: Vec<usize>,
    taken: Vec<Range<usize>>,
}

impl Layout {
    /// Lays `pieces` out: the longest first, each at the first place where it fits.
    ///
    /// # Errors
    /// Where they do not fit into memory together.
    pub(crate) fn place(&mut self, pieces: impl Iterator<Item = Piece>) -> Result<(), Error> {
        let Self { at, len, pieces: all, by_length, taken, .. } = self;
        all.clear();
        all.extend(pieces);
        by_length.clear();
        by_length.extend((0..all.len()).filter(|&i| all[i].len > 0));
        by_length.sort_unstable_by_key(|&i| (std::cmp::Reverse(all[i].len), i));
        at.clear();
        at.resize(all.len(), 0);
        *len = 0;
        for (placed, &i) in by_length.iter().enumerate() {
            let piece = all[i];
            let beside = by_length[..placed].iter().filter(|&&other| {
                let other = all[other];
                piece.from < other.until && other.from < piece.until
            });
            taken.clear();
            taken.extend(beside.map(|&other| at[other]..at[other] + all[other].len));
            taken.sort_unstable_by_key(|range| range.start);
            let mut free = 0;
            for range in taken.iter() {
                if range.start.checked_sub(free).is_some_and(|room| room >= piece.len) {
                    break;
                }
                free = free.max(range.end);
            }
            let end =
                free.checked_add(piece.len).filter(|end| *end <= isize::MAX as usize / size_of::<f32>());
            at[i] = free;
            *len = (*len).max(end.ok_or_else(|| Error::Config("the maps do not fit into memory".into()))?);
        }
        Ok(())
    }
}

impl Workspace {
    /// The layout, and the memory of the first arena.
    pub(crate) fn first(&mut self) -> (&Layout, &mut [f32]) {
        let arena = self.arenas[0].get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        (&self.layout, arena.memory.as_mut_slice())
    }

    /// Sees to it that so many arenas of the layout's length can keep so many numbers each.
    pub(crate) fn grow(&mut self, arenas: usize, kept: usize) {
        while self.arenas.len() < arenas {
            self.arenas.push(Mutex::new(Arena { memory: Buffer::zeros(0), kept: Vec::new() }));
        }
        let len = self.layout.len;
        for arena in &mut self.arenas[..arenas] {
            let arena = arena.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            if arena.memory.as_slice().len() < len {
                arena.memory = Buffer::zeros(len);
            }
            if arena.kept.len() < kept {
                arena.kept.resize(kept, 0.0);
            }
        }
    }
}
