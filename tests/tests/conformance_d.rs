//! Part D of the reference, as far as it is about moves, memory that waits for its earlier owners,
//! and buffers whose end is put off. Every case runs with the native libraries and with the built
//! components.
#![allow(clippy::unwrap_used)]

use gpumm::contract::facts::MemoryType;
use gpumm::contract::plan::{Op, Status};
use gpumm::contract::request::{Intent, Pass, Place, Placement, Request};
use gpumm::contract::{BufferId, Extent, MemoryTypeId, Point, TimelineId};
use gpumm::{Buffer, BufferDesc, Error, GTT, Job, SYSTEM, VRAM};
use gpumm_tests::moves::{self, COPIES, JOBS, Rig};
use gpumm_tests::planning::{self, COPY, RUN, STAGING, answers, copies, memory, places, waits};

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

fn place_of(buffer: &Buffer) -> MemoryTypeId {
    buffer.state().unwrap().place
}

fn filled(rig: &Rig, bytes: u64) -> Buffer {
    let buffer = rig.client.create(BufferDesc::new(bytes)).unwrap();
    buffer.fill(bytes).unwrap().wait().unwrap();
    buffer
}

fn ends_with(buffer: &Buffer, value: u64) -> bool {
    buffer.read(buffer.bytes() - 8, 8).unwrap() == value.to_le_bytes()
}

fn both_copied(rig: &Rig, from: &Buffer, to: &Buffer) -> Result<(), Error> {
    let job = Job::Copy {
        from: 0,
        to: 0,
        bytes: 8,
    };
    rig.client.run(job, &[from, to]).map(drop)
}

fn at(timeline: TimelineId, value: u64) -> Point {
    Point { timeline, value }
}

fn extent(offset: u64, bytes: u64) -> Extent {
    Extent { offset, bytes }
}

#[test]
fn d_1_memory_in_use_is_counted_where_it_is() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let used = rig.runtime.system().used();
        for (memory, more) in [(SYSTEM, 4096), (VRAM, 0)] {
            let desc = BufferDesc {
                placement: Placement::only(memory),
                ..BufferDesc::new(4096)
            };
            let buffer = rig.client.create(desc).unwrap();
            let fact = rig.buffer(&buffer);
            assert_eq!((fact.memory, fact.bytes), (memory, 4096));
            let bytes: u64 = fact.extents.iter().map(|e| e.bytes).sum();
            assert_eq!(bytes, 4096);
            assert_eq!(rig.runtime.system().used(), used + more);
            assert_eq!(rig.report().live_bytes, 4096);
            drop(buffer);
            assert_eq!(rig.report().live_bytes, 0);
            assert_eq!(rig.runtime.system().used(), used);
        }
    });
}

#[test]
fn d_4_system_memory_is_given_and_taken_back() {
    moves::both(|parts| {
        let rig = Rig::with(parts, MIB, 2 * MIB, None);
        let desc = BufferDesc {
            placement: Placement::only(SYSTEM),
            ..BufferDesc::new(2 * MIB)
        };
        for _ in 0..3 {
            let all = rig.client.create(desc).unwrap();
            assert_eq!(rig.runtime.system().used(), 2 * MIB);
            assert!(rig.client.create(desc).unwrap_err().is_out_of_memory());
            drop(all);
            rig.device.drain().unwrap();
            assert_eq!(rig.runtime.system().used(), 0);
        }
    });
}

#[test]
fn d_6_a_use_moves_to_the_end_of_the_eviction_order() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let [first, second] = [filled(&rig, 512 * KIB), filled(&rig, 512 * KIB)];
        rig.back(&first).unwrap();
        let third = filled(&rig, 512 * KIB);
        assert_eq!([&first, &third].map(place_of), [VRAM, VRAM]);
        assert_ne!(place_of(&second), VRAM);
    });
}

#[test]
fn d_9_a_release_ends_at_once_when_nothing_is_pending() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let buffer = filled(&rig, MIB);
        rig.device.drain().unwrap();
        drop(buffer);
        assert_eq!(rig.holders(), []);
        // Its memory needs no wait any more.
        let next = rig.client.create(BufferDesc::new(MIB)).unwrap();
        assert!(rig.buffer(&next).inherited.is_empty());
    });
}

#[test]
fn d_12_a_move_to_an_acceptable_place() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let buffer = filled(&rig, 8 * KIB);
        rig.away().unwrap();
        assert_ne!(place_of(&buffer), VRAM);
        let before = rig.report().counts.bytes_moved;
        rig.back(&buffer).unwrap();
        assert_eq!(place_of(&buffer), VRAM);
        assert_eq!(rig.report().counts.bytes_moved - before, 8 * KIB);
        assert!(ends_with(&buffer, 8 * KIB));
    });
}

