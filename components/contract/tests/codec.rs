//! Every packed item survives encode, decode, encode; no words make a decoder panic.
#![allow(clippy::unwrap_used)]

use gpumm_contract::facts::{
    BufferFact, Content, Fact, MappingFact, MemoryType, Role, VmBoFact, VmFact,
};
use gpumm_contract::plan::Status;
use gpumm_contract::request::{
    Access, Attach, Batch, BindVm, CloseVm, Create, CreateVm, Detach, Grants, Intent, Pass, Place,
    Placement, Run, SpanUse, Submit, Use, Used,
};
use gpumm_contract::table::{Hold, Holder};
use gpumm_contract::vm::{Mapping, PAGE, Span, VmConfig, VmError, VmId};
use gpumm_contract::wire::{Kind, Reader, Writer};
use gpumm_contract::*;

fn extent(offset: u64, bytes: u64) -> Extent {
    Extent { offset, bytes }
}

fn point(t: u32, value: u64) -> Point {
    Point {
        timeline: TimelineId(t),
        value,
    }
}

fn placement() -> Placement {
    let place = |m, pass| Place {
        memory: MemoryTypeId(m),
        pass,
    };
    Placement::new(&[
        place(1, Pass::Desired),
        place(0, Pass::Both),
        place(2, Pass::Fallback),
    ])
    .unwrap()
}

fn vm_config() -> VmConfig {
    VmConfig {
        range: Span {
            start: PAGE,
            bytes: 1 << 47,
        },
        kernel: Span::default(),
        mappings: 100,
        mappings_per_buffer: 10,
    }
}

fn ops() -> Vec<Op<'static>> {
    let mut after = PointSet::new();
    after.add(point(1, 7));
    after.add(point(0, 3));
    let at = point(2, 99);
    let table = TableId(5);
    let statuses = [
        Status::Good,
        Status::NoSpace {
            largest_hole: 5,
            stuck: 6,
        },
        Status::TooLarge { limit: 9 },
        Status::UnknownBuffer,
        Status::BufferExists,
        Status::InvalidSize,
        Status::InvalidPlacement,
        Status::InvalidAccess,
        Status::TooScattered,
        Status::Poisoned,
        Status::NotMapped,
        Status::NotAttached,
        Status::InvalidBind,
        Status::Vm {
            why: VmError::KernelArea,
            bind: 7,
        },
        VmError::Overlap.into(),
    ];
    let mut ops: Vec<_> = statuses
        .iter()
        .map(|&status| Op::Answer { request: 3, status })
        .collect();
    ops.extend([
        Op::Place {
            allocation: AllocationId(4),
            memory: MemoryTypeId(1),
            buffer: BufferId(1 << 40),
            extents: vec![extent(0, 4096), extent(1 << 40, 8192)].into(),
        },
        Op::Unplace {
            allocation: AllocationId(4),
            after,
        },
        Op::Table {
            table,
            allocation: AllocationId(4),
            segments: vec![Segment {
                address: 1,
                bytes: 2,
            }]
            .into(),
        },
        Op::DropTable { table },
        Op::MapDma { table },
        Op::UnmapDma { table },
        Op::Copy {
            at,
            source: table,
            target: TableId(6),
            source_offset: 1,
            target_offset: 2,
            bytes: 3,
        },
        Op::Fill {
            at,
            table,
            offset: 1,
            bytes: 2,
            pattern: u64::MAX,
        },
        Op::UpdatePtes {
            at,
            vm: VmId(1),
            address: 2,
            table,
            offset: 3,
            bytes: 4,
            flags: 5,
        },
        Op::InvalidateTlb { at, vm: VmId(8) },
        Op::Run {
            at,
            job: JobId(77),
            tables: vec![table, TableId(6)].into(),
        },
        Op::Wait {
            timeline: TimelineId(1),
            point: at,
        },
        Op::Signal { at },
        Op::Notify {
            device: DeviceId(1),
            attachment: AttachmentId(2),
            gate: at,
        },
        Op::Poison {
            buffer: BufferId(3),
        },
    ]);
    ops
}

