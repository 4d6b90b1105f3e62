//! A client's random life with address spaces, and a model of what every byte must be.
//!
//! Jobs of one queue run in order, and binds wait for the job before them; so the model is always
//! exact: what an address shows, what is there, and where the first address without a page is.

use gpumm::hw::{DeviceError, OutcomeValue};
use gpumm::{
    Buffer, BufferDesc, Client, DeviceHandle, Error, Fence, Priority, Queue, Rights, Vm, VmBind,
    VmDesc, VmKernel,
};
use gpumm_contract::plan::Status;
use gpumm_contract::vm::Span;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of a page, and words.
pub const PAGE: u64 = 4096;
const WORDS: usize = 512;
/// Pages that an address space of the test has.
const PAGES: u64 = 192;
/// Where it begins: the last pages of a large page, so that small and large ones meet.
const START: u64 = (2 << 20) - 16 * PAGE;

/// What an address shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    Sparse,
    Page { buffer: u64, page: u64, write: bool },
}

struct Live {
    buffer: Buffer,
    words: Vec<u64>,
}

struct Space {
    vm: Vm,
    pages: BTreeMap<u64, Shows>,
}

/// What was done and seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Jobs that ran, and whose result was right.
    pub jobs: u64,
    /// Jobs that faulted where they had to.
    pub faults: u64,
    /// Binds that stand.
    pub binds: u64,
    /// Jobs without room.
    pub no_room: u64,
    /// Bytes read and compared.
    pub verified: u64,
}

/// What a job must come to.
enum Expected {
    Done,
    Sum(u64),
    Fault { address: u64, write: bool },
}

/// A client with address spaces.
pub struct VmLife {
    client: Client,
    device: DeviceHandle,
    queue: Queue,
    rng: fastrand::Rng,
    live: BTreeMap<u64, Live>,
    spaces: Vec<Space>,
    last: Option<Fence>,
    open: VecDeque<(Fence, Expected)>,
    most_pages: u64,
    /// What happened so far.
    pub tally: Tally,
}

impl VmLife {
    /// A client whose buffers have at most so many pages.
    pub fn new(device: &DeviceHandle, seed: u64, most_pages: u64) -> Self {
        let client = device.client();
        VmLife {
            queue: client.queue(Priority::Normal).expect("a context"),
            client,
            device: device.clone(),
            rng: fastrand::Rng::with_seed(seed),
            live: BTreeMap::new(),
            spaces: Vec::new(),
            last: None,
            open: VecDeque::new(),
            most_pages,
            tally: Tally::default(),
        }
    }

    /// One random thing.
    pub fn step(&mut self) {
        match self.rng.u32(..100) {
            0..4 if self.spaces.len() < 3 => self.space(),
            4..5 if self.spaces.len() > 1 => self.close(),
            5..18 => self.create(),
            18..24 => self.release(),
            24..50 => self.bind(),
            50..56 => self.read(),
            _ => self.job(),
        }
        while self.open.len() > 8 {
            self.fold();
        }
    }

    /// Waits for everything and compares every byte.
    pub fn end(&mut self) {
        while !self.open.is_empty() {
            self.fold();
        }
        let all: Vec<u64> = self.live.keys().copied().collect();
        for id in all {
            self.compare(id);
        }
        for space in self.spaces.drain(..) {
            space.vm.close().expect("a live vm");
        }
        self.device.drain().expect("the device goes on");
    }

    fn space(&mut self) {
        let range = Span {
            start: START,
            bytes: PAGES * PAGE,
        };
        let desc = VmDesc {
            range,
            ..VmDesc::default()
        };
        let vm = self.client.create_vm(desc).expect("a vm");
        let pages = BTreeMap::new();
        self.spaces.push(Space { vm, pages });
    }

    fn close(&mut self) {
        let at = self.rng.usize(..self.spaces.len());
        let space = self.spaces.swap_remove(at);
        space.vm.close().expect("a live vm");
    }

