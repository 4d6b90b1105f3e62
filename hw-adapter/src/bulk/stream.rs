//! Streaming stores and string instructions of x86-64.

use std::arch::x86_64::{
    __m256i, __m512i, _MM_HINT_T1, _mm_prefetch, _mm_sfence, _mm256_loadu_si256,
    _mm256_set1_epi64x, _mm256_stream_si256, _mm512_loadu_si512, _mm512_set1_epi64,
    _mm512_stream_si512,
};

use super::AHEAD;

/// What streaming stores write at once without reading.
const LINE: usize = 64;

/// What a loop does at once.
const GROUP: usize = 4 * LINE;

/// The widest vectors of this processor.
#[derive(Clone, Copy)]
pub(crate) struct Stream(Width);

/// # Invariants
/// A value stands for instructions that the processor was asked for.
#[derive(Clone, Copy)]
enum Width {
    /// AVX-512F.
    Bits512,
    /// AVX2.
    Bits256,
}

impl Stream {
    /// `None` for processors without AVX2, where the library's copy is as fast.
    pub(super) fn detect() -> Option<Stream> {
        if is_x86_feature_detected!("avx512f") {
            Some(Stream(Width::Bits512))
        } else {
            Stream::narrow()
        }
    }

    /// With the narrower of the vectors.
    pub(super) fn narrow() -> Option<Stream> {
        is_x86_feature_detected!("avx2").then_some(Stream(Width::Bits256))
    }

    /// See [`Batch::copy`](super::Batch::copy); whole lines of the destination are streamed.
    pub(super) fn copy(self, to: &mut [u8], from: &[u8], next: Option<*const u8>) {
        let (to_head, to, to_tail) = lines(to);
        let (from_head, rest) = from.split_at(to_head.len());
        let (from, from_tail) = rest.split_at(to.len());
        to_head.copy_from_slice(from_head);
        // Up to here the loads are followed by others of this piece, then by the next one's.
        let own = to.len().saturating_sub(AHEAD) / LINE * LINE;
        let (to, to_last) = to.split_at_mut(own);
        let (from, from_last) = from.split_at(own);
        if own > 0 {
            self.copy_lines(to, from, from.as_ptr().wrapping_add(AHEAD));
        }
        self.copy_lines(to_last, from_last, next.unwrap_or(from_last.as_ptr()));
        to_tail.copy_from_slice(from_tail);
    }

    /// `to` consists of lines; `ahead` is asked for as far as `from` is read.
    fn copy_lines(self, to: &mut [u8], from: &[u8], ahead: *const u8) {
        assert!(to.len() == from.len() && is_lines(to));
        let (to, from, len) = (to.as_mut_ptr(), from.as_ptr(), to.len());
        match self.0 {
            // SAFETY: the slices are `len` bytes each and do not overlap, one being mutable;
            // lengths and alignment were just compared; the processor has the instructions.
            Width::Bits512 => unsafe { copy_512(to, from, len, ahead) },
            // SAFETY: as above.
            Width::Bits256 => unsafe { copy_256(to, from, len, ahead) },
        }
    }

    /// See [`Batch::fill`](super::Batch::fill).
    pub(super) fn fill(self, to: &mut [u8], word: u64) {
        let (head, to, tail) = lines(to);
        super::fill(head, word);
        // Lines are whole words, so the tail begins where the lines did within the word.
        let word = word.rotate_right((head.len() % 8) as u32 * 8);
        assert!(is_lines(to));
        let (at, len) = (to.as_mut_ptr(), to.len());
        match self.0 {
            // SAFETY: the slice is `len` bytes, borrowed exclusively; length and alignment were
            // just looked at; the processor has the instructions.
            Width::Bits512 => unsafe { fill_512(at, len, word) },
            // SAFETY: as above.
            Width::Bits256 => unsafe { fill_256(at, len, word) },
        }
        super::fill(tail, word);
    }
}

