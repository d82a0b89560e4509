//! Numbers that depend on the size of the images and of the batch: `Shape`, `Gather`, `Div` and their kin, evaluated
//! without knowing that size.
//!
//! A number is an expression over the open extents of the inputs. To compare two of them no algebra is needed: every
//! expression is evaluated for [`LANES`] made-up sizes at once, and what is equal for all of them is the same. So
//! `floor((H - 1) / 2) + 1`, as one exporter writes a convolution's output, equals `ceil(H / 2)`, as another does.
//!
//! Some of these sizes may be impossible: a network that halves its maps and joins them again may want multiples of
//! 32. A size at which shapes contradict each other is struck off ([`Sizes::require`]); only when none is left is
//! there something to complain about.

use std::collections::HashMap;

/// Made-up sizes at a time.
pub(crate) const LANES: usize = 8;

/// Images of a batch, height and width in each lane. Sizes of usual networks, squares and others, multiples of 64 and
/// odd ones; in no lane are two of the numbers equal by accident.
const BATCH: [i64; LANES] = [2, 3, 5, 7, 2, 3, 11, 4];
const HEIGHT: [i64; LANES] = [224, 320, 704, 448, 225, 301, 256, 640];
const WIDTH: [i64; LANES] = [224, 448, 192, 320, 259, 225, 256, 640];
/// Any further open extent.
const OTHER: [i64; LANES] = [96, 160, 352, 544, 117, 173, 416, 800];

/// A number: an index into [`Sizes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Num(u32);

/// Which extent of an input is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Batch,
    Height,
    Width,
    Other,
}

/// How a number comes about. Integers are kept as `f64`, which is exact to 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expr {
    Known(f64),
    /// The open extent of that index.
    Open(usize),
    Of(Arith, Num, Num),
}

/// Arithmetic on two numbers; what takes one ignores the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arith {
    Add,
    Sub,
    Mul,
    /// Of real numbers.
    Div,
    /// Of integers, rounded towards zero.
    Quotient,
    /// Of integers, rounded down.
    FloorDiv,
    /// The remainder with the sign of the divisor.
    Mod,
    Min,
    Max,
    Pow,
    Equal,
    Less,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Sqrt,
    /// Towards zero: a cast to an integer.
    Trunc,
}

impl Arith {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Quotient => (a / b).trunc(),
            Self::FloorDiv => (a / b).floor(),
            Self::Mod => a - b * (a / b).floor(),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
            Self::Pow => a.powf(b),
            Self::Equal => f64::from(u8::from(a == b)),
            Self::Less => f64::from(u8::from(a < b)),
            Self::Floor => a.floor(),
            Self::Ceil => a.ceil(),
            Self::Round => a.round_ties_even(),
            Self::Sqrt => a.sqrt(),
            Self::Trunc => a.trunc(),
        }
    }
}

/// All numbers of one network.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    exprs: Vec<Expr>,
    lanes: Vec<[f64; LANES]>,
    known: HashMap<u64, Num>,
    computed: HashMap<(Arith, Num, Num), Num>,
    /// What each open extent is, and what files call it.
    open: Vec<(Extent, String)>,
    /// The lanes at which the network makes sense so far.
    alive: [bool; LANES],
}

/// Numbers that one network may have: the largest have some ten thousand.
const MAX_NUMBERS: usize = 1 << 18;

impl Sizes {
    pub(crate) fn new() -> Self {
        Self {
            exprs: Vec::new(),
            lanes: Vec::new(),
            known: HashMap::new(),
            computed: HashMap::new(),
            open: Vec::new(),
            alive: [true; LANES],
        }
    }

    /// A number that depends on nothing.
    pub(crate) fn known(&mut self, value: f64) -> Num {
        if let Some(&num) = self.known.get(&value.to_bits()) {
            return num;
        }
        let num = self.push(Expr::Known(value), [value; LANES]);
        self.known.insert(value.to_bits(), num);
        num
    }

    /// An integer that depends on nothing.
    pub(crate) fn int(&mut self, value: i64) -> Num {
        self.known(value as f64)
    }

    /// A count that depends on nothing.
    pub(crate) fn len(&mut self, value: usize) -> Num {
        self.known(value as f64)
    }

