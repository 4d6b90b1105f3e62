//! How the device on a GPU moves bytes: pieces of any bounds, engines at once, memory that grows.

#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used)]

mod gpu;

use gpu::model::{PART, obey};
use gpu::{Bench, TIME, has_gpu};
use gpumm_hw::wgpu::WgpuConfig;
use gpumm_hw::{
    Access, Backing, Command, Device, DeviceError, Kernel, Launch, OutcomeValue, PatternKey,
    PteWrite, Segment, Submission, VmFaultReason, VmId, VmKernel, pattern,
};

/// Pages in an order that is not theirs, every second one of a memory.
fn scattered(pages: u64, page: u64, odd: u64) -> Vec<Segment> {
    // The factor has no divisor in common with a power of two: each page comes once.
    let place = |index: u64| (index * 2_654_435_761 % pages) * 2 + odd;
    (0..pages)
        .map(|index| Segment::vram(place(index) * page, page))
        .collect()
}

#[test]
fn scattered_pages_of_64_mib_are_copied() {
    if !has_gpu() {
        return;
    }
    let bytes = 64 << 20;
    let mut config = WgpuConfig::new("gpu", 2 * bytes);
    config.chunk_bytes = Some(16 << 20);
    let bench = Bench::new(config, 4096);
    let page = 16 << 10;
    let (src, dst) = (scattered(4096, page, 0), scattered(4096, page, 1));
    let key = PatternKey {
        buffer: 3,
        generation: 1,
    };
    let write = Kernel::WritePattern {
        dst: (&*src).into(),
        bytes,
        key,
    };
    bench.done(0, Command::Run(write));
    bench.done(
        0,
        Command::Copy {
            src: (&*src).into(),
            dst: (&*dst).into(),
            src_offset: 0,
            dst_offset: 0,
            bytes,
        },
    );
    let data = bench.read(0, &dst, 0, bytes);
    let mut expected = vec![0; bytes as usize];
    pattern::write(&mut expected, 0, key);
    assert!(data == expected);
    // The list in another order is other content.
    let mut turned = dst;
    turned.reverse();
    let src = turned.into();
    let check = Kernel::CheckPattern { src, bytes, key };
    let OutcomeValue::Checked(report) = bench.perform(0, Command::Run(check)) else {
        panic!("a check without a report");
    };
    assert_eq!(report.bytes_verified, bytes);
    assert!(report.corrupt_bytes > bytes / 2);
}

#[test]
fn pieces_of_any_bounds_are_moved_as_a_model_says() {
    if !has_gpu() {
        return;
    }
    let mut config = WgpuConfig::new("gpu", PART);
    config.chunk_bytes = Some(8192);
    obey(&Bench::new(config, PART), 0, 0, 300);
}

#[test]
fn engines_at_work_at_once_do_not_disturb_each_other() {
    if !has_gpu() {
        return;
    }
    let mut config = WgpuConfig::new("gpu", 2 * PART);
    // Its border is not that of the parts.
    config.chunk_bytes = Some(5 * 4096);
    let bench = Bench::new(config, 2 * PART);
    std::thread::scope(|scope| {
        for engine in [0, 1] {
            let bench = &bench;
            scope.spawn(move || obey(bench, engine, u64::from(engine), 200));
        }
    });
}

#[test]
fn engines_that_wait_for_each_other_pass_bytes_to_and_fro() {
    if !has_gpu() {
        return;
    }
    let bench = Bench::new(WgpuConfig::new("gpu", 1 << 20), 4096);
    let places = [Segment::vram(0, 4096), Segment::vram(65_536, 4096)];
    let data: Vec<u8> = (0..4096).map(|byte| byte as u8 ^ 0x5a).collect();
    bench.write(0, &places[..1], 0, &data);
    // Each engine copies what the other one has copied, and leaves nothing where it was.
    let mut outcomes = Vec::new();
    for turn in 1..=20 {
        let engine = (turn % 2) as u32;
        let (from, to) = (1 - turn as usize % 2, turn as usize % 2);
        let copy = Submission::new(Command::Copy {
            src: [places[from]].into(),
            dst: [places[to]].into(),
            src_offset: 0,
            dst_offset: 0,
            bytes: 4096,
        });
        let copy = if turn > 1 {
            copy.after(bench.point(1 - engine, turn - 1))
        } else {
            copy
        };
        outcomes.push(bench.submit(engine, copy));
        let clear = Submission::new(Command::Fill {
            dst: [places[from]].into(),
            offset: 0,
            bytes: 4096,
            pattern: turn,
        });
        outcomes.push(bench.submit(engine, clear.signal(turn)));
    }
    let last = bench.point(0, 20);
    assert_eq!(bench.timelines.wait(last, TIME), Ok(()));
    for outcome in outcomes {
        assert_eq!(outcome.get(), Some(&OutcomeValue::Done));
    }
    let left = bench.read(0, &places, 0, 8192);
    assert!(left[..4096] == data);
    assert_eq!(left[4096..4104], 20_u64.to_le_bytes());
}

