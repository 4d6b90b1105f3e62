//! Requests: what the host asks the mechanism in one batch.
//!
//! Shape of a request list ([`Kind::Requests`](crate::wire::Kind::Requests)): first the grants (operations 1 to 3), then the
//! requests. A plan answers request k with the k-th `answer`, grants not counted.
//!
//! | item | operand | body |
//! |---|---|---|
//! | 1 allocation numbers | - | `first, count` per run, ascending |
//! | 2 table numbers | - | `first, count` per run, ascending |
//! | 3 timeline | timeline | `next value` |
//! | 16 create | tenant | `buffer, bytes, placement, priority, stamp` |
//! | 17 access | flags | `job, timeline, stamp`, then `buffer, intent` per use |
//! | 18 release | - | `buffer` |
//! | 19 retire | timeline | `value` |
//! | 20 poisoned | - | `buffer` |
//! | 21 lost | - | - |
//! | 22 attach | device | `attachment, buffer` |
//! | 23 detach | - | `attachment, buffer` |
//! | 24 create-vm | tenant | `vm, start, bytes, kernel start, kernel bytes, mappings, mappings per buffer` |
//! | 25 close-vm | - | `vm`, then `timeline, value` per point to wait for |
//! | 26 bind | points to wait for | `vm`, then `timeline, value` per point, then a packed list of binds |
//! | 27 submit | timeline | `vm, value, stamp`, then `start, bytes, intent` per range of addresses |
//! | 28 used | timeline | `vm, value, stamp, buffer (2^64 - 1: every member), intent` |

mod batch;
mod vm;

pub use batch::{Batch, Grants, Run};
pub use vm::{BindVm, CloseVm, CreateVm, SpanUse, Submit, Used};

use crate::few::Few;
use crate::id::{
    AttachmentId, BufferId, DeviceId, JobId, MemoryTypeId, Stamp, TenantId, TimelineId,
};
use crate::point::Point;
use crate::wire::{Item, WireError, Writer};

/// Where a buffer may live, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The memory type.
    pub memory: MemoryTypeId,
    /// When the place may be taken.
    pub pass: Pass,
}

/// In which of the two placement passes a place is tried. The first pass evicts nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// In both passes.
    Both,
    /// Only while nobody has to be evicted.
    Desired,
    /// Only in the pass that evicts.
    Fallback,
}

/// One to four acceptable places; where none of them is the current one, a buffer is moved.
///
/// Shape when packed: 16 bits per place from bit 0 up: bits 0..8 memory type, 8..10 pass
/// (0 both, 1 desired, 2 fallback), 10..15 zero, 15 set where the slot is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement(u64);

impl Placement {
    /// A placement of one to four places.
    ///
    /// Errors: `None` for no place or more than four.
    pub fn new(places: &[Place]) -> Option<Self> {
        if places.is_empty() || places.len() > 4 {
            return None;
        }
        let pack = |p: &Place| u64::from(p.memory.0) | (p.pass as u64) << 8 | 1 << 15;
        Some(Placement(
            places.iter().rev().fold(0, |word, p| word << 16 | pack(p)),
        ))
    }

    /// The placement that accepts one memory type.
    pub const fn only(memory: MemoryTypeId) -> Self {
        Placement(memory.0 as u64 | 1 << 15)
    }

    /// The packed word.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Reads a packed word; `None` when a bit is set that means nothing.
    pub fn from_word(word: u64) -> Option<Self> {
        let mut rest = word;
        while rest != 0 {
            if rest & (1 << 15) == 0 || rest & 0x7c00 != 0 || rest >> 8 & 3 == 3 {
                return None;
            }
            rest >>= 16;
        }
        (word != 0).then_some(Placement(word))
    }

    /// The places, best first.
    pub fn iter(self) -> impl Iterator<Item = Place> {
        (0..4)
            .map(move |slot| self.0 >> (slot * 16))
            .take_while(|w| w & (1 << 15) != 0)
            .map(|w| Place {
                memory: MemoryTypeId(w as u8),
                pass: match w >> 8 & 3 {
                    0 => Pass::Both,
                    1 => Pass::Desired,
                    _ => Pass::Fallback,
                },
            })
    }

    /// Whether a buffer in this memory type need not move.
    pub fn accepts(self, memory: MemoryTypeId) -> bool {
        self.iter().any(|p| p.memory == memory)
    }
}

/// What a job does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It only reads.
    Read,
    /// It writes, and may read.
    Write,
}

impl Intent {
    fn word(self) -> u64 {
        u64::from(self == Intent::Write)
    }

    fn from_word(word: u64) -> Option<Self> {
        match word {
            0 => Some(Intent::Read),
            1 => Some(Intent::Write),
            _ => None,
        }
    }
}

/// One buffer of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The buffer.
    pub buffer: BufferId,
    /// What the job does with it.
    pub intent: Intent,
}

/// A request for a new buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// The new buffer.
    pub buffer: BufferId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its size in bytes; not 0.
    pub bytes: u64,
    /// Where it may live.
    pub placement: Placement,
    /// Eviction priority, 0 to 3; 0 goes first.
    pub priority: u8,
    /// Its first use.
    pub stamp: Stamp,
}

/// A request to make buffers resident together and to run a job on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The job, which only the host can read.
    pub job: JobId,
    /// The timeline the job runs on.
    pub timeline: TimelineId,
    /// When the buffers are used.
    pub stamp: Stamp,
    /// Whether the buffers may stay where they are, be it outside their placement.
    pub anywhere: bool,
    /// The buffers; none twice.
    pub uses: Few<Use>,
}

