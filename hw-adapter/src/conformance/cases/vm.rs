//! Address spaces and jobs on them.

use std::sync::Arc;

use super::{KEY, bytes_of, noise};
use crate::command::{Command, MemorySpace, Segment};
use crate::conformance::{Bench, ENGINE, Verdict, equal};
use crate::error::DeviceError;
use crate::outcome::OutcomeValue;
use crate::pattern::CheckReport;
use crate::vm::{
    Access, Backing, Launch, PAGE_BYTES, PteTarget, PteWrite, VmFaultReason, VmId, VmKernel,
};

const VM: VmId = VmId(5);
const JOB: u64 = 17;
/// Where things are mapped.
const AT: u64 = (1 << 32) - 2 * PAGE_BYTES;

/// Pages of both memories, not in the order of addresses.
fn pages() -> Vec<Segment> {
    vec![
        Segment::vram(65536, 8192),
        Segment::system(4096, 4096),
        Segment::vram(0, 4096),
        Segment::system(65536, 16384),
    ]
}

fn entries(address: u64, list: &[Segment], write: bool) -> PteWrite {
    PteWrite {
        address,
        bytes: bytes_of(list),
        backing: Backing::Memory {
            segments: list.into(),
            offset: 0,
            write,
        },
    }
}

fn write(writes: &[PteWrite]) -> Command {
    let writes = writes.into();
    Command::WritePtes { vm: VM, writes }
}

/// Maps, and forgets what was used before.
fn map(bench: &mut Bench, writes: &[PteWrite]) -> Verdict {
    bench.done(write(writes))?;
    bench.done(Command::InvalidateTlb { vm: VM })
}

fn run(bench: &mut Bench, kernel: VmKernel) -> Result<OutcomeValue, super::Failure> {
    let (vm, job) = (VM, JOB);
    bench.perform(ENGINE, Command::Launch(Launch { vm, job, kernel }))
}

fn fault(address: u64, access: Access, why: VmFaultReason) -> OutcomeValue {
    OutcomeValue::Failed(DeviceError::VmFault {
        vm: VM,
        job: JOB,
        address,
        access,
        why,
    })
}

pub(super) fn jobs_go_through_page_tables(bench: &mut Bench) -> Verdict {
    let list = pages();
    let bytes = bytes_of(&list);
    bench.device().create_vm(VM, 0, 1 << 40)?;
    bench.device().reserve_ptes(VM, AT, bytes)?;
    map(bench, &[entries(AT, &list, true)])?;
    let (dst, key) = (AT + 8, KEY);
    let words = bytes - 16;
    let wrote = run(
        bench,
        VmKernel::WritePattern {
            dst,
            bytes: words,
            key,
        },
    )?;
    equal("written", &wrote, &OutcomeValue::Done)?;
    let (src, bytes) = (dst, words);
    let checked = run(bench, VmKernel::CheckPattern { src, bytes, key })?;
    let clean = OutcomeValue::Checked(CheckReport {
        bytes_verified: words,
        ..CheckReport::default()
    });
    equal("checked", &checked, &clean)?;
    let found = bench.read(&list, 0, words + 16)?;
    let mut expected = vec![0; words as usize];
    crate::pattern::write(&mut expected, 0, KEY);
    equal("bytes", &&found[8..found.len() - 8], &&*expected)?;
    // All of it once more behind other addresses, to be read only.
    let other = 1 << 39;
    map(bench, &[entries(other, &list, false)])?;
    let copy = VmKernel::Copy {
        src: other + 8,
        dst: AT + 4096 + 3,
        bytes: 4000,
    };
    equal("copy", &run(bench, copy)?, &OutcomeValue::Done)?;
    let copied = bench.read(&list, 4096 + 3, 4000)?;
    equal("copied", &&*copied, &&expected[..4000])?;
    let sum = VmKernel::Checksum {
        src: AT + 4096 + 3,
        bytes: 4000,
        dst: AT,
    };
    let words = expected[..4000].as_chunks().0.iter();
    let total = words.fold(0, |sum: u64, word| {
        sum.wrapping_add(u64::from_le_bytes(*word))
    });
    equal("sum", &run(bench, sum)?, &OutcomeValue::Checksum(total))?;
    equal(
        "sum written",
        &bench.read(&list, 0, 8)?,
        &total.to_le_bytes().to_vec(),
    )
}

