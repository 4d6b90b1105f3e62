//! A GPU memory manager for user space.