/// A request to let another device read a buffer where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The import, new.
    pub attachment: AttachmentId,
    /// The buffer; it is brought into host memory, which every device reaches.
    pub buffer: BufferId,
    /// The importing device.
    pub device: DeviceId,
}

/// A request that takes note that an import has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detach {
    /// The import; one that is not known any more is no error.
    pub attachment: AttachmentId,
    /// Of which buffer.
    pub buffer: BufferId,
}

/// What the host asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make a buffer.
    Create(Create),
    /// Use buffers.
    Access(Access),
    /// End a buffer.
    Release(BufferId),
    /// A timeline has reached a value: what waited for it may go.
    Retire(Point),
    /// A buffer's content could not be saved: a copy or a fill failed, and so did its redo.
    Poisoned(BufferId),
    /// The device was lost and reset: its own memory shows nothing, and what was submitted and
    /// is not retired by an earlier request of the batch has not run.
    Lost,
    /// Another device begins to read a buffer.
    Attach(Attach),
    /// Another device has ended reading a buffer.
    Detach(Detach),
    /// Make an address space.
    CreateVm(CreateVm),
    /// End an address space: its mappings go once its jobs are over.
    CloseVm(CloseVm),
    /// Map and unmap.
    Bind(BindVm),
    /// Make an address space ready for a job.
    Submit(Submit),
    /// A job has been submitted on an address space that was ready.
    Used(Used),
}

const FLAG_ANYWHERE: u32 = 1;

impl Request {
    /// Appends the request to a request list.
    ///
    /// Errors: `false` when an access names more buffers than one item holds.
    #[must_use]
    pub fn encode(&self, out: &mut Writer) -> bool {
        match self {
            Request::Create(c) => out.item(16, c.tenant.0, |body| {
                body.extend([
                    c.buffer.0,
                    c.bytes,
                    c.placement.word(),
                    c.priority.into(),
                    c.stamp.0,
                ]);
            }),
            Request::Access(a) => {
                out.item(17, if a.anywhere { FLAG_ANYWHERE } else { 0 }, |body| {
                    body.extend([a.job.0, a.timeline.0.into(), a.stamp.0]);
                    body.extend(a.uses.iter().flat_map(|u| [u.buffer.0, u.intent.word()]));
                })
            }
            Request::Release(buffer) => out.item(18, 0, |body| body.push(buffer.0)),
            Request::Retire(p) => out.item(19, p.timeline.0, |body| body.push(p.value)),
            Request::Poisoned(buffer) => out.item(20, 0, |body| body.push(buffer.0)),
            Request::Lost => out.item(21, 0, |_| ()),
            Request::Attach(a) => out.item(22, a.device.0, |body| {
                body.extend([a.attachment.0, a.buffer.0]);
            }),
            Request::Detach(d) => out.item(23, 0, |body| body.extend([d.attachment.0, d.buffer.0])),
            Request::CreateVm(create) => create.encode(out),
            Request::CloseVm(close) => close.encode(out),
            Request::Bind(bind) => bind.encode(out),
            Request::Submit(submit) => submit.encode(out),
            Request::Used(used) => used.encode(out),
        }
    }

    fn decode(item: &Item<'_>) -> Result<Self, WireError> {
        let wrong = WireError::Value(item.number);
        match item.op {
            16 => {
                let [buffer, bytes, placement, priority, stamp] = item.exactly()?;
                Ok(Request::Create(Create {
                    buffer: BufferId(buffer),
                    tenant: TenantId(item.operand),
                    bytes,
                    placement: Placement::from_word(placement).ok_or(wrong)?,
                    priority: u8::try_from(priority)
                        .ok()
                        .filter(|p| *p < 4)
                        .ok_or(wrong)?,
                    stamp: Stamp(stamp),
                }))
            }
            17 => {
                let ([job, timeline, stamp], uses) = item.at_least()?;
                if item.operand & !FLAG_ANYWHERE != 0 || uses.len() % 2 != 0 {
                    return Err(wrong);
                }
                let one = |pair: &[u64]| {
                    Ok(Use {
                        buffer: BufferId(pair[0]),
                        intent: Intent::from_word(pair[1]).ok_or(wrong)?,
                    })
                };
                Ok(Request::Access(Access {
                    job: JobId(job),
                    timeline: TimelineId(item.narrow(timeline)?),
                    stamp: Stamp(stamp),
                    anywhere: item.operand & FLAG_ANYWHERE != 0,
                    uses: uses.chunks_exact(2).map(one).collect::<Result<_, _>>()?,
                }))
            }
            18 => item
                .exactly()
                .map(|[buffer]| Request::Release(BufferId(buffer))),
            19 => item.exactly().map(|[value]| {
                Request::Retire(Point {
                    timeline: TimelineId(item.operand),
                    value,
                })
            }),
            20 => item
                .exactly()
                .map(|[buffer]| Request::Poisoned(BufferId(buffer))),
            21 => item.exactly().map(|[]| Request::Lost),
            22 => item.exactly().map(|[attachment, buffer]| {
                Request::Attach(Attach {
                    attachment: AttachmentId(attachment),
                    buffer: BufferId(buffer),
                    device: DeviceId(item.operand),
                })
            }),
            23 => item.exactly().map(|[attachment, buffer]| {
                Request::Detach(Detach {
                    attachment: AttachmentId(attachment),
                    buffer: BufferId(buffer),
                })
            }),
            24 => CreateVm::decode(item).map(Request::CreateVm),
            25 => CloseVm::decode(item).map(Request::CloseVm),
            26 => BindVm::decode(item).map(Request::Bind),
            27 => Submit::decode(item).map(Request::Submit),
            28 => Used::decode(item).map(Request::Used),
            _ => Err(item.unknown()),
        }
    }
}
