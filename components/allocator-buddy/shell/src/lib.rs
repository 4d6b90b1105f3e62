//! WIT shell of allocator-buddy.