    /// An open extent. Those that a file gives one name are one.
    pub(crate) fn open(&mut self, extent: Extent, name: &str) -> Num {
        // paddle2onnx writes a question mark for each.
        let named = !name.is_empty() && name != "?";
        let found = self.open.iter().position(|(_, other)| named && other == name);
        let index = found.unwrap_or(self.open.len());
        if let Some(num) = self.exprs.iter().position(|expr| *expr == Expr::Open(index)) {
            return Num(num as u32);
        }
        self.open.push((extent, name.to_owned()));
        let lanes = match extent {
            Extent::Batch => BATCH,
            Extent::Height => HEIGHT,
            Extent::Width => WIDTH,
            Extent::Other => OTHER,
        };
        self.push(Expr::Open(index), lanes.map(|n| n as f64))
    }

    /// The result of arithmetic.
    pub(crate) fn of(&mut self, arith: Arith, a: Num, b: Num) -> Num {
        if let (Expr::Known(a), Expr::Known(b)) = (self.exprs[a.0 as usize], self.exprs[b.0 as usize]) {
            return self.known(arith.of(a, b));
        }
        if let Some(&num) = self.computed.get(&(arith, a, b)) {
            return num;
        }
        let lanes = std::array::from_fn(|lane| arith.of(self.lanes(a)[lane], self.lanes(b)[lane]));
        let num = self.push(Expr::Of(arith, a, b), lanes);
        self.computed.insert((arith, a, b), num);
        num
    }

    pub(crate) fn add(&mut self, a: Num, b: i64) -> Num {
        let b = self.int(b);
        self.of(Arith::Add, a, b)
    }

    pub(crate) fn mul(&mut self, a: Num, b: Num) -> Num {
        self.of(Arith::Mul, a, b)
    }

    /// The product of all of them; 1 of none.
    pub(crate) fn product(&mut self, factors: &[Num]) -> Num {
        let one = self.int(1);
        factors.iter().fold(one, |product, &factor| self.mul(product, factor))
    }

    fn push(&mut self, expr: Expr, lanes: [f64; LANES]) -> Num {
        // Where a file asks for more, all further numbers are one that equals nothing.
        if self.exprs.len() >= MAX_NUMBERS {
            self.lanes[MAX_NUMBERS - 1] = [f64::NAN; LANES];
            return Num(MAX_NUMBERS as u32 - 1);
        }
        self.exprs.push(expr);
        self.lanes.push(lanes);
        Num(self.exprs.len() as u32 - 1)
    }

    fn lanes(&self, num: Num) -> &[f64; LANES] {
        &self.lanes[num.0 as usize]
    }

    /// The values of a number at the sizes that are still possible.
    pub(crate) fn possible(&self, num: Num) -> impl Iterator<Item = f64> {
        self.lanes(num).iter().zip(self.alive).filter(|(_, alive)| *alive).map(|(&value, _)| value)
    }

