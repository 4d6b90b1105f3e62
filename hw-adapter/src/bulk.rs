//! Moves large amounts around the caches, small ones through them.
//!
//! The size of the command decides, not that of a piece: a large one leaves nothing of use in
//! the caches anyway. Streaming stores write whole lines without reading them first, which saves
//! a third of the traffic; and the source is asked for a page early, because the hardware guesses
//! neither across pages nor from one piece to the next. A small copy stays in the caches, where
//! whoever uses it next finds it: that is worth more than the copy's own time.
//!
//! `tests/benches/copy.rs` measures it.

#[cfg(target_arch = "x86_64")]
mod choice;
#[cfg(target_arch = "x86_64")]
mod stream;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
use stream::Stream;

/// The size from which a copy goes around the caches: where with its source it is several times
/// the second-level cache.
const COPY_AROUND: u64 = 4 << 20;

/// The size from which a fill does. The library's is fast as long as the third level takes what
/// it writes.
const FILL_AROUND: u64 = 32 << 20;

/// Pieces below this are not worth the work at their ends.
#[cfg(target_arch = "x86_64")]
const SMALL: usize = 512;

/// Pieces from here on may be faster with the string instruction than streamed; which it is,
/// depends on the processor.
#[cfg(target_arch = "x86_64")]
const LARGE: usize = 1 << 20;

/// Streams or strings for pieces from [`LARGE`] on.
#[cfg(target_arch = "x86_64")]
static STREAM_OR_STRING: choice::Choice = choice::Choice::new();

/// How far the source is asked for in front of the loads: a page.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// A way to copy; for measuring, engines choose themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The C library's `memcpy`.
    Library,
    /// The processor's string instruction, `rep movsb`.
    String,
    /// Streaming stores, and prefetches of the source.
    Stream,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 3] = [Method::Library, Method::String, Method::Stream];

    fn way(self) -> Option<Way> {
        match self {
            Method::Library => Some(Way::Library),
            #[cfg(target_arch = "x86_64")]
            Method::String => Some(Way::String),
            #[cfg(target_arch = "x86_64")]
            Method::Stream => Stream::detect().map(Way::Stream),
            #[cfg(not(target_arch = "x86_64"))]
            Method::String | Method::Stream => None,
        }
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        self.way().is_some()
    }
}

/// Bytes to copy between two slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the source.
    pub from: usize,
    /// Where it begins in the destination.
    pub to: usize,
    /// Its length.
    pub bytes: usize,
}

/// Copies the pieces, in order; with another method where the processor does not have this one.
///
/// # Panics
/// When a piece leaves a slice.
pub fn copy(method: Method, to: &mut [u8], from: &[u8], pieces: &[Piece]) {
    let way = method.way().unwrap_or(Way::Library);
    let work = |batch: &Batch| {
        for (index, piece) in pieces.iter().enumerate() {
            let source = &from[piece.from..][..piece.bytes];
            let next = pieces.get(index + 1);
            let next = next.map(|next| from.as_ptr().wrapping_add(next.from));
            batch.copy(&mut to[piece.to..][..piece.bytes], source, next);
        }
    };
    // SAFETY: `to` is borrowed exclusively until this returns, and the work above hands it to
    // nobody.
    unsafe { batch(way, work) }
}

/// How a batch moves bytes.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Library,
    #[cfg(target_arch = "x86_64")]
    String,
    #[cfg(target_arch = "x86_64")]
    Stream(Stream),
    /// Streams; for large pieces that or strings, whatever has turned out to be faster.
    #[cfg(target_arch = "x86_64")]
    Around(Stream),
}

impl Way {
    /// The fastest for a copy of so many bytes in all.
    pub(crate) fn to_copy(bytes: u64) -> Way {
        Way::around(bytes >= COPY_AROUND)
    }

    /// The fastest for a fill of so many bytes in all.
    pub(crate) fn to_fill(bytes: u64) -> Way {
        Way::around(bytes >= FILL_AROUND)
    }

    fn around(caches: bool) -> Way {
        #[cfg(target_arch = "x86_64")]
        if caches && let Some(stream) = Stream::detect() {
            return Way::Around(stream);
        }
        let _ = caches;
        Way::Library
    }
}

/// Copies and fills of one command.
pub(crate) struct Batch(Way);

/// Lets `work` move bytes in one way.
///
/// # Safety
/// Until this returns, no other thread uses bytes that the work writes: streaming stores are
/// ordered before what this thread does later only when the batch has ended.
pub(crate) unsafe fn batch<R>(way: Way, work: impl FnOnce(&Batch) -> R) -> R {
    // Its end comes also when the work panics.
    let batch = Batch(way);
    work(&batch)
}

impl Drop for Batch {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if let Way::Stream(_) | Way::Around(_) = self.0 {
            stream::fence();
        }
    }
}

impl Batch {
    /// Copies between slices of the same length. `next` is where the piece after this one will
    /// be read; nothing depends on it but time.
    pub(crate) fn copy(&self, to: &mut [u8], from: &[u8], next: Option<*const u8>) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Way::Around(stream) if to.len() >= LARGE => {
                STREAM_OR_STRING.act(to.len(), |way| match way {
                    0 => stream.copy(to, from, next),
                    _ => stream::string_copy(to, from),
                });
            }
            #[cfg(target_arch = "x86_64")]
            Way::Stream(stream) | Way::Around(stream) if to.len() >= SMALL => {
                stream.copy(to, from, next);
            }
            #[cfg(target_arch = "x86_64")]
            Way::String => stream::string_copy(to, from),
            _ => to.copy_from_slice(from),
        }
        let _ = next;
    }

    /// Repeats the 8 bytes of a word (little-endian) from the beginning of the slice on.
    pub(crate) fn fill(&self, to: &mut [u8], word: u64) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Way::Stream(stream) | Way::Around(stream) if to.len() >= SMALL => {
                stream.fill(to, word);
            }
            _ => fill(to, word),
        }
    }
}

/// As [`Batch::fill`], through the caches.
fn fill(to: &mut [u8], word: u64) {
    if u64::from_ne_bytes([word as u8; 8]) == word {
        return to.fill(word as u8);
    }
    let word = word.to_le_bytes();
    let mut words = to.chunks_exact_mut(8);
    for place in &mut words {
        place.copy_from_slice(&word);
    }
    let tail = words.into_remainder();
    tail.copy_from_slice(&word[..tail.len()]);
}
