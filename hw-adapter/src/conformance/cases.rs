//! The cases of the suite.

use std::sync::Arc;

use super::{Bench, Case, Failure, MEMORY, Verdict, equal};
use crate::command::{Check, Command, Kernel, Segment};
use crate::pattern::{CheckReport, PatternKey};

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[Case] = &[
            $(Case { name: stringify!($name), run: $name }),*
        ];
    };
}

mod dma;
mod failure;
mod grow;
mod order;
mod refusals;
mod vm;

use dma::*;
use failure::*;
use grow::*;
use order::*;
use refusals::*;
use vm::*;

cases![
    properties_are_whole,
    memory_begins_as_zero,
    what_is_written_is_read,
    copies_pair_lists_of_different_cuts,
    fills_of_odd_sizes,
    nothing_moves_for_zero_bytes,
    segments_outside_are_refused_by_index,
    short_lists_are_refused,
    overlap_is_refused,
    unknown_engines_and_timelines_are_refused,
    values_only_grow,
    an_engine_does_not_wait_for_itself,
    points_are_reached_in_order,
    what_is_queued_ends_as_one_by_one,
    engines_wait_for_each_other,
    patterns_are_checked,
    rewrite_checks_and_writes,
    reset_clears_vram_and_reaches_points,
    hooks_repair_before_anybody_knows,
    hooks_hear_of_a_reset,
    hooks_hear_of_every_end,
    the_cpu_reaches_every_memory,
    mapped_memory_is_reached,
    mappings_are_whole_or_nothing,
    jobs_go_through_page_tables,
    elements_are_computed,
    faults_are_exact,
    translations_are_forgotten_on_demand,
    address_spaces_begin_and_end,
    memories_grow_to_their_size,
    growing_keeps_what_is_there,
];

const KEY: PatternKey = PatternKey {
    buffer: 1,
    generation: 1,
};

/// A list with cuts at odd places, in both memories, not in the order of addresses.
fn cut_list() -> Vec<Segment> {
    vec![
        Segment::vram(70_000, 4097),
        Segment::system(3, 8191),
        Segment::vram(0, 0),
        Segment::vram(10, 1),
        Segment::vram(11, 20_000),
        Segment::system(100_001, 9),
        Segment::vram(50_000, 4096),
    ]
}

fn bytes_of(list: &[Segment]) -> u64 {
    list.iter().map(|segment| segment.bytes).sum()
}

/// Bytes that do not repeat soon.
fn noise(bytes: u64) -> Vec<u8> {
    let mut data = vec![0; bytes as usize];
    let buffer = 99;
    crate::pattern::write(
        &mut data,
        0,
        PatternKey {
            buffer,
            generation: bytes,
        },
    );
    data
}

fn properties_are_whole(bench: &mut Bench) -> Verdict {
    let properties = bench.device().properties();
    for memory in &properties.memory_types {
        let twice = properties.memory(memory.kind) != Some(memory);
        let odd = !memory.granule.is_power_of_two() || !memory.size.is_multiple_of(memory.granule);
        if twice || odd || memory.size < MEMORY || memory.max_segment == 0 {
            return Err(Failure(format!("{memory:?}")));
        }
    }
    equal("memories", &properties.memory_types.len(), &2)?;
    for (index, engine) in properties.engines.iter().enumerate() {
        let shared = |other: &crate::EngineProperties| other.timeline == engine.timeline;
        if properties.engines.iter().position(shared) != Some(index)
            || !bench.timelines().contains(engine.timeline)
        {
            return Err(Failure(format!("{engine:?}")));
        }
    }
    equal("no engines", &properties.engines.is_empty(), &false)
}

fn memory_begins_as_zero(bench: &mut Bench) -> Verdict {
    let list = [Segment::vram(0, MEMORY), Segment::system(0, MEMORY)];
    let data = bench.read(&list, 0, 2 * MEMORY)?;
    equal(
        "bytes not zero",
        &data.iter().any(|byte| *byte != 0),
        &false,
    )
}

fn what_is_written_is_read(bench: &mut Bench) -> Verdict {
    let list = cut_list();
    let data = noise(bytes_of(&list));
    bench.write(&list, 0, &data)?;
    equal("all", &bench.read(&list, 0, data.len() as u64)?, &data)?;
    // The second segment of the list begins at byte 4097.
    let part = bench.read(&[Segment::system(3, 8191)], 0, 8191)?;
    equal("one segment", &&*part, &&data[4097..4097 + 8191])?;
    bench.write(&list, 4090, &[7; 20])?;
    let mut changed = data;
    changed[4090..4110].fill(7);
    let window = bench.read(&list, 4000, 300)?;
    equal("a window", &&*window, &&changed[4000..4300])
}

fn copies_pair_lists_of_different_cuts(bench: &mut Bench) -> Verdict {
    let src = cut_list();
    let dst = [
        Segment::system(500_000, 30_000),
        Segment::vram(300_000, 5),
        Segment::vram(200_000, 10_000),
    ];
    let data = noise(bytes_of(&src));
    bench.write(&src, 0, &data)?;
    bench.done(Command::Copy {
        src: (&*src).into(),
        dst: dst.into(),
        src_offset: 4001,
        dst_offset: 77,
        bytes: 31_000,
    })?;
    let mut expected = vec![0; 40_005];
    expected[77..31_077].copy_from_slice(&data[4001..35_001]);
    equal("copied", &bench.read(&dst, 0, 40_005)?, &expected)
}

