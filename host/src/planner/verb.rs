//! What clients ask, and how it ends.

use crate::guard::Guard;
use crate::job::Job;
use crate::jobs::{Queued, Waiting};
use gpumm_contract::request::{Intent, Placement};
use gpumm_contract::vm::{Bind, VmConfig, VmId};
use gpumm_contract::{AttachmentId, BufferId, DeviceId, Point, PointSet, TenantId};
use gpumm_hw as hw;
use std::sync::Arc;

/// What a client asks of a device; the planner makes requests of it.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Create {
        buffer: BufferId,
        tenant: TenantId,
        bytes: u64,
        placement: Placement,
        priority: u8,
    },
    Access {
        tenant: TenantId,
        buffers: Vec<BufferId>,
        job: Job,
        anywhere: bool,
        outcome: Arc<hw::Outcome>,
    },
    Release {
        tenant: TenantId,
        buffer: BufferId,
    },
    /// Holds buffers still.
    Guard {
        tenant: TenantId,
        uses: Vec<(BufferId, Intent)>,
        /// Whether they are brought to where jobs use them.
        resident: bool,
        revocable: bool,
        guard: Arc<Guard>,
    },
    Attach {
        tenant: TenantId,
        buffer: BufferId,
        device: DeviceId,
        attachment: AttachmentId,
    },
    Detach {
        buffer: BufferId,
        attachment: AttachmentId,
    },
    CreateVm {
        tenant: TenantId,
        vm: VmId,
        config: VmConfig,
    },
    CloseVm {
        tenant: TenantId,
        vm: VmId,
    },
    Bind {
        tenant: TenantId,
        vm: VmId,
        binds: Vec<Bind>,
        after: PointSet,
    },
    Submit {
        tenant: TenantId,
        vm: VmId,
        queue: Arc<Queued>,
        waiting: Waiting,
    },
}

/// How a verb ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Runs(Point),
    /// Page tables are written at the point; at none where there was nothing to write.
    Bound(Option<Point>),
}