    /// The value of a number that depends on no open extent.
    pub(crate) fn value(&self, num: Num) -> Option<f64> {
        let mut values = self.possible(num);
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    /// The same as a count.
    pub(crate) fn count(&self, num: Num) -> Option<usize> {
        self.value(num)
            .filter(|v| *v >= 0.0 && *v <= (1u64 << 40) as f64 && v.fract() == 0.0)
            .map(|v| v as usize)
    }

    /// Whether two numbers are the same.
    pub(crate) fn same(&self, a: Num, b: Num) -> bool {
        a == b || self.possible(a).zip(self.possible(b)).all(|(a, b)| a == b)
    }

    /// Whether `b` is `a` times an integer; which one.
    pub(crate) fn multiple(&self, b: Num, a: Num) -> Option<usize> {
        let mut quotients = self.possible(b).zip(self.possible(a)).map(|(b, a)| b / a);
        let first = quotients.next()?;
        let fits = (1.0..=f64::from(u32::MAX)).contains(&first) && first.fract() == 0.0;
        (fits && quotients.all(|quotient| quotient == first)).then_some(first as usize)
    }

    /// Whether `a` divides `b` at every size.
    pub(crate) fn divides(&self, a: Num, b: Num) -> bool {
        self.possible(a).zip(self.possible(b)).all(|(a, b)| a >= 1.0 && (b / a).fract() == 0.0)
    }

    /// Strikes off the sizes at which `holds` is false of the numbers' values; says whether any is left. Where none
    /// would be, none is struck off.
    pub(crate) fn require(&mut self, nums: &[Num], holds: impl Fn(&[f64]) -> bool) -> bool {
        let mut alive = self.alive;
        for (lane, alive) in alive.iter_mut().enumerate() {
            let values: Vec<f64> = nums.iter().map(|&num| self.lanes(num)[lane]).collect();
            *alive &= holds(&values);
        }
        let any = alive.contains(&true);
        if any {
            self.alive = alive;
        }
        any
    }

    /// Demands that two numbers are equal.
    pub(crate) fn require_same(&mut self, a: Num, b: Num) -> bool {
        a == b || self.require(&[a, b], |values| values[0] == values[1])
    }

    /// The index of an open extent that a number is, if it is one.
    pub(crate) fn open_index(&self, num: Num) -> Option<usize> {
        match self.exprs[num.0 as usize] {
            Expr::Open(index) => Some(index),
            _ => None,
        }
    }

    /// How many extents are open.
    pub(crate) fn open_extents(&self) -> usize {
        self.open.len()
    }

    /// All numbers for given values of the open extents.
    pub(crate) fn at(&self, open: &[f64]) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.exprs.len());
        for expr in &self.exprs {
            values.push(match *expr {
                Expr::Known(value) => value,
                Expr::Open(index) => open[index],
                Expr::Of(arith, a, b) => arith.of(values[a.0 as usize], values[b.0 as usize]),
            });
        }
        values
    }

    /// A number for a message: its value, the name of its extent, or its values at two sizes.
    pub(crate) fn show(&self, num: Num) -> String {
        if let Some(value) = self.value(num) {
            return value.to_string();
        }
        if let Expr::Open(index) = self.exprs[num.0 as usize] {
            let (extent, name) = &self.open[index];
            if !name.is_empty() && name != "?" {
                return name.clone();
            }
            return format!("{extent:?}").to_lowercase();
        }
        let some: Vec<String> = self.possible(num).take(2).map(|value| value.to_string()).collect();
        some.join(" or ")
    }

    /// A shape for a message.
    pub(crate) fn show_all(&self, nums: &[Num]) -> String {
        let shown: Vec<String> = nums.iter().map(|&num| self.show(num)).collect();
        format!("[{}]", shown.join(", "))
    }
}

impl Num {
    /// Its place in what [`Sizes::at`] returns.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_half_a_height_are_the_same() {
        let mut sizes = Sizes::new();
        let h = sizes.open(Extent::Height, "h");
        let two = sizes.int(2);
        let less = sizes.add(h, -1);
        let half = sizes.of(Arith::FloorDiv, less, two);
        let one_way = sizes.add(half, 1);
        let more = sizes.add(h, 1);
        let other_way = sizes.of(Arith::Quotient, more, two);
        assert!(sizes.same(one_way, other_way));
        assert!(!sizes.same(one_way, half));
        assert_eq!(sizes.at(&[97.0])[one_way.index()], 49.0);
    }

    #[test]
    fn an_extent_of_one_name_is_one() {
        let mut sizes = Sizes::new();
        let [a, b] = [(Extent::Height, "s"), (Extent::Width, "s")].map(|(e, n)| sizes.open(e, n));
        let [c, d] = [(Extent::Height, "?"), (Extent::Width, "?")].map(|(e, n)| sizes.open(e, n));
        assert_eq!(a, b);
        assert!(a != c && c != d);
    }

    #[test]
    fn impossible_sizes_are_struck_off_but_never_all() {
        let mut sizes = Sizes::new();
        let h = sizes.open(Extent::Height, "h");
        let two = sizes.int(2);
        let half = sizes.of(Arith::Quotient, h, two);
        let whole = sizes.mul(half, two);
        assert!(!sizes.same(h, whole));
        assert!(sizes.require_same(h, whole));
        assert!(sizes.same(h, whole));
        let three = sizes.int(3);
        assert!(!sizes.require_same(two, three));
        assert_eq!(sizes.multiple(h, half), Some(2));
    }
}
