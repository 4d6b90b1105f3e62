//! Choices read from bytes.

/// Bytes as a sequence of choices. When they are used up every choice is 0.
#[derive(Clone, Debug)]
pub struct Dice<'a> {
    rest: &'a [u8],
}

impl<'a> Dice<'a> {
    /// Choices of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Dice { rest: bytes }
    }

    /// Whether bytes are left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A number below `bound`, from as few bytes as it needs.
    ///
    /// Bounds: `bound` is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let bytes = match bound {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 8,
        };
        self.take(bytes) % bound
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.take(8)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        // Used up means never, so that an end is quiet.
        self.below(times) == times - 1
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// Exchanges the elements of a list.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in 1..list.len() {
            list.swap(at, self.below(at as u64 + 1) as usize);
        }
    }

    fn take(&mut self, bytes: usize) -> u64 {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        taken
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte))
    }
}
