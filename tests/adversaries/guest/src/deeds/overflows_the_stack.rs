//! Calls itself without end.

use crate::deed::Deed;
use core::hint::black_box;

pub(crate) const DEED: Deed = Deed {
    call: Some(|| {
        deeper(0);
        unreachable!("a stack without end")
    }),
    ..Deed::HONEST
};

#[allow(unconditional_recursion, reason = "that is the deed")]
fn deeper(depth: u64) -> u64 {
    // What is left to do afterwards keeps the call from becoming a loop.
    black_box(deeper(black_box(depth) + 1)) + 1
}