fn fills_of_odd_sizes(bench: &mut Bench) -> Verdict {
    let list = [
        Segment::vram(1, 13),
        Segment::system(8, 6),
        Segment::vram(100, 50),
    ];
    let pattern = 0x8877_6655_4433_2211_u64;
    for (offset, bytes) in [(0, 69), (2, 11), (5, 30), (13, 1), (68, 1)] {
        bench.write(&list, 0, &[0; 69])?;
        bench.done(Command::Fill {
            dst: list.into(),
            offset,
            bytes,
            pattern,
        })?;
        let mut expected = vec![0; 69];
        let place = &mut expected[offset as usize..(offset + bytes) as usize];
        for (byte, value) in place.iter_mut().zip(pattern.to_le_bytes().iter().cycle()) {
            *byte = *value;
        }
        equal("filled", &bench.read(&list, 0, 69)?, &expected)?;
    }
    Ok(())
}

fn nothing_moves_for_zero_bytes(bench: &mut Bench) -> Verdict {
    let empty: Arc<[Segment]> = [].into();
    let end: Arc<[Segment]> = [Segment::vram(MEMORY, 0)].into();
    for list in [empty, end] {
        bench.done(Command::Copy {
            src: Arc::clone(&list),
            dst: Arc::clone(&list),
            src_offset: 0,
            dst_offset: 0,
            bytes: 0,
        })?;
        bench.write(&list, 0, &[])?;
        equal("read", &bench.read(&list, 0, 0)?, &Vec::new())?;
        equal(
            "checked",
            &bench.check(&list, 0, KEY)?,
            &CheckReport::default(),
        )?;
    }
    bench.done(Command::Nop)
}

fn patterns_are_checked(bench: &mut Bench) -> Verdict {
    let list = cut_list();
    for bytes in [bytes_of(&list), 4097, 13, 8, 1] {
        let (dst, key) = ((&*list).into(), KEY);
        bench.done(Command::Run(Kernel::WritePattern { dst, bytes, key }))?;
        let clean = CheckReport {
            bytes_verified: bytes,
            ..CheckReport::default()
        };
        equal("clean", &bench.check(&list, bytes, KEY)?, &clean)?;
        let last = bench.read(&list, bytes - 1, 1)?[0];
        bench.write(&list, bytes - 1, &[!last])?;
        let report = bench.check(&list, bytes, KEY)?;
        if !(1..=8).contains(&report.corrupt_bytes)
            || report.first_corrupt_offset < Some((bytes - 1) / 8 * 8)
        {
            return Err(Failure(format!("{report:?}")));
        }
    }
    let list = [Segment::vram(0, 4096), Segment::vram(8192, 4096)];
    let (dst, key, bytes) = (list.into(), KEY, 8192);
    bench.done(Command::Run(Kernel::WritePattern { dst, bytes, key }))?;
    let exchanged = [list[1], list[0]];
    equal(
        "exchanged",
        &bench.check(&exchanged, bytes, KEY)?.corrupt_bytes,
        &bytes,
    )?;
    let next = PatternKey {
        generation: 2,
        ..KEY
    };
    equal(
        "generation",
        &bench.check(&list, bytes, next)?.corrupt_bytes,
        &bytes,
    )
}

fn rewrite_checks_and_writes(bench: &mut Bench) -> Verdict {
    let list = cut_list();
    let bytes = bytes_of(&list);
    let key = |generation| PatternKey {
        buffer: 1,
        generation,
    };
    let (dst, first) = ((&*list).into(), key(1));
    bench.done(Command::Run(Kernel::WritePattern {
        dst,
        bytes,
        key: first,
    }))?;
    let sample = Check::Sample {
        one_in: 3,
        phase: 1,
    };
    let sampled = (0..bytes)
        .filter(|at| (at / Check::BLOCK + 1).is_multiple_of(3))
        .count() as u64;
    let full = [(Check::Full, bytes), (Check::Off, 0), (sample, sampled)];
    for (generation, (check, verified)) in (1..).zip(full) {
        let clean = CheckReport {
            bytes_verified: verified,
            ..CheckReport::default()
        };
        let report = bench.rewrite(&list, bytes, key(generation), key(generation + 1), check)?;
        equal("rewrite", &report, &clean)?;
        equal(
            "written",
            &bench
                .check(&list, bytes, key(generation + 1))?
                .corrupt_bytes,
            &0,
        )?;
    }
    let report = bench.rewrite(&list, bytes, key(9), key(5), Check::Full)?;
    equal("wrong", &report.corrupt_bytes, &bytes)?;
    equal("first", &report.first_corrupt_offset, &Some(0))?;
    equal(
        "written",
        &bench.check(&list, bytes, key(5))?.corrupt_bytes,
        &0,
    )
}
