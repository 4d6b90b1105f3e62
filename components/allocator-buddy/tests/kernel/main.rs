//! The conformance cases of the kernel's buddy allocator, of the library.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cases;

use cases::pool::Subject;
use gpumm_allocator_buddy::Buddy;
use gpumm_contract::{AllocationId, Extent};

/// Steps of the property test.
const STEPS: u64 = 200_000;

impl Subject for Buddy {
    fn clear_bytes(&self) -> Option<u64> {
        Some(Buddy::clear_bytes(self))
    }

    fn blocks_of(&self, number: AllocationId) -> Option<Vec<(Extent, bool)>> {
        Some(Buddy::blocks_of(self, number))
    }
}

/// Checks the same of everything that is there to be checked.
fn each(check: impl Fn(&mut dyn Subject)) {
    check(&mut Buddy::default());
}
