//! What an import may cost.

/// The largest size of one allocation that an import believes.
///
/// # Units
/// Bytes (2^56: 64 PiB).
pub const MAX_ALLOCATION_BYTES: u64 = 1 << 56;

/// Bounds on the memory and work of one import; crossing one ends it with
/// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) or
/// [`ErrorKind::TooDeep`](crate::ErrorKind::TooDeep).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content, after decompression if there is any. Default 4 GiB.
    pub max_decompressed_bytes: u64,
    /// How many times larger than its gzip data the content may be; looked at once more
    /// than 64 MiB came out. Default 1000.
    pub max_compression_ratio: u64,
    /// Events in the trace, and blocks looked at in a snapshot. Default 200 million;
    /// an event takes 48 bytes.
    pub max_events: u64,
    /// Values that a pickle puts on its stack or into its memo. Default 64 million;
    /// a value takes about 64 bytes at most.
    pub max_pickle_objects: u64,
    /// Nesting of lists, tuples and dicts of a pickle. Default 200.
    pub max_depth: u32,
    /// Bytes of one text of a pickle, or of one row of a CSV file. Default 64 MiB.
    pub max_string: u64,
    /// Bytes of all different tags and operators together. Default 1 GiB.
    pub max_name_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_decompressed_bytes: 4 << 30,
            max_compression_ratio: 1000,
            max_events: 200_000_000,
            max_pickle_objects: 64_000_000,
            max_depth: 200,
            max_string: 64 << 20,
            max_name_bytes: 1 << 30,
        }
    }
}
