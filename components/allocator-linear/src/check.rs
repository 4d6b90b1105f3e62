//! The invariants, checked from scratch.

use crate::Linear;

impl Linear {
    /// Checks every structural invariant from scratch; a strategy that is not serving is right.
    ///
    /// Errors: the first invariant that does not hold. Complexity: O(live + numbers).
    pub(crate) fn invariants(&self) -> Result<(), &'static str> {
        if self.serving().is_err() {
            return Ok(());
        }
        if self.ring.size() != self.geometry.size >> self.shift() {
            return Err("the ring has the geometry's size");
        }
        self.ring.validate()?;
        let mut filed = self.numbers.filed();
        let known = |(number, at): (u32, u32)| self.ring.number(at) == Some(number);
        if !filed.all(known) || self.numbers.filed().count() as u64 != self.ring.live() {
            return Err("every live allocation is filed under its number");
        }
        Ok(())
    }
}