/// Cuts into what precedes the first whole line, the whole lines, and the rest.
fn lines(bytes: &mut [u8]) -> (&mut [u8], &mut [u8], &mut [u8]) {
    let at = bytes.as_ptr() as usize;
    let head = (at.next_multiple_of(LINE) - at).min(bytes.len());
    let (head, rest) = bytes.split_at_mut(head);
    let (lines, tail) = rest.split_at_mut(rest.len() / LINE * LINE);
    (head, lines, tail)
}

fn is_lines(bytes: &[u8]) -> bool {
    bytes.len().is_multiple_of(LINE)
        && (bytes.is_empty() || (bytes.as_ptr() as usize).is_multiple_of(LINE))
}

/// Orders the streaming stores before every later store of this thread.
pub(super) fn fence() {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { _mm_sfence() }
}

/// Copies with `rep movsb`.
pub(super) fn string_copy(to: &mut [u8], from: &[u8]) {
    assert_eq!(to.len(), from.len());
    // SAFETY: both slices are that long and do not overlap, one being mutable. The direction
    // flag is clear, as the ABI demands.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") to.len() => _,
            inout("rdi") to.as_mut_ptr() => _,
            inout("rsi") from.as_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Defines the two loops for one width of vectors.
macro_rules! loops {
    ($feature:literal, $vector:ty, $copy:ident, $fill:ident, $load:ident, $stream:ident, $set:ident) => {
        /// Copies lines.
        ///
        /// # Safety
        /// The processor has the feature; `to` is valid for writes and `from` for reads of `len`
        /// bytes, a multiple of [`LINE`]; they do not overlap; `to` is aligned to [`LINE`].
        /// `ahead` may be anything.
        #[target_feature(enable = $feature)]
        unsafe fn $copy(to: *mut u8, from: *const u8, len: usize, ahead: *const u8) {
            const VECTORS: usize = LINE / size_of::<$vector>();
            let mut at = 0;
            while at + GROUP <= len {
                for line in 0..GROUP / LINE {
                    // Of whatever address, a prefetch does nothing that can be seen.
                    _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(at + line * LINE).cast());
                }
                // SAFETY: the caller vouches for the bytes; loads need no alignment, and
                // vectors of a line are aligned as the stores need.
                unsafe {
                    let from = from.add(at).cast::<$vector>();
                    let to = to.add(at).cast::<$vector>();
                    // All loads first: they wait for memory, the stores only for them.
                    let mut vectors = [$set(0); GROUP / LINE * VECTORS];
                    for (n, vector) in vectors.iter_mut().enumerate() {
                        *vector = $load(from.add(n));
                    }
                    for (n, vector) in vectors.into_iter().enumerate() {
                        $stream(to.add(n), vector);
                    }
                }
                at += GROUP;
            }
            while at < len {
                // SAFETY: as above.
                unsafe {
                    let vector = $load(from.add(at).cast::<$vector>());
                    $stream(to.add(at).cast::<$vector>(), vector);
                }
                at += size_of::<$vector>();
            }
        }

        /// Fills lines with a word.
        ///
        /// # Safety
        /// The processor has the feature; `to` is valid for writes of `len` bytes, a multiple
        /// of [`LINE`], and aligned to it.
        #[target_feature(enable = $feature)]
        unsafe fn $fill(to: *mut u8, len: usize, word: u64) {
            let vector = $set(word as i64);
            for at in (0..len).step_by(size_of::<$vector>()) {
                // SAFETY: the caller vouches for the bytes and the alignment.
                unsafe { $stream(to.add(at).cast::<$vector>(), vector) }
            }
        }
    };
}

loops!(
    "avx512f",
    __m512i,
    copy_512,
    fill_512,
    _mm512_loadu_si512,
    _mm512_stream_si512,
    _mm512_set1_epi64
);
loops!(
    "avx2",
    __m256i,
    copy_256,
    fill_256,
    _mm256_loadu_si256,
    _mm256_stream_si256,
    _mm256_set1_epi64x
);
