//! Mapping system memory for the engines.

use super::noise;
use crate::command::{Command, MemorySpace, Segment};
use crate::conformance::{Bench, ENGINE, Failure, MEMORY, Verdict, equal};
use crate::error::DeviceError;
use crate::outcome::OutcomeValue;

/// Takes all mappings of the suite away. Whether the device knows what is mapped: one that
/// reaches everything need not.
fn unmapped(bench: &Bench) -> Result<bool, Failure> {
    bench.device().unmap_dma(&[Segment::system(0, MEMORY)])?;
    match bench.device().unmap_dma(&[Segment::system(0, MEMORY)]) {
        Ok(()) => Ok(false),
        Err(DeviceError::NotMapped { .. }) => Ok(true),
        Err(other) => Err(other.into()),
    }
}

pub(super) fn mapped_memory_is_reached(bench: &mut Bench) -> Verdict {
    let knows = unmapped(bench)?;
    let list = [
        Segment::system(4096, 8192),
        Segment::vram(0, 100),
        Segment::system(100_001, 3001),
    ];
    let pieces = [list[0], list[2]];
    bench.device().map_dma(&pieces)?;
    let data = noise(11_293);
    bench.write(&list, 0, &data)?;
    equal("mapped", &bench.read(&list, 0, 11_293)?, &data)?;
    // Pieces of what was mapped at once.
    let part = [Segment::system(8192, 1), Segment::system(100_001, 2999)];
    bench.device().unmap_dma(&part)?;
    bench.read(
        &[Segment::system(8193, 4095), Segment::system(4096, 4096)],
        0,
        8191,
    )?;
    let src = [Segment::vram(0, 8), Segment::system(4096, 8192)].into();
    let (offset, bytes) = (0, 8200);
    let value = bench.perform(ENGINE, Command::Read { src, offset, bytes })?;
    match (knows, value) {
        (false, OutcomeValue::Bytes(_)) => {}
        (true, value) => {
            let (offset, bytes) = (8192, 1);
            let fault = DeviceError::IommuFault { offset, bytes };
            equal("fault", &value, &OutcomeValue::Failed(fault))?;
        }
        (false, other) => return Err(Failure(format!("{other:?}"))),
    }
    // Contents do not depend on mappings.
    bench.device().map_dma(&part)?;
    equal("mapped again", &bench.read(&list, 0, 11_293)?, &data)
}

pub(super) fn mappings_are_whole_or_nothing(bench: &mut Bench) -> Verdict {
    let knows = unmapped(bench)?;
    let size = bench
        .device()
        .properties()
        .memory(MemorySpace::System)
        .map_or(0, |memory| memory.size);
    let good = Segment::system(0, 4096);
    for bad in [
        Segment::vram(0, 4096),
        Segment::vram(0, 0),
        Segment::system(size, 1),
        Segment::system(u64::MAX, 2),
    ] {
        let expected = match bad.memory {
            MemorySpace::Vram => DeviceError::InvalidDma,
            MemorySpace::System => DeviceError::OutOfBounds {
                memory: bad.memory,
                offset: bad.offset,
                bytes: bad.bytes,
                size,
            },
        };
        let refused = bench.device().map_dma(&[good, bad]);
        equal("map", &refused, &Err(expected))?;
        bench.device().map_dma(&[good])?;
        let refused = bench.device().unmap_dma(&[good, bad]);
        equal("unmap", &refused, &Err(expected))?;
        bench.device().unmap_dma(&[good])?;
    }
    bench.device().map_dma(&[])?;
    bench.device().unmap_dma(&[Segment::system(9, 0)])?;
    if !knows {
        return Ok(());
    }
    let next = Segment::system(4096, 4096);
    bench.device().map_dma(&[next])?;
    let mapped = |offset, bytes| Err(DeviceError::DmaMapped { offset, bytes });
    let refused = bench.device().map_dma(&[good, Segment::system(8000, 500)]);
    equal("mapped already", &refused, &mapped(8000, 192))?;
    let refused = bench.device().map_dma(&[good, Segment::system(10, 5)]);
    equal("named twice", &refused, &mapped(10, 5))?;
    let refused = bench.device().unmap_dma(&[next, good]);
    let (offset, bytes) = (0, 4096);
    let expected = Err(DeviceError::NotMapped { offset, bytes });
    equal("not mapped", &refused, &expected)?;
    bench.device().map_dma(&[good])?;
    bench.device().unmap_dma(&[good, next])?;
    Ok(())
}