#[test]
fn d_13_places_that_do_not_exist() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let desc = BufferDesc {
            placement: Placement::only(MemoryTypeId(9)),
            ..BufferDesc::new(4096)
        };
        let refused = rig.client.create(desc).unwrap_err();
        assert!(
            matches!(refused, Error::Refused(Status::InvalidPlacement)),
            "{refused}"
        );
    });
}

#[test]
fn d_14_to_the_same_place_nothing_moves() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        for memory in [SYSTEM, GTT, VRAM] {
            let desc = BufferDesc {
                placement: Placement::only(memory),
                ..BufferDesc::new(4096)
            };
            let buffer = rig.client.create(desc).unwrap();
            buffer.fill(1).unwrap();
            let place = rig.buffer(&buffer);
            buffer.fill(2).unwrap();
            assert_eq!(rig.buffer(&buffer).allocation, place.allocation);
        }
        assert_eq!(rig.report().counts.bytes_moved, 0);
    });
}

#[test]
fn d_15_desired_only_without_eviction_and_fallback_only_with() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let places = [(VRAM, Pass::Desired), (SYSTEM, Pass::Fallback)];
        let places = places.map(|(memory, pass)| Place { memory, pass });
        let desc = BufferDesc {
            placement: Placement::new(&places).unwrap(),
            ..BufferDesc::new(512 * KIB)
        };
        let room = rig.client.create(desc).unwrap();
        assert_eq!(place_of(&room), VRAM);
        let full = filled(&rig, 512 * KIB);
        let beside = rig.client.create(desc).unwrap();
        assert_eq!([&room, &full, &beside].map(place_of), [VRAM, VRAM, SYSTEM]);
        assert_eq!(rig.report().counts.evictions, 0);
    });
}

/// Memory types where device memory is reached through a staging area of so many bytes.
fn with_staging(staging: u64) -> [MemoryType; 4] {
    let mut vram = memory(planning::VRAM, MIB);
    vram.hop = Some(STAGING);
    let (system, gtt) = (
        memory(planning::SYSTEM, 64 * MIB),
        memory(planning::GTT, 64 * MIB),
    );
    [system, vram, gtt, memory(STAGING, staging)]
}

fn in_vram() -> [Place; 1] {
    let (memory, pass) = (planning::VRAM, Pass::Both);
    [Place { memory, pass }]
}

#[test]
fn d_16_a_move_through_another_place_counts_twice() {
    planning::both(&with_staging(MIB), |mut manager| {
        manager.written(1, MIB);
        let rival = manager.create(2, MIB, &in_vram());
        let ops = manager.good(rival);
        assert_eq!(copies(&ops), [MIB, MIB]);
        let path: Vec<_> = places(&ops).iter().map(|p| (p.0, p.1)).collect();
        let expected = [(1, STAGING), (1, planning::SYSTEM), (2, planning::VRAM)];
        assert_eq!(path, expected);
    });
}

#[test]
fn d_31_without_room_on_the_way_nothing_moves() {
    planning::both(&with_staging(512 * KIB), |mut manager| {
        manager.written(1, MIB);
        let rival = manager.create(2, MIB, &in_vram());
        let ops = manager.plan(&[rival]);
        assert!(
            matches!(answers(&ops)[..], [Status::NoSpace { stuck: MIB, .. }]),
            "{ops:?}"
        );
        assert!(copies(&ops).is_empty() && places(&ops).is_empty());
        // The buffer is where it was, and serves.
        let again = manager.access(Intent::Write, &[1]);
        let ops = manager.good(again);
        assert!(copies(&ops).is_empty() && places(&ops).is_empty());
    });
}

/// Device memory that evicts to memory that evicts to system memory.
fn in_a_row(middle: u64) -> [MemoryType; 4] {
    let mut types = with_staging(middle);
    types[1].hop = None;
    types[1].evict_to = Some(STAGING);
    types[3].evict_to = Some(planning::SYSTEM);
    types
}

#[test]
fn d_27_evictions_make_no_room_for_evictions() {
    planning::both(&in_a_row(512 * KIB), |mut manager| {
        manager.written(1, 512 * KIB);
        manager.written(2, 512 * KIB);
        let rival = manager.create(3, 512 * KIB, &in_vram());
        let path: Vec<_> = places(&manager.good(rival)).iter().map(|p| p.1).collect();
        assert_eq!(path, [STAGING, planning::VRAM]);
        // The middle is full now: buffer 2 has nowhere to go, though buffer 1 could move on.
        let rival = manager.create(4, 1024 * KIB, &in_vram());
        let ops = manager.plan(&[rival]);
        assert!(
            matches!(answers(&ops)[..], [Status::NoSpace { .. }]),
            "{ops:?}"
        );
        assert!(copies(&ops).is_empty());
    });
}