    fn create(&mut self) {
        let pages = self.rng.u64(1..=self.most_pages);
        match self.client.create(BufferDesc::new(pages * PAGE)) {
            Ok(buffer) => {
                let id = buffer.id().0;
                let words = vec![0; pages as usize * WORDS];
                // Nobody knows what was never written: it is written first.
                buffer.fill(0).expect("room");
                self.live.insert(id, Live { buffer, words });
            }
            Err(error) => self.no_room(&error),
        }
    }

    fn no_room(&mut self, error: &Error) {
        assert!(
            matches!(error, Error::Refused(Status::NoSpace { .. })),
            "{error}"
        );
        self.tally.no_room += 1;
    }

    /// Its mappings end with it.
    fn release(&mut self) {
        let Some(id) = self.any() else { return };
        if let Some(live) = self.live.remove(&id) {
            let mut batch = self.client.batch();
            let slot = batch.release(live.buffer);
            let mut ended = batch.submit().expect("the device goes on");
            ended.done(slot).expect("a live buffer");
        }
        for space in &mut self.spaces {
            let others =
                |shows: &Shows| !matches!(shows, Shows::Page { buffer, .. } if *buffer == id);
            space.pages.retain(|_, shows| others(shows));
        }
    }

    fn any(&mut self) -> Option<u64> {
        let count = self.live.len();
        (count > 0)
            .then(|| self.rng.usize(..count))
            .and_then(|n| self.live.keys().nth(n).copied())
    }

    /// A range of pages of an address space, by number.
    fn range(&mut self, most: u64) -> (u64, u64) {
        let start = self.rng.u64(..PAGES);
        let count = self.rng.u64(1..=most.min(PAGES - start));
        (start, count)
    }

