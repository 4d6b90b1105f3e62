//! Newtypes for every identifier, so that no two kinds of number can be exchanged by mistake.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A buffer of a client, named by the host; never used twice in the life of a device.
    BufferId(u64)
);
id!(
    /// One allocation of a memory type. The host grants unused numbers with each batch; a
    /// strategy files its node under the number.
    ///
    /// Bounds: reused only after the allocation's `unplace` points have been delivered.
    AllocationId(u32)
);
id!(
    /// One sg-table of a device, granted like allocation numbers.
    TableId(u32)
);
impl TableId {
    /// No table: what page-table entries show that show nothing. Never granted.
    pub const NONE: TableId = TableId(u32::MAX);
}

id!(
    /// A timeline of the Runtime: a counter that only grows.
    TimelineId(u32)
);
id!(
    /// A memory type of a device, an index into its list of memory types.
    ///
    /// Bounds: at most 254; 255 is "none" in packed placements.
    MemoryTypeId(u8)
);
id!(
    /// A tenant: whose memory it is.
    TenantId(u32)
);

impl TenantId {
    /// No tenant at all: whose memory must be cleared before anybody sees it.
    pub const NOBODY: TenantId = TenantId(u32::MAX);
}

id!(
    /// A device of the Runtime, by its index.
    DeviceId(u32)
);
id!(
    /// One import of a buffer by another device; never used twice in the life of a Runtime.
    AttachmentId(u64)
);
id!(
    /// A client's job, which only the host can read.
    ///
    /// Bounds: never 0; 0 is "no job" in a packed access.
    JobId(u64)
);
id!(
    /// When something was last used: the host's use counter, larger is later.
    Stamp(u64)
);