#[test]
fn plans_round_trip() {
    let mut out = Writer::new(Kind::Plan);
    assert!(ops().iter().all(|op| op.encode(&mut out)));
    let words = out.finish();
    assert_eq!(plan::decode(&words).unwrap(), ops());
    assert_read_alike(&words);
}

/// However an operation is read, it is the same, or the same error.
fn assert_read_alike(words: &[u64]) {
    let Ok(mut reader) = Reader::new(words, Kind::Plan) else {
        return;
    };
    let mut lists = plan::Lists::default();
    while let Ok(Some(item)) = reader.next() {
        let own = Op::decode(&item);
        assert_eq!(Op::read(&item, &mut lists), own);
        let (outline, kind) = (Op::outline(&item), std::mem::discriminant::<Op<'_>>);
        assert_eq!(outline.as_ref().map(kind), own.as_ref().map(kind));
    }
    lists.trim();
}

#[test]
fn batches_round_trip() {
    let batch = Batch {
        grants: Grants {
            allocations: vec![
                Run { first: 0, count: 2 },
                Run {
                    first: 9,
                    count: u32::MAX - 9,
                },
            ],
            tables: vec![Run { first: 3, count: 1 }],
            timelines: vec![point(0, 5), point(1, 6)],
        },
        requests: vec![
            Request::Create(Create {
                buffer: BufferId(1),
                tenant: TenantId(2),
                bytes: 3,
                placement: placement(),
                priority: 3,
                stamp: Stamp(4),
            }),
            Request::Access(Access {
                job: JobId(9),
                timeline: TimelineId(1),
                stamp: Stamp(5),
                anywhere: true,
                uses: vec![
                    Use {
                        buffer: BufferId(1),
                        intent: Intent::Write,
                    },
                    Use {
                        buffer: BufferId(2),
                        intent: Intent::Read,
                    },
                ]
                .into(),
            }),
            Request::Release(BufferId(1)),
            Request::Retire(point(1, 8)),
            Request::Poisoned(BufferId(1 << 50)),
            Request::Lost,
            Request::Attach(Attach {
                attachment: AttachmentId(1 << 40),
                buffer: BufferId(2),
                device: DeviceId(3),
            }),
            Request::Detach(Detach {
                attachment: AttachmentId(1 << 40),
                buffer: BufferId(2),
            }),
            Request::CreateVm(CreateVm {
                vm: VmId(1 << 40),
                tenant: TenantId(3),
                config: vm_config(),
            }),
            Request::CloseVm(CloseVm {
                vm: VmId(2),
                after: [point(4, 7)].into_iter().collect(),
            }),
            Request::Bind(BindVm {
                vm: VmId(2),
                after: [point(1, 8), point(3, 1)].into_iter().collect(),
                binds: vec![1, 2, 3],
            }),
            Request::Submit(Submit {
                vm: VmId(2),
                at: point(4, 1),
                stamp: Stamp(9),
                spans: vec![SpanUse {
                    at: Span {
                        start: PAGE,
                        bytes: 7,
                    },
                    intent: Intent::Write,
                }],
            }),
            Request::Used(Used {
                vm: VmId(2),
                at: point(4, 2),
                stamp: Stamp(10),
                buffer: None,
                intent: Intent::Read,
            }),
        ],
    };
    assert_eq!(Batch::decode(&batch.encode().unwrap()).unwrap(), batch);
}

fn facts() -> Vec<Fact> {
    let set = |p: &[Point]| p.iter().copied().collect::<PointSet>();
    vec![
        Fact::Memory(MemoryType {
            id: MemoryTypeId(1),
            size: 1 << 30,
            granule: 4096,
            evict_to: Some(MemoryTypeId(0)),
            base: 7,
            max_segment: 0xffff_f000,
            aperture: Some(MemoryTypeId(2)),
            hop: None,
        }),
        Fact::Timeline {
            completed: point(3, 4),
            role: Role::Copy,
        },
        Fact::Timeline {
            completed: point(4, 0),
            role: Role::Gate(DeviceId(1)),
        },
        Fact::Table {
            table: TableId(1),
            layout: true,
            mapped: true,
            holds: vec![Hold {
                holder: Holder::Copy,
                until: point(1, 2),
            }],
            segments: vec![
                Segment {
                    address: 5,
                    bytes: 6,
                },
                Segment {
                    address: 50,
                    bytes: 60,
                },
            ],
        },
        Fact::Buffer(BufferFact {
            buffer: BufferId(1),
            tenant: TenantId(2),
            bytes: 100,
            placement: placement(),
            priority: 1,
            stamp: Stamp(9),
            content: Content::Poisoned,
            allocation: AllocationId(3),
            memory: MemoryTypeId(1),
            table: TableId(1),
            arrives: Some(point(2, 5)),
            extents: vec![extent(0, 4096)],
            readers: set(&[point(0, 1), point(1, 2)]),
            writers: set(&[point(1, 3)]),
            inherited: set(&[]),
        }),
        Fact::Residue {
            memory: MemoryTypeId(1),
            extent: extent(4, 5),
            tenant: TenantId(6),
        },
        Fact::Pending {
            memory: MemoryTypeId(1),
            extent: extent(4, 5),
            after: set(&[point(0, 9)]),
        },
        Fact::Leaving {
            table: TableId(8),
            buffer: BufferId(9),
            arrives: None,
            left: point(1, 4),
            after: set(&[point(0, 9), point(1, 4)]),
        },
        Fact::Attachment {
            attachment: AttachmentId(1 << 33),
            buffer: BufferId(9),
            device: DeviceId(1),
        },
        Fact::Vm(VmFact {
            vm: VmId(1 << 40),
            tenant: TenantId(3),
            config: vm_config(),
            written: [point(1, 8)].into_iter().collect(),
            busy: [point(2, 8), point(3, 1)].into_iter().collect(),
        }),
        Fact::VmBo(VmBoFact {
            vm: VmId(2),
            buffer: BufferId(4),
            external: false,
            evicted: true,
            table: None,
            held: 1,
        }),
        Fact::VmBo(VmBoFact {
            vm: VmId(2),
            buffer: BufferId(5),
            external: true,
            evicted: false,
            table: Some(TableId(3)),
            held: 0,
        }),
        Fact::Mapping(MappingFact {
            vm: VmId(2),
            mapping: Mapping {
                at: Span {
                    start: PAGE,
                    bytes: PAGE,
                },
                buffer: None,
                offset: PAGE,
                attributes: 1,
            },
        }),
    ]
}

#[test]
fn facts_round_trip() {
    let mut out = Writer::new(Kind::Facts);
    assert!(facts().iter().all(|f| f.encode(&mut out)));
    assert_eq!(
        gpumm_contract::facts::decode(&out.finish()).unwrap(),
        facts()
    );
}

/// Random words, and random damage of good words: an answer, never a panic; and what decodes
/// encodes to something that decodes to the same.
#[test]
fn damage_never_panics() {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut plan_words = Writer::new(Kind::Plan);
    assert!(ops().iter().all(|op| op.encode(&mut plan_words)));
    let mut fact_words = Writer::new(Kind::Facts);
    assert!(facts().iter().all(|f| f.encode(&mut fact_words)));
    let good = [plan_words.finish(), fact_words.finish()];
    for _ in 0..60_000 {
        let mut words = good[rng.usize(0..2)].clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(0..words.len());
            match rng.u8(0..4) {
                0 => words[at] = rng.u64(..),
                1 => words[at] ^= 1 << rng.u32(0..64),
                2 => words[at] = rng.u64(0..20),
                _ => words.truncate(at.max(1)),
            }
        }
        assert_read_alike(&words);
        if let Ok(ops) = plan::decode(&words) {
            let mut out = Writer::new(Kind::Plan);
            assert!(ops.iter().all(|op| op.encode(&mut out)));
            assert_eq!(plan::decode(&out.finish()).unwrap(), ops);
        }
        let _ = gpumm_contract::facts::decode(&words);
        let _ = Batch::decode(&words);
    }
}

#[test]
fn placement_words_are_strict() {
    assert!(Placement::from_word(placement().word()).is_some());
    for bad in [0, 1, 1 << 16 | 1 << 15, 1 << 14 | 1 << 15, 3 << 8 | 1 << 15] {
        assert_eq!(Placement::from_word(bad), None, "{bad:#x}");
    }
    assert_eq!(Placement::new(&[]), None);
}
