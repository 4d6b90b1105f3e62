//! The workloads' random source.

/// SplitMix64, with the reductions that the workloads are defined by.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`, by multiply and shift.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.u64()) * n as u128) >> 64) as usize
    }

    /// In `0..1`, from the top 53 bits.
    pub(super) fn real(&mut self) -> f64 {
        (self.u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Normal with mean 0 and deviation 1: Box and Muller's cosine branch.
    pub(super) fn normal(&mut self) -> f64 {
        let u = 1.0 - self.real();
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * self.real()).cos()
    }

    /// Log-uniform between two sizes, before any rounding.
    pub(super) fn log_uniform(&mut self, low: u64, high: u64) -> u64 {
        let (a, b) = ((low as f64).ln(), (high as f64).ln());
        (a + (b - a) * self.real()).exp() as u64
    }
}

/// Rounded up to whole pages of 4 KiB.
pub(super) fn pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(4096)
}
