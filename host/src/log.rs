//! The request log: every input of a device's planner, and a digest of every plan it led to.
//!
//! Replaying a log gives the same plans byte for byte ([`replay_log`](crate::replay_log)); that is the bug report, the
//! differential test and the kill test.
//!
//! Shape: the line `gpumm-log 2`, a line of JSON ([`LogHeader`]), then frames of little-endian
//! words: `tag | length in words`, and the words. Tags: 1 job (`number`, then the job), 2 requests
//! (a packed request list without grants), 3 digest (SHA-256 of the batch's plans), 4 end (the
//! number of batches), 5 mappings (of those that the batch's plans asked for, counted from 0, the
//! ones that failed; absent when none did), 6 growth (what device memory had after each time that
//! more was asked of the device, or 0 where it refused; absent when it was not asked). A log without an end was cut off.
//! Jobs on address spaces are not kept, only which addresses they name and when they are over.
//! The log of a device that shares buffers with others is not planned alike again without them.

use crate::error::Error;
use crate::job::Job;
use gpumm_contract::JobId;
use gpumm_contract::request::{Batch, Grants, Request};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};

/// First bytes of every log.
pub const MAGIC: &str = "gpumm-log ";
/// Version of the format.
const VERSION: u32 = 2;
/// The longest frame that is read, in words: a damaged length must not reserve the machine.
const MAX_FRAME: usize = 1 << 24;
/// The most bytes that the writes of one batch may claim; a log holds no client bytes, so they are
/// made up as zeros when it is replayed.
const MAX_WRITES: u64 = 4 << 30;

const JOB: u64 = 1;
const REQUESTS: u64 = 2;
const DIGEST: u64 = 3;
const END: u64 = 4;
const MAPPINGS: u64 = 5;
const GROWTH: u64 = 6;

/// What a log says about the device it was written for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHeader {
    /// The kind of device, `sim`.
    pub device: String,
    /// Bytes of device memory.
    pub vram_bytes: u64,
    /// Its granule in bytes.
    pub granule: u64,
    /// Bytes of system memory.
    pub system_bytes: u64,
    /// How many of them the device's DMA may reach at once.
    pub gtt_bytes: u64,
    /// How many copy engines the device has.
    pub copy_engines: u32,
    /// How many contexts it has for queues of jobs on address spaces; 0 where it has no page tables.
    #[serde(default)]
    pub contexts: u32,
    /// What device memory had at first, in bytes, where that was not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_bytes: Option<u64>,
    /// What allocations crossed no multiple of, in bytes, where there was such a border.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_bytes: Option<u64>,
    /// The strategy of device memory.
    pub strategy: String,
}

/// Writes a log; what is dropped without [`LogWriter::end`] reads as cut off.
pub struct LogWriter {
    out: Box<dyn Write + Send>,
    batches: u64,
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter")
            .field("batches", &self.batches)
            .finish_non_exhaustive()
    }
}

fn failed(error: io::Error) -> Error {
    Error::Log(format!("cannot be written: {error}"))
}

impl LogWriter {
    /// Begins a log.
    ///
    /// Errors: the header cannot be written.
    pub fn new(mut out: Box<dyn Write + Send>, header: &LogHeader) -> Result<Self, Error> {
        let json = serde_json::to_string(header).map_err(|e| Error::Log(e.to_string()))?;
        write!(out, "{MAGIC}{VERSION}\n{json}\n").map_err(failed)?;
        Ok(LogWriter { out, batches: 0 })
    }

    fn frame(&mut self, tag: u64, words: &[u64]) -> Result<(), Error> {
        let head = tag | (words.len() as u64) << 8;
        let bytes: Vec<u8> = std::iter::once(&head)
            .chain(words)
            .flat_map(|w| w.to_le_bytes())
            .collect();
        self.out.write_all(&bytes).map_err(failed)
    }

    /// The requests of a batch and their jobs.
    pub(crate) fn requests(
        &mut self,
        requests: &[Request],
        job: impl Fn(JobId) -> Option<Vec<u64>>,
    ) -> Result<(), Error> {
        for request in requests {
            if let Request::Access(access) = request
                && let Some(words) = job(access.job)
            {
                let named: Vec<u64> = std::iter::once(access.job.0).chain(words).collect();
                self.frame(JOB, &named)?;
            }
        }
        let batch = Batch {
            grants: Grants::default(),
            requests: requests.to_vec(),
        };
        let words = batch
            .encode()
            .ok_or_else(|| Error::Log("a batch is too large".into()))?;
        self.frame(REQUESTS, &words)
    }

    /// The digest of the plans of the batch, which mappings failed on the way to them, and what
    /// device memory had when more of it was asked for.
    pub(crate) fn digest(
        &mut self,
        digest: [u64; 4],
        failed: &[u64],
        grown: &[u64],
    ) -> Result<(), Error> {
        for (tag, words) in [(MAPPINGS, failed), (GROWTH, grown)] {
            if !words.is_empty() {
                self.frame(tag, words)?;
            }
        }
        self.batches += 1;
        self.frame(DIGEST, &digest)
    }

    /// Ends the log.
    ///
    /// Errors: it cannot be written completely.
    pub fn end(mut self) -> Result<(), Error> {
        self.frame(END, &[self.batches])?;
        self.out.flush().map_err(failed)
    }
}

