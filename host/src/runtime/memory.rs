//! The memory types of a device.

use super::{GTT, IMPORT, SYSTEM, SYSTEM_BASE, VRAM};
use crate::system::SYSTEM_GRANULE;
use gpumm_contract::facts::MemoryType;
use gpumm_hw as hw;

/// Those of a device with this memory of its own.
pub(super) fn memory_types(
    vram: &hw::MemoryTypeProperties,
    system_bytes: u64,
    gtt_bytes: u64,
) -> Vec<MemoryType> {
    let system = MemoryType {
        id: SYSTEM,
        size: system_bytes / SYSTEM_GRANULE * SYSTEM_GRANULE,
        granule: SYSTEM_GRANULE,
        evict_to: None,
        base: SYSTEM_BASE,
        max_segment: u64::from(u32::MAX) / SYSTEM_GRANULE * SYSTEM_GRANULE,
        aperture: Some(GTT),
        hop: None,
    };
    let gtt = MemoryType {
        id: GTT,
        size: gtt_bytes / SYSTEM_GRANULE * SYSTEM_GRANULE,
        aperture: None,
        ..system
    };
    let vram = MemoryType {
        id: VRAM,
        size: vram.size,
        granule: vram.granule,
        evict_to: Some(SYSTEM),
        base: 0,
        max_segment: vram.max_segment,
        aperture: None,
        hop: None,
    };
    let import = MemoryType {
        id: IMPORT,
        ..system
    };
    vec![system, vram, gtt, import]
}
