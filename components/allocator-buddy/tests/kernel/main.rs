//! The conformance cases of the kernel's buddy allocator, of the library.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cases;

use cases::packed::{Library, Packed};
use cases::pool::Subject;
use gpumm_allocator_buddy::Buddy;
use gpumm_contract::{AllocationId, Extent};

/// Steps of the property test.
const STEPS: u64 = 120_000;

impl Subject for Buddy {
    fn clear_bytes(&self) -> Option<u64> {
        Some(Buddy::clear_bytes(self))
    }

    fn blocks_of(&self, number: AllocationId) -> Option<Vec<(Extent, bool)>> {
        Some(Buddy::blocks_of(self, number))
    }
}

/// As much of it as a component shows.
impl Subject for Packed<Library<Buddy>> {
    fn clear_bytes(&self) -> Option<u64> {
        None
    }

    fn blocks_of(&self, _: AllocationId) -> Option<Vec<(Extent, bool)>> {
        None
    }
}

/// Checks the same of the library, and of the library behind its packed lists.
fn each(check: impl Fn(&mut dyn Subject)) {
    check(&mut Buddy::default());
    check(&mut Packed::<Library<Buddy>>::default());
}
