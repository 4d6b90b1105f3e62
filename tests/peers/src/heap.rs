//! What the process has on its heap, C++ included.

/// Bytes in use by `malloc`; `None` where the C library does not tell.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn used() -> Option<u64> {
    // SAFETY: the call has no precondition.
    let info = unsafe { libc::mallinfo2() };
    Some((info.uordblks + info.hblkhd) as u64)
}

/// Bytes in use by `malloc`; `None` where the C library does not tell.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn used() -> Option<u64> {
    None
}