pub(super) fn elements_are_computed(bench: &mut Bench) -> Verdict {
    let list = pages();
    bench.device().create_vm(VM, AT, bytes_of(&list))?;
    map(bench, &[entries(AT, &list, true)])?;
    let floats: Vec<u8> = (0..3000_u16)
        .flat_map(|n| f32::from(n).to_le_bytes())
        .collect();
    bench.write(&list, 0, &floats)?;
    bench.write(&list, 16_000, &floats)?;
    let saxpy = VmKernel::Saxpy {
        a: 0.5,
        x: AT,
        y: AT + 16_000,
        count: 3000,
    };
    equal("saxpy", &run(bench, saxpy)?, &OutcomeValue::Done)?;
    let sums: Vec<u8> = (0..3000_u16)
        .flat_map(|n| (f32::from(n) * 1.5).to_le_bytes())
        .collect();
    equal("sums", &bench.read(&list, 16_000, 12_000)?, &sums)?;
    let indices: Vec<u8> = (0..1000_u32)
        .flat_map(|n| (n * 13 % 3000).to_le_bytes())
        .collect();
    bench.write(&list, 0, &indices)?;
    let gather = |src_count| VmKernel::Gather {
        src: AT + 16_000,
        src_count,
        indices: AT,
        dst: AT + 8000,
        count: 1000,
    };
    equal("gather", &run(bench, gather(3000))?, &OutcomeValue::Done)?;
    let gathered: Vec<u8> = (0..1000)
        .flat_map(|n| sums[n * 13 % 3000 * 4..][..4].to_vec())
        .collect();
    equal("gathered", &bench.read(&list, 8000, 4000)?, &gathered)?;
    // The 78th index is 1001.
    let beyond = fault(AT + 16_000 + 1001 * 4, Access::Read, VmFaultReason::Range);
    equal("beyond", &run(bench, gather(1001))?, &beyond)
}

pub(super) fn faults_are_exact(bench: &mut Bench) -> Verdict {
    let list = [Segment::vram(8192, 8192)];
    bench.device().create_vm(VM, AT, 16 * PAGE_BYTES)?;
    let sparse = PteWrite {
        address: AT + 3 * PAGE_BYTES,
        bytes: PAGE_BYTES,
        backing: Backing::Sparse,
    };
    let read_only = entries(AT + 4 * PAGE_BYTES, &[Segment::system(0, 4096)], false);
    map(bench, &[entries(AT, &list, true), sparse, read_only])?;
    let fill = |dst, bytes| VmKernel::Fill {
        dst,
        bytes,
        pattern: 0x0101_0101_0101_0101,
    };
    let hole = AT + 2 * PAGE_BYTES;
    let unmapped = fault(hole, Access::Write, VmFaultReason::Unmapped);
    equal("hole", &run(bench, fill(AT + 8000, 1000))?, &unmapped)?;
    let before = bench.read(&list, 7999, 193)?;
    equal("before it", &before, &[vec![0], vec![1; 192]].concat())?;
    let protected = fault(AT + 4 * PAGE_BYTES, Access::Write, VmFaultReason::ReadOnly);
    equal(
        "read only",
        &run(bench, fill(AT + 3 * PAGE_BYTES, 5000))?,
        &protected,
    )?;
    let zeroes = VmKernel::Copy {
        src: AT + 3 * PAGE_BYTES,
        dst: AT + 4096,
        bytes: PAGE_BYTES,
    };
    equal("sparse", &run(bench, zeroes)?, &OutcomeValue::Done)?;
    equal("zeroes", &bench.read(&list, 4096, 4096)?, &vec![0; 4096])?;
    for at in [AT - 1, AT + 16 * PAGE_BYTES, u64::MAX] {
        let range = fault(at, Access::Write, VmFaultReason::Range);
        equal("outside", &run(bench, fill(at, 8))?, &range)?;
    }
    Ok(())
}