#[test]
fn d_19_memory_whose_owners_are_done_needs_no_wait() {
    planning::both(&usual(), |mut manager| {
        manager.written(1, MIB);
        manager.good(Request::Release(BufferId(1)));
        manager.retire(RUN, 1);
        let next = manager.create(2, MIB, &in_vram());
        manager.good(next);
        let used = manager.access(Intent::Write, &[2]);
        assert_eq!(waits(&manager.good(used)), []);
    });
}

fn usual() -> [MemoryType; 3] {
    [
        memory(planning::SYSTEM, 64 * MIB),
        memory(planning::VRAM, MIB),
        memory(planning::GTT, 64 * MIB),
    ]
}

#[test]
fn d_20_memory_whose_owners_are_not_done_is_waited_for() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let places = [(VRAM, Pass::Desired), (SYSTEM, Pass::Fallback)];
        let places = places.map(|(memory, pass)| Place { memory, pass });
        let first = filled(&rig, MIB);
        rig.sim.hold(JOBS).unwrap();
        rig.back(&first).unwrap();
        drop(first);
        // Free, but not finished with: it is taken all the same, the next place is not.
        let desc = BufferDesc {
            placement: Placement::new(&places).unwrap(),
            ..BufferDesc::new(MIB)
        };
        let next = rig.client.create(desc).unwrap();
        assert_eq!(place_of(&next), VRAM);
        assert_eq!(rig.buffer(&next).inherited.len(), 1);
        let used = next.fill(4).unwrap();
        assert!(!used.is_reached());
        rig.sim.release(JOBS).unwrap();
        used.wait().unwrap();
        assert!(ends_with(&next, 4));
    });
}

#[test]
fn d_21_the_oldest_makes_room() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let sizes = [8 * KIB, 512 * KIB, (1024 - 520) * KIB];
        let [oldest, second, last] = sizes.map(|bytes| filled(&rig, bytes));
        let new = filled(&rig, 4 * KIB);
        assert_ne!(place_of(&oldest), VRAM);
        assert_eq!([&second, &last, &new].map(place_of), [VRAM; 3]);
        let counts = rig.report().counts;
        assert_eq!((counts.evictions, counts.bytes_moved), (1, 8 * KIB));
        assert!(ends_with(&oldest, 8 * KIB));
    });
}

#[test]
fn d_22_what_a_request_needs_is_not_evicted_for_it() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let [one, two] = [filled(&rig, 600 * KIB), filled(&rig, 600 * KIB)];
        let refused = both_copied(&rig, &one, &two).unwrap_err();
        assert!(refused.is_out_of_memory(), "{refused}");
        assert!(ends_with(&one, 600 * KIB) && ends_with(&two, 600 * KIB));
    });
}

#[test]
fn d_23_only_what_the_request_does_not_need_is_evicted() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let [one, two] = [filled(&rig, 512 * KIB), filled(&rig, 512 * KIB)];
        // Evicts the first one.
        let three = filled(&rig, 512 * KIB);
        assert_ne!(place_of(&one), VRAM);
        // The second one is older than the third one, and needed.
        both_copied(&rig, &two, &one).unwrap();
        assert_eq!([&one, &two].map(place_of), [VRAM; 2]);
        assert_ne!(place_of(&three), VRAM);
    });
}

#[test]
fn d_24_memory_of_a_released_buffer_is_used_before_anybody_is_evicted() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let big = filled(&rig, MIB - 4 * KIB);
        rig.sim.hold(JOBS).unwrap();
        rig.back(&big).unwrap();
        drop(big);
        let new = rig.client.create(BufferDesc::new(8 * KIB)).unwrap();
        assert_eq!(place_of(&new), VRAM);
        let report = rig.device.report().unwrap();
        assert_eq!((report.counts.evictions, report.live_bytes), (0, 8 * KIB));
        rig.sim.release(JOBS).unwrap();
    });
}

