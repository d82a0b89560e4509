//! The numbers that problems are made of. All of them come from a seed, so that a problem is told by a short line and
//! shrinks by its shape.

use kernels::Shape;
use kernels::reference::Planar;

/// A small generator of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`.
    ///
    /// # Panics
    /// Where `n` is zero.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// One of `from`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What numbers a problem computes with, and so how its result is compared.
#[derive(Clone, Copy, Debug)]
pub enum Data {
    /// Whole numbers in `[-8, 8]`. Sums of products below 2^24 are exact in `f32`, in any order, fused or not: results
    /// are compared for equality.
    Integers,
    /// Real numbers of mixed magnitudes. Results are compared within a bound derived from the sum that each one is.
    Reals,
    /// Integers, but one element of every source is this number: NaN, say, or an infinity.
    With(f32),
    /// Any bits: infinities, denormal numbers and NaN included. Values are not compared, for a sum of such numbers
    /// depends on its order; that a kernel writes what it should and nothing else, is.
    Bits,
}

impl Data {
    /// One number.
    pub fn one(self, rng: &mut Random) -> f32 {
        match self {
            Self::Integers | Self::With(_) => rng.below(17) as f32 - 8.0,
            Self::Reals => {
                let unit = rng.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0;
                unit * f32::powi(2.0, rng.below(9) as i32 - 4)
            }
            Self::Bits => f32::from_bits(rng.bits() as u32),
        }
    }

    /// `n` numbers.
    pub fn many(self, n: usize, rng: &mut Random) -> Vec<f32> {
        (0..n).map(|_| self.one(rng)).collect()
    }

    /// An image of such numbers: a source. [`Data::With`] puts its number somewhere.
    pub fn image(self, shape: Shape, rng: &mut Random) -> Planar {
        let mut image = Planar::from_fn(shape, |_, _, _| f64::from(self.one(rng)));
        if let Self::With(special) = self {
            let i = rng.below(image.data.len());
            image.data[i] = f64::from(special);
        }
        image
    }

    /// A positive number, of which the square root is exact where the data are integers: a variance.
    pub fn variance(self, rng: &mut Random) -> f32 {
        match self {
            Self::Integers | Self::With(_) => rng.pick(&[0.25, 1.0, 4.0]),
            Self::Reals => 0.01 + self.one(rng).abs(),
            Self::Bits => self.one(rng),
        }
    }
}
