//! The cases of part C of the reference that need moves. Every case runs with the native libraries
//! and with the built components.
#![allow(clippy::unwrap_used)]

use gpumm::contract::facts::Fact;
use gpumm::contract::plan::Status;
use gpumm::contract::request::Placement;
use gpumm::{BufferDesc, Error, SYSTEM};
use gpumm_tests::moves::{self, COPIES, OBJECT, Rig, three_queued};
use std::time::Duration;

#[test]
fn c_13_tables_outlive_the_moves_that_need_them() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        let object = rig.object(OBJECT);
        object.written.wait().unwrap();
        rig.device.drain().unwrap();
        let segments = || {
            let all = rig.facts().into_iter();
            all.filter_map(|fact| match fact {
                Fact::Table {
                    table, segments, ..
                } => Some((table, segments)),
                _ => None,
            })
            .collect::<Vec<_>>()
        };
        let first = segments();
        rig.sim.hold(COPIES).unwrap();
        rig.away().unwrap();
        let second = segments();
        rig.back(&object.buffer).unwrap();
        let third = segments();
        // The object shows the third; the copies still have the first two, unchanged.
        assert_eq!(rig.buffer(&object.buffer).table, third[2].0);
        assert_eq!((&third[..1], &third[..2]), (&first[..], &second[..]));
        // Their bytes may have a new owner, but nobody may use them yet.
        let next = rig.device.client().create(BufferDesc::new(4096)).unwrap();
        let filled = next.fill(1).unwrap();
        assert!(!filled.wait_for(Duration::from_millis(20)).unwrap());
        rig.sim.release(COPIES).unwrap();
        filled.wait().unwrap();
        rig.assert_whole(&object);
        rig.device.drain().unwrap();
        assert_eq!(rig.holders().len(), 2);
    });
}

#[test]
fn c_14_a_move_that_fails_behind_the_object() {
    moves::both(|parts| drop(three_queued(parts, &["fail copy 1"])));
}

#[test]
fn c_15_the_table_of_a_buffer_is_that_of_its_newest_place() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        let object = rig.object(OBJECT);
        let table = || rig.buffer(&object.buffer).table;
        let first = table();
        rig.back(&object.buffer).unwrap();
        assert_eq!(table(), first, "a use in place builds no other");
        rig.sim.hold(COPIES).unwrap();
        rig.away().unwrap();
        let second = table();
        assert_ne!(second, first, "state first: the copy has not begun");
        rig.sim.release(COPIES).unwrap();
        rig.device.drain().unwrap();
        assert_eq!(table(), second);
    });
}

#[test]
fn c_17_memory_that_cannot_be_mapped() {
    moves::both(|parts| {
        let rig = Rig::new(parts, OBJECT);
        let desc = BufferDesc {
            placement: Placement::only(SYSTEM),
            ..BufferDesc::new(OBJECT)
        };
        let buffer = rig.client.create(desc).unwrap();
        rig.inject("fail dma map 1");
        let refused = buffer.fill(9);
        assert!(
            matches!(refused, Err(Error::Refused(Status::NotMapped))),
            "{refused:?}"
        );
        assert_eq!(buffer.state().unwrap().place, SYSTEM);
        buffer.fill(9).unwrap().wait().unwrap();
        assert_eq!(buffer.read(OBJECT - 8, 8).unwrap(), 9u64.to_le_bytes());
        // Nor can a victim go where the device does not reach; it stays.
        let object = rig.object(OBJECT);
        rig.inject("fail dma map 1");
        assert!(rig.away().unwrap_err().is_out_of_memory());
        assert!(object.is_in_vram());
        rig.away().unwrap();
        rig.assert_whole(&object);
    });
}