    fn bind(&mut self) {
        if self.spaces.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.spaces.len());
        let mut binds = Vec::new();
        for _ in 0..self.rng.u32(1..4) {
            let (start, count) = self.range(24);
            let address = START + start * PAGE;
            let kind = self.rng.u32(..10);
            let chosen = self.any();
            match (kind, chosen) {
                (0..2, _) | (_, None) => binds.push((address, count, None)),
                (2, _) => binds.push((address, count, Some(None))),
                (_, Some(buffer)) => {
                    let has = self.live[&buffer].words.len() as u64 / WORDS as u64;
                    let first = self.rng.u64(..has);
                    let count = count.min(has - first);
                    let write = self.rng.u32(..8) > 0;
                    binds.push((address, count, Some(Some((buffer, first, write)))));
                }
            }
        }
        let mut exact = self.spaces[at].pages.clone();
        let mut list = Vec::new();
        for (address, count, what) in binds {
            let start = (address - START) / PAGE;
            for page in start..start + count {
                exact.remove(&page);
            }
            let bytes = count * PAGE;
            list.push(match what {
                None => VmBind::Unmap { address, bytes },
                Some(None) => {
                    exact.extend((start..start + count).map(|page| (page, Shows::Sparse)));
                    VmBind::Sparse { address, bytes }
                }
                Some(Some((buffer, first, write))) => {
                    let page = |n| Shows::Page {
                        buffer,
                        page: first + n,
                        write,
                    };
                    exact.extend((0..count).map(|n| (start + n, page(n))));
                    VmBind::Map {
                        address,
                        buffer: &self.live[&buffer].buffer,
                        offset: first * PAGE,
                        bytes,
                        rights: if write {
                            Rights::ReadWrite
                        } else {
                            Rights::ReadOnly
                        },
                    }
                }
            });
        }
        let after: Vec<&Fence> = self.last.iter().collect();
        self.spaces[at].vm.bind(&list, &after).expect("a bind");
        self.tally.binds += list.len() as u64;
        self.spaces[at].pages = exact;
    }

    /// A job on an address space: it fills, adds up or copies, and faults where no page is.
    fn job(&mut self) {
        if self.spaces.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.spaces.len());
        let (mut start, mut count) = self.range(12);
        // Mostly where something is.
        let pages = self.spaces[at].pages.len();
        if pages > 0 && self.rng.u32(..4) > 0 {
            let mapped = self.spaces[at].pages.keys();
            start = *mapped
                .clone()
                .nth(self.rng.usize(..pages))
                .expect("counted");
            count = count.min(4).min(PAGES - start);
        }
        let address = START + start * PAGE;
        let bytes = count * PAGE;
        let pattern = self.rng.u64(..);
        let fill = self.rng.bool();
        let kernel = match fill {
            true => VmKernel::Fill {
                dst: address,
                bytes,
                pattern,
            },
            false => VmKernel::Checksum {
                src: address,
                bytes,
                // Where it cannot be written the sum is known by the outcome alone.
                dst: address,
            },
        };
        let pages = self.spaces[at].pages.clone();
        let fence = match self.queue.submit(&self.spaces[at].vm, kernel, &[]) {
            Ok(fence) => fence,
            Err(error) => return self.no_room(&error),
        };
        let mut expected = Expected::Done;
        let mut sum = 0u64;
        for page in start..start + count {
            let address = START + page * PAGE;
            match pages.get(&page) {
                Some(Shows::Sparse) => {}
                Some(&Shows::Page {
                    buffer,
                    page,
                    write,
                }) => {
                    let words = &mut self.live.get_mut(&buffer).expect("mapped").words;
                    let words = &mut words[page as usize * WORDS..][..WORDS];
                    if fill && !write {
                        expected = Expected::Fault {
                            address,
                            write: true,
                        };
                        break;
                    }
                    if fill {
                        words.fill(pattern);
                    } else {
                        sum = words.iter().fold(sum, |sum, word| sum.wrapping_add(*word));
                    }
                }
                None => {
                    expected = Expected::Fault {
                        address,
                        write: fill,
                    };
                    break;
                }
            }
        }
        if !fill && !matches!(expected, Expected::Fault { .. }) {
            expected = match pages.get(&start) {
                Some(Shows::Page { write: false, .. }) => Expected::Fault {
                    address,
                    write: true,
                },
                Some(&Shows::Page { buffer, page, .. }) => {
                    let words = &mut self.live.get_mut(&buffer).expect("mapped").words;
                    words[page as usize * WORDS] = sum;
                    Expected::Sum(sum)
                }
                _ => Expected::Sum(sum),
            };
        }
        self.last = Some(fence.clone());
        self.open.push_back((fence, expected));
    }

    fn fold(&mut self) {
        let Some((fence, expected)) = self.open.pop_front() else {
            return;
        };
        match (fence.outcome(), expected) {
            (Ok(OutcomeValue::Done), Expected::Done) => self.tally.jobs += 1,
            (Ok(OutcomeValue::Checksum(sum)), Expected::Sum(right)) => {
                assert_eq!(sum, right);
                self.tally.jobs += 1;
            }
            (
                Err(Error::Device(DeviceError::VmFault {
                    address, access, ..
                })),
                Expected::Fault {
                    address: right,
                    write,
                },
            ) => {
                assert_eq!(address, right);
                assert_eq!(access == gpumm::hw::Access::Write, write);
                self.tally.faults += 1;
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    fn read(&mut self) {
        if let Some(id) = self.any() {
            self.compare(id);
        }
    }

    fn compare(&mut self, id: u64) {
        let live = &self.live[&id];
        let bytes = live.words.len() as u64 * 8;
        match live.buffer.read(0, bytes) {
            Ok(read) => {
                let words = read.as_chunks::<8>().0.iter().copied();
                let words: Vec<u64> = words.map(u64::from_le_bytes).collect();
                assert!(words == live.words, "buffer {id} shows something else");
                self.tally.verified += bytes;
            }
            Err(error) => self.no_room(&error),
        }
    }
}
