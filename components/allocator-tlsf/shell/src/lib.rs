//! WIT shell of allocator-tlsf.