#[test]
fn d_25_a_full_place_to_evict_to() {
    moves::both(|parts| {
        let rig = Rig::with(parts, MIB, MIB, None);
        let desc = BufferDesc {
            placement: Placement::only(SYSTEM),
            ..BufferDesc::new(MIB)
        };
        let full = rig.client.create(desc).unwrap();
        let old = filled(&rig, MIB);
        let refused = rig.client.create(BufferDesc::new(4 * KIB)).unwrap_err();
        let stuck = matches!(refused, Error::Refused(Status::NoSpace { stuck: MIB, .. }));
        assert!(stuck, "{refused}");
        assert_eq!([&old, &full].map(place_of), [VRAM, SYSTEM]);
        assert!(ends_with(&old, MIB));
    });
}

#[test]
fn d_29_evicted_memory_is_handed_out_at_once_with_its_fence() {
    planning::both(&usual(), |mut manager| {
        manager.written(1, MIB);
        let next = manager.create(2, MIB, &in_vram());
        let ops = manager.good(next);
        assert_eq!(places(&ops)[1], (2, planning::VRAM, vec![extent(0, MIB)]));
        assert_eq!(waits(&ops), [(COPY, at(RUN, 1))]);
        let used = manager.access(Intent::Write, &[2]);
        assert_eq!(waits(&manager.good(used)), [(RUN, at(COPY, 1))]);
    });
}

#[test]
fn d_30_memory_that_a_buffer_left_is_handed_out_at_once_with_its_fence() {
    planning::both(&usual(), |mut manager| {
        manager.written(1, 512 * KIB);
        manager.good(Request::Release(BufferId(1)));
        let next = manager.create(2, MIB, &in_vram());
        let ops = manager.good(next);
        assert_eq!(places(&ops), [(2, planning::VRAM, vec![extent(0, MIB)])]);
        // The same timeline runs in order; a move of the new owner waits.
        let read = manager.access(Intent::Write, &[2]);
        assert_eq!(waits(&manager.good(read)), []);
        let rival = manager.create(3, MIB, &in_vram());
        assert_eq!(waits(&manager.good(rival)), [(COPY, at(RUN, 2))]);
    });
}

#[test]
fn d_35_memory_of_a_released_buffer_survives_until_its_last_fence() {
    moves::both(|parts| {
        let rig = Rig::new(parts, MIB);
        let buffer = filled(&rig, MIB);
        rig.device.drain().unwrap();
        rig.sim.hold(COPIES).unwrap();
        // On its way to the host, read there, and released with both pending.
        rig.away().unwrap();
        let mut batch = rig.client.batch();
        let job = Job::Read {
            offset: MIB - 8,
            bytes: 8,
        };
        let read = batch.access(job, &[&buffer], true);
        let release = batch.release(buffer);
        let mut ended = batch.submit().unwrap();
        let read = ended.take(read).unwrap();
        ended.done(release).unwrap();
        assert_eq!(rig.device.report().unwrap().live_buffers, 0);
        assert_eq!(rig.runtime.system().used(), MIB, "not given back yet");
        assert_eq!(rig.holders().len(), 2, "the copy has both its tables");
        rig.sim.release(COPIES).unwrap();
        let bytes = gpumm::hw::OutcomeValue::Bytes(MIB.to_le_bytes().to_vec());
        assert_eq!(read.outcome().unwrap(), bytes);
        rig.device.drain().unwrap();
        assert_eq!(rig.runtime.system().used(), 0);
        assert_eq!(rig.holders(), []);
    });
}

#[test]
fn d_37_no_room_is_one_error_that_says_what_there_is() {
    moves::both(|parts| {
        let rig = Rig::with(parts, MIB, MIB, None);
        let _full = filled(&rig, 768 * KIB);
        let other = BufferDesc {
            placement: Placement::only(SYSTEM),
            ..BufferDesc::new(512 * KIB)
        };
        let _other = rig.client.create(other).unwrap();
        let refused = rig.client.create(BufferDesc::new(512 * KIB)).unwrap_err();
        let Error::Refused(Status::NoSpace {
            largest_hole,
            stuck,
        }) = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((largest_hole, stuck), (256 * KIB, 768 * KIB));
        let refused = rig.client.create(BufferDesc::new(2 * MIB)).unwrap_err();
        assert!(matches!(
            refused,
            Error::Refused(Status::TooLarge { limit: MIB })
        ));
    });
}

#[test]
fn every_move_of_a_plan_ends_the_place_it_left() {
    planning::both(&with_staging(MIB), |mut manager| {
        manager.written(1, MIB);
        let rival = manager.create(2, MIB, &in_vram());
        let ops = manager.good(rival);
        let left = ops.iter().filter(|op| matches!(op, Op::Unplace { .. }));
        assert_eq!(left.count(), 2, "the hop is left again");
    });
}