#[test]
fn engines_write_different_bytes_of_one_word_at_once() {
    if !has_gpu() {
        return;
    }
    let bench = Bench::new(WgpuConfig::new("gpu", 1 << 20), 4096);
    let mut outcomes = Vec::new();
    for turn in 0..100_u64 {
        for engine in [0, 1] {
            let data = [turn as u8 + 1, engine as u8 + 1];
            let write = Command::Write {
                dst: [Segment::vram(turn * 4 + u64::from(engine) * 2, 2)].into(),
                offset: 0,
                data: data.into(),
            };
            outcomes.push(bench.submit(engine, Submission::new(write)));
        }
    }
    for outcome in outcomes {
        assert_eq!(outcome.wait(TIME), Some(&OutcomeValue::Done));
    }
    let words = bench.read(0, &[Segment::vram(0, 400)], 0, 400);
    for (turn, word) in (1..).zip(words.chunks(4)) {
        assert_eq!(word, [turn, 1, turn, 2]);
    }
}

#[test]
fn memory_grows_chunk_by_chunk_where_it_is_touched() {
    if !has_gpu() {
        return;
    }
    let chunk = 64 << 10;
    let mut config = WgpuConfig::new("gpu", 1 << 30);
    config.chunk_bytes = Some(chunk);
    let bench = Bench::new(config, 4096);
    assert_eq!(bench.device.chunk_bytes(), chunk);
    // The first is there from the start.
    assert_eq!(bench.device.chunk_memory(), chunk);
    bench.write(0, &[Segment::vram(5 * chunk, 8)], 0, &[1; 8]);
    assert_eq!(bench.device.chunk_memory(), 2 * chunk);
    // Over the border of two chunks, both new.
    let border = [Segment::vram(9 * chunk - 5, 10)];
    bench.write(0, &border, 0, &[2; 10]);
    assert_eq!(bench.device.chunk_memory(), 4 * chunk);
    assert_eq!(bench.read(0, &border, 0, 10), [2; 10]);
    let last = [Segment::vram((1 << 30) - 3, 3)];
    bench.write(0, &last, 0, &[3; 3]);
    assert_eq!(bench.read(0, &last, 0, 3), [3; 3]);
    assert_eq!(bench.device.chunk_memory(), 5 * chunk);
    bench.device.reset().unwrap();
    assert_eq!(bench.device.chunk_memory(), chunk);
    assert_eq!(bench.read(0, &border, 0, 10), [0; 10]);
}

#[test]
fn jobs_of_many_pieces_see_what_engines_wrote() {
    if !has_gpu() {
        return;
    }
    let mut config = WgpuConfig::new("gpu", 32 << 20);
    config.chunk_bytes = Some(3 << 20);
    let bench = Bench::new(config, 1 << 20);
    let (vm, page) = (VmId(1), 64 << 10);
    let pages = scattered(64, page, 0);
    bench.device.create_vm(vm, 0, 1 << 30).unwrap();
    let mapped = 64 * page;
    let write = PteWrite {
        address: 1 << 20,
        bytes: mapped,
        backing: Backing::Memory {
            segments: (&*pages).into(),
            offset: 0,
            write: true,
        },
    };
    let writes = [write].into();
    bench.done(0, Command::WritePtes { vm, writes });
    let job =
        |engine, kernel| bench.perform(engine, Command::Launch(Launch { vm, job: 1, kernel }));
    // All but the first three bytes.
    let (start, bytes) = ((1 << 20) + 3, mapped - 3);
    let key = PatternKey {
        buffer: 1,
        generation: 2,
    };
    let dst = start;
    let written = job(1, VmKernel::WritePattern { dst, bytes, key });
    assert_eq!(written, OutcomeValue::Done);
    let mut expected = vec![0; bytes as usize];
    pattern::write(&mut expected, 0, key);
    assert!(bench.read(0, &pages, 3, bytes) == expected);
    assert_eq!(bench.read(0, &pages, 0, 3), [0; 3]);
    // One byte changes by the engine's own way, and the job sees it.
    let at = 3_000_003;
    bench.write(0, &pages, at, &[!expected[at as usize - 3]]);
    let src = start;
    let report = job(1, VmKernel::CheckPattern { src, bytes, key });
    let OutcomeValue::Checked(report) = report else {
        panic!("{report:?}");
    };
    assert_eq!((report.bytes_verified, report.corrupt_bytes), (bytes, 8));
    assert_eq!(report.first_corrupt_offset, Some((at - 3) / 8 * 8));
    // A job that leaves what is mapped has done what comes before.
    let (dst, bytes, pattern) = (start, mapped, 9);
    let address = (1 << 20) + mapped;
    let fault = DeviceError::VmFault {
        vm,
        job: 1,
        address,
        access: Access::Write,
        why: VmFaultReason::Unmapped,
    };
    let filled = job(
        0,
        VmKernel::Fill {
            dst,
            bytes,
            pattern,
        },
    );
    assert_eq!(filled, OutcomeValue::Failed(fault));
    let last = bench.read(0, &pages, mapped - 8, 8);
    assert_eq!(last, 9_u64.rotate_left(24).to_le_bytes());
}

