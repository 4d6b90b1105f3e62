//! What the ledger takes for each live buffer.

use super::*;
use cap::Cap;
use std::alloc::System;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Buffers per plan.
const PART: u32 = 64;

/// Creates buffers of one extent and one segment, and writes each.
fn written(numbers: std::ops::Range<u32>) -> Case {
    let mut case = Case::default();
    for n in numbers {
        let (buffer, extents) = (n.into(), [extent(u64::from(n) * 8192, 8192)]);
        let asked = case.requests.len() as u32;
        case.requests.push(create(buffer, 7));
        case.requests.push(access(buffer, 3));
        case.granted.push((n, VRAM, extents.to_vec()));
        case.ops.extend([
            place(n, VRAM, buffer, &extents),
            table(n, n, extents[0].offset, 8192),
            answer(asked, Status::Good),
            run(u64::from(n) + 1, 3, &[n]),
            answer(asked + 1, Status::Good),
        ]);
    }
    case
}

fn retired(value: u64) -> Case {
    Case {
        requests: vec![Request::Retire(at(RUN, value))],
        ops: vec![answer(0, Status::Good)],
        ..Case::default()
    }
}

/// Prints the bytes, where nothing else runs: `cargo test -p gpumm --lib -- --ignored
/// --nocapture bytes_per_live_buffer`.
#[test]
#[ignore = "other tests of the process would be counted"]
fn bytes_per_live_buffer() {
    let mut ledger = ledger_of(1 << 40, 1 << 20);
    let mut before = None;
    for count in [1_000, 11_000, 51_000] {
        let start = ledger.live().0 as u32;
        for from in (start..count).step_by(PART as usize) {
            let to = count.min(from + PART);
            written(from..to).check(&mut ledger).expect("a true plan");
            let over = u64::from(to).saturating_sub(256);
            retired(over).check(&mut ledger).expect("a true plan");
        }
        retired(count.into())
            .check(&mut ledger)
            .expect("a true plan");
        let now = HEAP.allocated();
        if let Some((number, bytes)) = before.replace((count, now)) {
            let each = (now - bytes) as f64 / f64::from(count - number);
            println!("{each:.0} bytes per live buffer, {number} to {count}");
            assert!(each < 240.0);
        }
    }
}
