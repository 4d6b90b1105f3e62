//! The byte layer: counts what is read, takes gzip off, and bounds what comes out.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use crate::error::StreamFault;
use crate::limits::Limits;

/// Input bytes between two calls of the progress hook.
const PROGRESS_STEP: u64 = 256 << 10;
/// Output below this is never called a bomb.
const RATIO_FROM: u64 = 64 << 20;

/// The input as it lies on disk, with a count of the bytes taken from it.
pub(crate) struct Counted<'a, R> {
    inner: BufReader<R>,
    taken: u64,
    told: u64,
    progress: Option<&'a mut dyn FnMut(u64)>,
}

impl<'a, R: Read> Counted<'a, R> {
    pub(crate) fn new(inner: R, progress: Option<&'a mut dyn FnMut(u64)>) -> Self {
        Self {
            inner: BufReader::with_capacity(64 << 10, inner),
            taken: 0,
            told: 0,
            progress,
        }
    }

    fn tell(&mut self) {
        if let Some(progress) = &mut self.progress {
            self.told = self.taken;
            progress(self.taken);
        }
    }
}

impl<R: Read> BufRead for Counted<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // No layer above has to know about interruptions.
        while let Err(error) = self.inner.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        if self.inner.buffer().is_empty() && self.taken > self.told {
            self.tell();
        }
        Ok(self.inner.buffer())
    }

    fn consume(&mut self, n: usize) {
        self.inner.consume(n);
        self.taken += n as u64;
        if self.taken - self.told >= PROGRESS_STEP {
            self.tell();
        }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let n = available.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

/// The content of gzip data of one or more members.
pub(crate) struct Gunzip<'a, R> {
    /// `None` at the end.
    member: Option<GzDecoder<Counted<'a, R>>>,
    produced: u64,
    max_ratio: u64,
}

impl<'a, R: Read> Gunzip<'a, R> {
    pub(crate) fn new(input: Counted<'a, R>, limits: &Limits) -> Self {
        Self {
            member: Some(GzDecoder::new(input)),
            produced: 0,
            max_ratio: limits.max_compression_ratio,
        }
    }
}

impl<R: Read> Read for Gunzip<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let n = member.read(buf).map_err(explain)?;
            if n > 0 {
                self.produced += n as u64;
                let taken = member.get_ref().taken.max(1);
                if self.produced > RATIO_FROM && self.produced / taken > self.max_ratio {
                    let what = format!("gzip data that grows more than {} times", self.max_ratio);
                    return Err(io::Error::other(StreamFault::TooLarge(what)));
                }
                return Ok(n);
            }
            let Some(member) = self.member.take() else {
                break;
            };
            let mut input = member.into_inner();
            match input.fill_buf()? {
                [] => {}
                [0x1f] | [0x1f, 0x8b, ..] => self.member = Some(GzDecoder::new(input)),
                _ => {
                    let what = "there is something else after the end of the gzip data";
                    return Err(io::Error::other(StreamFault::Gzip(what.to_owned())));
                }
            }
        }
        Ok(0)
    }
}

fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other(StreamFault::Truncated),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            io::Error::other(StreamFault::Gzip(format!("damaged data ({error})")))
        }
        _ => error,
    }
}

/// Ends with an error when more than `max` bytes come.
pub(crate) struct Limited<R> {
    inner: R,
    left: u64,
    max: u64,
}

impl<R> Limited<R> {
    pub(crate) fn new(inner: R, max: u64) -> Self {
        Self {
            inner,
            left: max,
            max,
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            let what = format!("more than {} bytes of content", self.max);
            io::Error::other(StreamFault::TooLarge(what))
        })?;
        Ok(n)
    }
}

/// Reads up to `max` first bytes.
pub(crate) fn read_prefix(input: &mut impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut prefix = Vec::new();
    input.take(max as u64).read_to_end(&mut prefix)?;
    Ok(prefix)
}
