#![allow(clippy::unwrap_used)]

use super::*;
use crate::command::{MemorySpace, Segment};
use crate::mmu::Mmu;
use crate::vm::{Access, Backing, PteWrite};

const VM: VmId = VmId(1);
const GIB: u64 = 1 << 30;

/// The entry of a page, as shaders find it: the place and flags, or 0.
fn walk(words: &[u64], address: u64) -> u64 {
    let mut node = 0;
    for shift in [39, 30, 21, 12] {
        let entry = words[node * NODE + (address >> shift) as usize % NODE];
        let large = entry & (1 << 5) != 0;
        let sparse = entry & 4 != 0;
        match entry & PRESENT {
            0 => return 0,
            _ if shift == 12 => return entry,
            _ if large && sparse => return entry,
            _ if large => return entry + address % LARGE / PAGE * PAGE,
            _ => node = (entry >> 12) as usize,
        }
    }
    0
}

#[test]
fn an_image_is_the_table_whenever_it_is_brought() {
    let mmu = Mmu::new(1 << 30, true);
    mmu.create(VM, 0, 1 << 47).unwrap();
    let space = mmu.space(VM).unwrap();
    let mut image = Image::default();
    let mut random = fastrand::Rng::with_seed(3);
    // Near borders of every level, and far apart.
    let bases = [
        0,
        GIB - 2 * LARGE,
        512 * GIB - 2 * LARGE,
        (1 << 47) - 4 * LARGE,
    ];
    let mut found = 0;
    for round in 0..3000 {
        let address = bases[random.usize(..4)] + random.u64(..4) * LARGE;
        let (into, bytes) = match random.u8(..3) {
            0 => (0, LARGE),
            _ => (random.u64(..512) * PAGE, random.u64(1..600) * PAGE),
        };
        let address = address + into;
        let bytes = bytes.min((1 << 47) - address);
        let place = random.u64(..1 << 10) * LARGE + into;
        let backing = match random.u8(..5) {
            0 | 1 => Backing::Invalid,
            2 => Backing::Sparse,
            _ => Backing::Memory {
                segments: [Segment::vram(place, bytes)].into(),
                offset: 0,
                write: random.bool(),
            },
        };
        let mut writes = vec![PteWrite {
            address,
            bytes,
            backing,
        }];
        if random.u8(..40) == 0 {
            // All of it, most of which was never there.
            writes.push(PteWrite {
                address: 0,
                bytes: 1 << 47,
                backing: Backing::Invalid,
            });
        }
        mmu.write(VM, &writes).unwrap();
        if random.u8(..100) == 0 {
            mmu.clear();
        }
        if random.bool() {
            continue;
        }
        space
            .changes(|table, changes| {
                image.change(changes, table);
                Ok::<(), ()>(())
            })
            .unwrap();
        for _ in 0..40 {
            let at = bases[random.usize(..4)] + random.u64(..4 * 512) * PAGE;
            let window = space.translate(at, PAGE, Access::Read, &mmu.counters);
            let entry = walk(&image.words, at);
            assert_eq!(
                entry & PRESENT != 0,
                window.bytes == PAGE,
                "{round}: {at:#x}"
            );
            let Some(piece) = window.pieces.first() else {
                continue;
            };
            found += 1;
            let place = (entry & 4 == 0).then_some((MemorySpace::Vram, entry & !(PAGE - 1)));
            assert_eq!(place, piece.place, "{round}: {at:#x}");
        }
    }
    assert!(found > 10_000, "{found}");
    // A node for each piece that was ever present at once, and those on the way.
    assert!(
        image.words.len() / NODE < 40,
        "{}",
        image.words.len() / NODE
    );
}
