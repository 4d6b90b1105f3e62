//! Allocator strategy: buddy.
