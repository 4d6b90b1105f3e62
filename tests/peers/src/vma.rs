//! VMA's virtual block (crate `vk-mem`): its TLSF without a Vulkan device.

use crate::Peer;
use gpumm_contract::Geometry;
use vk_mem::{
    VirtualAllocation, VirtualAllocationCreateFlags, VirtualAllocationCreateInfo,
    VirtualBlockCreateFlags, VirtualBlockCreateInfo,
};

/// A virtual block with VMA's default algorithm, asked to waste little memory.
pub struct VirtualBlock {
    block: Option<vk_mem::VirtualBlock>,
    live: Vec<Option<VirtualAllocation>>,
}

impl VirtualBlock {
    /// For ids below a bound.
    pub fn new(ids: usize) -> Self {
        VirtualBlock {
            block: None,
            live: (0..ids).map(|_| None).collect(),
        }
    }

    fn clear(&mut self) {
        if let Some(mut block) = self.block.take() {
            // SAFETY: no handle of the block is used afterwards; `live` is emptied below.
            unsafe { block.clear() };
        }
        self.live.fill_with(|| None);
    }
}

impl Drop for VirtualBlock {
    fn drop(&mut self) {
        // VMA wants a block to be empty when it ends.
        self.clear();
    }
}

impl Peer for VirtualBlock {
    fn start(&mut self, arena: Geometry) {
        self.clear();
        let block = vk_mem::VirtualBlock::new(VirtualBlockCreateInfo {
            size: arena.size,
            flags: VirtualBlockCreateFlags::empty(),
            allocation_callbacks: None,
        });
        self.block = block.ok();
    }

    fn allocate(&mut self, id: u32, bytes: u64, align: u64) -> Option<u64> {
        let info = VirtualAllocationCreateInfo {
            size: bytes,
            alignment: align,
            user_data: 0,
            flags:
                VirtualAllocationCreateFlags::VMA_VIRTUAL_ALLOCATION_CREATE_STRATEGY_MIN_MEMORY_BIT,
        };
        // SAFETY: the block is alive, the size is not 0 and the alignment a power of two.
        let made = unsafe { self.block.as_mut()?.allocate(info) };
        let (handle, offset) = made.ok().unzip();
        self.live[id as usize] = handle;
        offset
    }

    fn free(&mut self, id: u32) {
        if let (Some(mut handle), Some(block)) = (self.live[id as usize].take(), &mut self.block) {
            // SAFETY: the handle came from this block and is given back once.
            unsafe { block.free(&mut handle) };
        }
    }
}
