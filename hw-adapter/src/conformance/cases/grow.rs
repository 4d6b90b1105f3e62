//! Memories that begin small.

use super::noise;
use crate::command::{MemorySpace, Segment};
use crate::conformance::{Bench, Failure, MEMORY, Verdict, equal};

pub(super) fn memories_grow_to_their_size(bench: &mut Bench) -> Verdict {
    for memory in bench.device().properties().memory_types.clone() {
        let (kind, size, granule) = (memory.kind, memory.size, memory.granule);
        let whole = |bytes: u64| bytes.is_multiple_of(granule) && bytes <= size;
        let initial = bench.device().grow(kind, 0)?;
        equal("what it has at first", &initial, &memory.initial)?;
        if initial == 0 || !whole(initial) {
            return Err(Failure(format!("{initial} bytes of {memory:?} at first")));
        }
        // A byte more is a granule more; less than that only where there is no more.
        let more = bench.device().grow(kind, 1)?;
        if more < (initial + granule).min(size) || !whole(more) {
            return Err(Failure(format!("{more} bytes of {memory:?} after a step")));
        }
        equal("nothing more", &bench.device().grow(kind, 0)?, &more)?;
        for bytes in [size - more, u64::MAX] {
            equal("all of it", &bench.device().grow(kind, bytes)?, &size)?;
        }
    }
    Ok(())
}

pub(super) fn growing_keeps_what_is_there(bench: &mut Bench) -> Verdict {
    let vram = bench.device().properties().memory(MemorySpace::Vram);
    let vram = *vram.ok_or_else(|| Failure("there is no vram".into()))?;
    let first = [Segment::vram(0, vram.initial.min(MEMORY))];
    let data = noise(first[0].bytes);
    bench.write(&first, 0, &data)?;
    let all = bench.device().grow(MemorySpace::Vram, vram.size)?;
    equal(
        "what was written",
        &bench.read(&first, 0, first[0].bytes)?,
        &data,
    )?;
    let last = [Segment::vram(all - 8, 8)];
    if first[0].bytes <= last[0].offset {
        equal("what is new", &bench.read(&last, 0, 8)?, &vec![0; 8])?;
    }
    bench.write(&last, 0, &[7; 8])?;
    bench.device().reset()?;
    let kept = bench.device().grow(MemorySpace::Vram, 0)?;
    equal("after a reset", &kept, &all)?;
    equal("its content", &bench.read(&last, 0, 8)?, &vec![0; 8])
}