pub(super) fn translations_are_forgotten_on_demand(bench: &mut Bench) -> Verdict {
    let list = pages();
    let data = noise(4096);
    bench.device().create_vm(VM, 0, 1 << 40)?;
    bench.write(&list, 0, &data)?;
    let copy = VmKernel::Copy {
        src: AT,
        dst: 1 << 21,
        bytes: PAGE_BYTES,
    };
    let target = [Segment::vram(1 << 19, PAGE_BYTES)];
    map(bench, &[entries(1 << 21, &target, true)])?;
    for round in 0..4 {
        let page = [[list[0], list[2]][round % 2]].map(|page| Segment {
            bytes: 4096,
            ..page
        });
        map(bench, &[entries(AT, &page, false)])?;
        equal("copy", &run(bench, copy.clone())?, &OutcomeValue::Done)?;
        let expected = if round % 2 == 0 {
            data.clone()
        } else {
            vec![0; 4096]
        };
        equal("new page", &bench.read(&target, 0, 4096)?, &expected)?;
    }
    map(
        bench,
        &[PteWrite {
            address: AT,
            bytes: PAGE_BYTES,
            backing: Backing::Invalid,
        }],
    )?;
    let unmapped = fault(AT, Access::Read, VmFaultReason::Unmapped);
    equal("nothing", &run(bench, copy)?, &unmapped)
}

pub(super) fn address_spaces_begin_and_end(bench: &mut Bench) -> Verdict {
    let unknown = DeviceError::UnknownVm(VM);
    equal("unknown", &bench.device().destroy_vm(VM), &Err(unknown))?;
    bench.device().create_vm(VM, AT, 1 << 30)?;
    let twice = bench.device().create_vm(VM, 0, PAGE_BYTES);
    equal("twice", &twice, &Err(DeviceError::VmExists(VM)))?;
    let outside = DeviceError::OutsideVm {
        vm: VM,
        address: 0,
        bytes: PAGE_BYTES,
    };
    let low = bench.device().reserve_ptes(VM, 0, PAGE_BYTES);
    equal("outside", &low, &Err(outside))?;
    let odd = bench.device().reserve_ptes(VM, AT, 100);
    equal("odd", &odd, &Err(DeviceError::NotAPage { value: 100 }))?;
    let list = pages();
    // The CPU writes page tables too.
    let written = bench
        .device()
        .cpu()
        .perform(&write(&[entries(AT, &list, true)]));
    equal("by cpu", &written, &Ok(OutcomeValue::Done))?;
    let table = bench.device().page_table(VM, 3)?;
    let found: Vec<_> = table
        .iter()
        .map(|entry| (entry.address, entry.target))
        .collect();
    let target = |memory, offset| PteTarget::Memory {
        memory,
        offset,
        write: true,
    };
    let expected = vec![
        (AT, target(MemorySpace::Vram, 65536)),
        (AT + 4096, target(MemorySpace::Vram, 65536 + 4096)),
        (AT + 8192, target(MemorySpace::System, 4096)),
    ];
    equal("table", &found, &expected)?;
    let report = bench.device().vm_report(VM)?;
    equal("range", &(report.start, report.bytes), &(AT, 1 << 30))?;
    let kernel = VmKernel::Fill {
        dst: AT,
        bytes: 8,
        pattern: 1,
    };
    let refused = bench.device().cpu().perform(&Command::Launch(Launch {
        vm: VM,
        job: JOB,
        kernel: kernel.clone(),
    }));
    equal("job by cpu", &refused, &Err(DeviceError::CpuRefused))?;
    bench.device().reset()?;
    equal("emptied", &bench.device().page_table(VM, 1)?, &Vec::new())?;
    bench.device().destroy_vm(VM)?;
    let ended = OutcomeValue::Failed(unknown);
    equal("ended", &run(bench, kernel)?, &ended)?;
    let submission = crate::Submission::new(write(&[PteWrite {
        address: 1,
        bytes: PAGE_BYTES,
        backing: Backing::Memory {
            segments: Arc::from(list),
            offset: 0,
            write: true,
        },
    }]));
    let refused = bench.device().submit(ENGINE, submission);
    equal(
        "no page",
        &refused,
        &Err(DeviceError::NotAPage { value: 1 }),
    )
}
