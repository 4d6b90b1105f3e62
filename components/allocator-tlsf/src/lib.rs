//! Allocator strategy: tlsf.