/// A digest as words.
pub(crate) fn words_of(digest: [u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// One batch of a log.
#[derive(Clone, Debug)]
pub(crate) struct LoggedBatch {
    pub(crate) jobs: Vec<(JobId, Job)>,
    pub(crate) requests: Vec<Request>,
    pub(crate) digest: [u64; 4],
    /// Mappings that failed.
    pub(crate) failed_mappings: BTreeSet<u64>,
    /// What the device answered when more device memory was asked for.
    pub(crate) grown: Vec<u64>,
}

/// Reads a log.
pub struct LogReader<R> {
    input: R,
    header: LogHeader,
    /// Bytes read, for messages.
    at: u64,
    batches: u64,
}

impl<R> fmt::Debug for LogReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader")
            .field("header", &self.header)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<R: Read> LogReader<R> {
    /// Reads the header.
    ///
    /// Errors: no log, another version, or a damaged header.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let mut at = 0;
        let first = line(&mut input, &mut at)?;
        let version = first
            .strip_prefix(MAGIC)
            .and_then(|v| v.parse::<u32>().ok());
        match version {
            Some(VERSION) => {}
            Some(other) => return Err(Error::Log(format!("version {other} is not {VERSION}"))),
            None => return Err(Error::Log("byte 0: this is not a request log".into())),
        }
        let begin = at;
        let json = line(&mut input, &mut at)?;
        let header = serde_json::from_str(&json)
            .map_err(|e| Error::Log(format!("byte {begin}: damaged header: {e}")))?;
        Ok(LogReader {
            input,
            header,
            at,
            batches: 0,
        })
    }

    /// What the log says about its device.
    pub fn header(&self) -> &LogHeader {
        &self.header
    }

    /// How many batches were read.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    fn damaged(&self, why: impl fmt::Display) -> Error {
        Error::Log(format!("byte {}: {why}", self.at))
    }

    fn frame(&mut self) -> Result<(u64, Vec<u64>), Error> {
        let mut word = [0; 8];
        self.input
            .read_exact(&mut word)
            .map_err(|_| self.damaged("the log ends inside a batch"))?;
        let head = u64::from_le_bytes(word);
        let len = usize::try_from(head >> 8).unwrap_or(usize::MAX);
        if len > MAX_FRAME {
            return Err(self.damaged(format!("a frame of {len} words")));
        }
        // Read as it comes, so that a false length costs nothing.
        let mut bytes = Vec::new();
        let wanted = len as u64 * 8;
        let read = (&mut self.input).take(wanted).read_to_end(&mut bytes);
        if read.map_err(|e| self.damaged(e))? as u64 != wanted {
            return Err(self.damaged("the log ends inside a frame"));
        }
        self.at += 8 + wanted;
        Ok((
            head & 0xff,
            bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| u64::from_le_bytes(*b))
                .collect(),
        ))
    }

    /// The next batch; `None` behind the last.
    ///
    /// Errors: the log is damaged or cut off.
    pub(crate) fn next(&mut self) -> Result<Option<LoggedBatch>, Error> {
        let (mut jobs, mut requests, mut writes) = (Vec::new(), None, 0);
        let (mut failed_mappings, mut grown) = (BTreeSet::new(), Vec::new());
        loop {
            let begin = self.at;
            let (tag, words) = self.frame()?;
            let bad = |why: &str| Error::Log(format!("byte {begin}: {why}"));
            match (tag, words.as_slice()) {
                (JOB, [id, job @ ..]) => {
                    let job =
                        Job::from_words(job).ok_or_else(|| bad("a job that cannot be read"))?;
                    if let Job::Write { data, .. } = &job {
                        writes += data.len() as u64;
                    }
                    if writes > MAX_WRITES {
                        return Err(bad("writes of more than 4 GiB in one batch"));
                    }
                    jobs.push((JobId(*id), job));
                }
                (REQUESTS, words) if requests.is_none() => {
                    let batch = Batch::decode(words).map_err(|e| bad(&e.to_string()))?;
                    requests = Some(batch.requests);
                }
                (MAPPINGS, failed) if requests.is_some() => {
                    failed_mappings.extend(failed);
                }
                (GROWTH, answers) if requests.is_some() => grown.extend(answers),
                (DIGEST, &[a, b, c, d]) => {
                    let requests = requests.ok_or_else(|| bad("a digest without requests"))?;
                    self.batches += 1;
                    return Ok(Some(LoggedBatch {
                        jobs,
                        requests,
                        digest: [a, b, c, d],
                        failed_mappings,
                        grown,
                    }));
                }
                (END, &[count]) if jobs.is_empty() && requests.is_none() => {
                    if count != self.batches {
                        return Err(bad("the number of batches is wrong"));
                    }
                    return Ok(None);
                }
                _ => return Err(bad("an unknown frame")),
            }
        }
    }
}

fn line(input: &mut impl Read, at: &mut u64) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while bytes.len() < 4096 {
        let read = input
            .read(&mut byte)
            .map_err(|e| Error::Log(format!("byte {at}: {e}")))?;
        if read == 0 {
            return Err(Error::Log(format!(
                "byte {at}: the log ends inside its header"
            )));
        }
        *at += 1;
        if byte[0] == b'\n' {
            return String::from_utf8(bytes)
                .map_err(|_| Error::Log("byte 0: the header is not text".into()));
        }
        bytes.push(byte[0]);
    }
    Err(Error::Log("byte 0: the header has no end".into()))
}
