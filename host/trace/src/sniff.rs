//! Recognises formats by their first bytes.

use crate::pickle;

/// How many first bytes [`sniff`] wants to see; fewer are fine if there are no more.
pub const SNIFF_LEN: usize = 4096;

/// What the first bytes of an input look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// No bytes.
    Empty,
    /// gzip data; what is inside is not looked at.
    Gzip,
    /// The CSV of this project.
    Csv,
    /// A pickle of protocol 2 to 5.
    Pickle,
    /// A pickle of protocol 0 or 1, or of a protocol newer than 5.
    UnreadPickle,
    /// A gpumm request log.
    RequestLog,
    /// A log of RMM's `logging_resource_adaptor`.
    Rmm,
    /// A call recording of the Vulkan Memory Allocator (VmaRecorder).
    VmaRecording,
    /// A JSON dump of VMA or D3D12MA.
    MemoryDump,
    /// Another known format; its name.
    Foreign(&'static str),
    /// Nothing known.
    Unknown,
}

impl Sniffed {
    /// The name of a format that is recognised but not read.
    pub(crate) fn unsupported(self) -> Option<&'static str> {
        Some(match self {
            Self::UnreadPickle => {
                "a pickle of a protocol other than 2 to 5 (save it again with protocol 4)"
            }
            Self::Rmm => "an RMM allocation log",
            Self::VmaRecording => "a Vulkan Memory Allocator call recording",
            Self::MemoryDump => "a VMA/D3D12MA JSON dump",
            Self::Foreign(name) => name,
            _ => return None,
        })
    }
}

/// Recognises an input by its first bytes (up to [`SNIFF_LEN`] of them).
pub fn sniff(prefix: &[u8]) -> Sniffed {
    match prefix {
        [] => return Sniffed::Empty,
        [0x1f, 0x8b, ..] => return Sniffed::Gzip,
        [0x80] => return Sniffed::Pickle,
        [0x80, protocol, rest @ ..] if rest.first().is_none_or(|&b| pickle::is_opcode(b)) => {
            return match protocol {
                2..=5 => Sniffed::Pickle,
                _ => Sniffed::UnreadPickle,
            };
        }
        _ => {}
    }
    if prefix.starts_with(b"gpumm-log ") {
        return Sniffed::RequestLog;
    }
    if prefix.starts_with(b"SQLite format 3\0") {
        return Sniffed::Foreign("an SQLite file (an Nsight Systems export?)");
    }
    if prefix.starts_with(b"PK\x03\x04") {
        return Sniffed::Foreign("a zip archive");
    }
    if is_old_pickle(prefix) {
        return Sniffed::UnreadPickle;
    }
    sniff_text(prefix)
}

fn sniff_text(prefix: &[u8]) -> Sniffed {
    let text = prefix.strip_prefix(b"\xef\xbb\xbf").unwrap_or(prefix);
    if text.starts_with(b"Vulkan Memory Allocator,Calls recording") {
        return Sniffed::VmaRecording;
    }
    if looks_like_json(text) {
        // Dumps may be UTF-16: without the zero bytes it reads like ASCII.
        let ascii: Vec<u8> = text.iter().copied().filter(|&b| b != 0).collect();
        let has = |key: &[u8]| ascii.windows(key.len()).any(|w| w == key);
        if has(b"\"hash_ids\"") {
            return Sniffed::Foreign("a Mooncake request trace");
        }
        let keys: [&[u8]; 4] = [
            b"\"General\"",
            b"\"Total\"",
            b"\"MemoryInfo\"",
            b"\"DefaultPools\"",
        ];
        if keys.iter().any(|key| has(key)) {
            return Sniffed::MemoryDump;
        }
        return Sniffed::Unknown;
    }
    let line = text.split(|&b| b == b'\n').next().unwrap_or_default();
    let columns: Vec<&[u8]> = line.split(|&b| b == b',').map(bare).collect();
    let count = |names: &[&str]| {
        let found = names.iter().filter(|n| columns.contains(&n.as_bytes()));
        found.count()
    };
    if count(&["time_ns", "action", "id", "bytes"]) >= 2 {
        Sniffed::Csv
    } else if count(&["Thread", "Time", "Action", "Pointer", "Size", "Stream"]) == 6 {
        Sniffed::Rmm
    } else if count(&["time_ms", "hook_type", "chunk_addr"]) == 3 {
        Sniffed::Foreign("an NVIDIA UVM chunk trace")
    } else if count(&["TIMESTAMP", "ContextTokens", "GeneratedTokens"]) == 3 {
        Sniffed::Foreign("an Azure LLM request trace")
    } else {
        Sniffed::Unknown
    }
}

/// A column name without spaces and quotes.
fn bare(column: &[u8]) -> &[u8] {
    let column = column.trim_ascii();
    let quoted = column.strip_prefix(b"\"");
    quoted.and_then(|c| c.strip_suffix(b"\"")).unwrap_or(column)
}

fn looks_like_json(text: &[u8]) -> bool {
    let text = match text {
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] => rest,
        _ => text,
    };
    let mut bytes = text.iter().filter(|&&b| b != 0 && !b.is_ascii_whitespace());
    bytes.next() == Some(&b'{')
}

/// Pickles of protocol 0 and 1 have no header: these are the ways they begin.
fn is_old_pickle(prefix: &[u8]) -> bool {
    let starts: [&[u8]; 6] = [b"(dp", b"(lp", b"(dq", b"(lq", b"}q", b"]q"];
    if starts.iter().any(|s| prefix.starts_with(s)) {
        return true;
    }
    // GLOBAL: "c", the module and the name, a line each, and something to do with it.
    let Some(rest) = prefix.strip_prefix(b"c") else {
        return false;
    };
    let mut lines = rest.splitn(3, |&b| b == b'\n');
    let mut name = || {
        lines.next().is_some_and(|l| {
            let word = |&b: &u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
            !l.is_empty() && l.iter().all(word)
        })
    };
    name()
        && name()
        && lines
            .next()
            .is_some_and(|l| l.first().is_some_and(|&b| pickle::is_opcode(b)))
}