#[test]
fn what_does_not_fit_into_staging_memory_at_once_is_moved_whole() {
    if !has_gpu() {
        return;
    }
    let bytes = (20 << 20) + 5;
    let bench = Bench::new(WgpuConfig::new("gpu", 48 << 20), 32 << 20);
    let key = PatternKey {
        buffer: 5,
        generation: 5,
    };
    let mut data = vec![0; bytes as usize];
    pattern::write(&mut data, 0, key);
    let (from, to) = (
        [Segment::vram(3, bytes)],
        [Segment::vram((24 << 20) + 6, bytes)],
    );
    let host = [Segment::system(1, bytes)];
    bench.write(0, &from, 0, &data);
    for (src, dst) in [(from, to), (to, host), (host, from)] {
        bench.done(
            0,
            Command::Copy {
                src: src.into(),
                dst: dst.into(),
                src_offset: 0,
                dst_offset: 0,
                bytes,
            },
        );
        assert!(bench.read(0, &dst, 0, bytes) == data);
        // Nothing is left of it where the next one writes.
        let (offset, pattern) = (0, 1);
        let dst = src.into();
        bench.done(
            0,
            Command::Fill {
                dst,
                offset,
                bytes,
                pattern,
            },
        );
    }
}

#[test]
fn pages_that_fill_a_range_in_any_order_are_moved_both_ways() {
    if !has_gpu() {
        return;
    }
    let (page, pages) = (4096, 1024);
    let bytes = page * pages;
    let mut config = WgpuConfig::new("gpu", bytes);
    config.chunk_bytes = Some(bytes / 4);
    let bench = Bench::new(config, 2 * bytes);
    let mut random = fastrand::Rng::with_seed(7);
    let mut shuffled = |segment: fn(u64, u64) -> Segment, base: u64| -> Vec<Segment> {
        let mut places: Vec<u64> = (0..pages).collect();
        random.shuffle(&mut places);
        let segments = places.iter();
        segments.map(|at| segment(base + at * page, page)).collect()
    };
    let lists = [
        shuffled(Segment::system, 0),
        shuffled(Segment::vram, 0),
        shuffled(Segment::system, bytes),
    ];
    let mut data = vec![0; bytes as usize];
    let key = PatternKey {
        buffer: 2,
        generation: 9,
    };
    pattern::write(&mut data, 0, key);
    bench.write(0, &lists[0], 0, &data);
    for pair in lists.windows(2) {
        bench.done(
            0,
            Command::Copy {
                src: (&*pair[0]).into(),
                dst: (&*pair[1]).into(),
                src_offset: 0,
                dst_offset: 0,
                bytes,
            },
        );
    }
    // Where the pages lie, and what they are together.
    for (at, segment) in (0..).zip(&lists[1]) {
        let found = bench.read(0, &[*segment], 0, 16);
        assert_eq!(found, data[at * page as usize..][..16], "page {at}");
    }
    assert!(bench.read(0, &lists[2], 0, bytes) == data);
}

#[test]
fn words_that_two_windows_change_keep_the_bytes_of_both() {
    if !has_gpu() {
        return;
    }
    let (piece, pieces) = (7, 3000);
    let bytes = piece * pieces;
    let mut config = WgpuConfig::new("gpu", 32 << 10);
    config.chunk_bytes = Some(8192);
    let bench = Bench::new(config, 64 << 10);
    // Scattered there, one after the other here: every piece shares a word with the next one.
    let scattered: Vec<_> = (0..pieces)
        .map(|at| Segment::system(at * 16 + 5, piece))
        .collect();
    let whole = [Segment::vram(3, bytes)];
    let data: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    bench.write(0, &scattered, 0, &data);
    bench.done(
        0,
        Command::Copy {
            src: scattered.into(),
            dst: whole.into(),
            src_offset: 0,
            dst_offset: 0,
            bytes,
        },
    );
    assert!(bench.read(0, &whole, 0, bytes) == data);
    let around = [Segment::vram(0, 3), Segment::vram(3 + bytes, 8)];
    assert_eq!(bench.read(0, &around, 0, 11), [0; 11]);
}
