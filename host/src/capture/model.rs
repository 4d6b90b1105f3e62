//! What a capture says: the fields of its JSON, in their order, and how it is read back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version of the JSON's keys and their meaning. A key that is added keeps it: readers skip
/// what they do not know.
pub const SCHEMA_VERSION: u32 = 1;

/// What a failed device operation worked on, and what became of it: an error capture of gpumm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// The version of the keys and their meaning.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// The version of the gpumm that took it.
    pub gpumm_version: String,
    /// The device's name.
    pub device: String,
    /// What failed.
    pub failed: Failed,
    /// The sg-tables of the operation, as they were submitted.
    pub tables: Vec<Table>,
    /// The buffers of these tables.
    pub buffers: Vec<Buffer>,
    /// The address space of a job that names addresses, as it was when the job was submitted.
    #[serde(default)]
    pub vm: Option<AddressSpace>,
    /// Where the timelines stood.
    pub fences: Vec<Fence>,
    /// The plan of the operation that failed and those around it, newest last. Planning runs ahead
    /// of the device.
    pub plans: Vec<Plan>,
    /// The components that planned.
    pub components: Vec<Component>,
}

/// The operation that failed, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// Which kind of operation.
    pub operation: Operation,
    /// The point that it reaches.
    pub at: At,
    /// The client's job, in words.
    pub job: Option<String>,
    /// The device's error, in words.
    pub error: String,
    /// The error as one word for programs, such as injected, timed-out, lost, refused, iommu,
    /// poisoned or conflict; more may come.
    pub cause: String,
    /// What was done about it.
    pub repaired: Repaired,
}

/// Kinds of operations that touch memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Bytes travel between two tables.
    Copy,
    /// Bytes get a pattern.
    Fill,
    /// Entries of page tables are written, or what the device remembers of them is forgotten.
    Bind,
    /// A job of a client.
    Job,
}

/// A point on a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct At {
    /// The timeline's number.
    pub timeline: u32,
    /// The timeline's name.
    pub name: String,
    /// The value.
    pub value: u64,
}

/// What was done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Repaired {
    /// The CPU did the operation again from the tables; the content is right.
    ByCpu,
    /// It could not be done again: the content is lost, and nobody is shown what is there.
    Poisoned,
    /// Nothing: nobody needs what it would have done, or it is a job, whose client is told.
    NotNeeded,
    /// Nothing: the device was lost or reset, and what it would have written with it.
    Lost,
    /// The page tables could not be written again: no job runs on the address space any more.
    VmLost,
}

/// What a table was for the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It is read.
    Source,
    /// It is written.
    Target,
    /// A buffer of the job.
    Buffer,
}

/// An sg-table as it was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// What it was for the operation.
    pub role: Role,
    /// The table's number.
    pub table: u32,
    /// The allocation that it describes.
    pub allocation: u32,
    /// The buffer that lived there.
    pub buffer: u64,
    /// Whose buffer it is.
    pub tenant: u32,
    /// The memory type's name.
    pub memory: String,
    /// How many bytes of it the buffer has; they are what was read.
    pub bytes: u64,
    /// Its segments, in the buffer's byte order.
    pub segments: Vec<Segment>,
    /// SHA-256 of what it showed after the failure and before the repair, in hexadecimal; null
    /// when it could not be read.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Why it could not be read.
    pub unreadable: Option<String>,
    /// Its first bytes in hexadecimal, for a buffer that is marked for it.
    #[schemars(regex(pattern = "^([0-9a-f]{2})*$"))]
    pub content: Option<String>,
}

/// A piece of memory as the device addresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// Its DMA address.
    pub address: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// An address space: what a job could see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressSpace {
    /// Its number on the device.
    pub vm: u64,
    /// Whose it is.
    pub tenant: u32,
    /// The first ones by address.
    pub mappings: Vec<MappedRange>,
    /// How many more mappings there were.
    pub left_out: u64,
    /// The tables that its page tables showed, by number.
    pub tables: Vec<ShownTable>,
}

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MappedRange {
    /// Its first address.
    pub address: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The buffer; nothing where reads give zero and writes are dropped.
    pub buffer: Option<u64>,
    /// The byte of the buffer that the first address shows.
    pub offset: u64,
    /// Whether jobs may write there.
    pub write: bool,
    /// The table that the page tables showed; nothing where the buffer was somewhere else.
    pub table: Option<u32>,
}

/// Memory that page tables showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownTable {
    /// The table.
    pub table: u32,
    /// The allocation that it describes.
    pub allocation: u32,
    /// The buffer that lived there.
    pub buffer: u64,
    /// The memory type's name.
    pub memory: String,
    /// Its segments, in the buffer's byte order.
    pub segments: Vec<Segment>,
}

/// A buffer of the operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Buffer {
    /// Its number.
    pub buffer: u64,
    /// Whose it is.
    pub tenant: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// What became of its content; null where the operation only read it, or nothing was done.
    pub state: Option<BufferState>,
}

/// What became of a buffer's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BufferState {
    /// It is as it should be after the operation.
    Repaired,
    /// It is lost, and nobody is shown what is there.
    Poisoned,
    /// What the operation would have made of it is lost with the device. What system memory
    /// still holds survives.
    Lost,
}

/// Where a timeline stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fence {
    /// The timeline's number.
    pub timeline: u32,
    /// Its name.
    pub name: String,
    /// The value that it had reached.
    pub completed: u64,
    /// The last value that was submitted.
    pub submitted: u64,
}

/// A plan, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The number of the batch that it answers.
    pub batch: u64,
    /// Its operations in order, a line each.
    pub operations: Vec<String>,
    /// Which of them failed, counted from 0; null when it is none of this plan.
    pub failed: Option<u64>,
}

/// A component that planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes, in hexadecimal.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Its version, where it has one.
    pub version: Option<String>,
}

impl Component {
    /// Names a component by its bytes.
    pub fn new(name: &str, version: Option<&str>, bytes: &[u8]) -> Self {
        Component {
            name: name.into(),
            sha256: hex(&Sha256::digest(bytes)),
            version: version.map(str::to_owned),
        }
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('?');
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(b & 15)])
        .collect()
}

/// The JSON schema of [`Capture`], pretty printed.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Capture);
    // A schema is plain JSON, which can always be printed.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// Why a text is no capture that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON, or not the JSON of a capture.
    #[error("line {line}, column {column}: {why}")]
    At {
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// Another version of gpumm wrote it.
    #[error(
        "its schema version is {version}, and this gpumm reads version {SCHEMA_VERSION}; read it with {by}"
    )]
    Version {
        /// Its version.
        version: u64,
        /// Which gpumm can read it.
        by: String,
    },
    /// A field is not what it should be.
    #[error("{field}: {why}")]
    Field {
        /// Which field.
        field: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let why = text.rfind(" at line ").map_or(&*text, |at| &text[..at]);
        ReadError::At {
            line: error.line(),
            column: error.column(),
            why: why.into(),
        }
    }
}

impl Capture {
    /// Reads a capture.
    ///
    /// Errors: the text is none, or one of another version.
    pub fn from_json(text: &[u8]) -> Result<Self, ReadError> {
        /// What has to be known before the rest makes sense.
        #[derive(Deserialize)]
        struct Head {
            schema_version: u64,
            #[serde(default)]
            gpumm_version: serde_json::Value,
        }
        let head: Head = serde_json::from_slice(text)?;
        if head.schema_version != u64::from(SCHEMA_VERSION) {
            return Err(ReadError::Version {
                version: head.schema_version,
                by: match head.gpumm_version.as_str() {
                    Some(by) => format!("gpumm {by}, which wrote it"),
                    None => "the gpumm that wrote it".into(),
                },
            });
        }
        let capture: Capture = serde_json::from_slice(text)?;
        capture.check()?;
        Ok(capture)
    }

    /// What types do not say.
    fn check(&self) -> Result<(), ReadError> {
        let wrong = |field: String, why| Err(ReadError::Field { field, why });
        let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let hash = |text: &str| text.len() == 64 && digits(text);
        const NO_HASH: &str = "this is no SHA-256 in hexadecimal";
        for (n, table) in self.tables.iter().enumerate() {
            match &table.sha256 {
                Some(text) if !hash(text) => return wrong(format!("tables[{n}].sha256"), NO_HASH),
                None if table.unreadable.is_none() => {
                    let why = "it is missing without a reason in 'unreadable'";
                    return wrong(format!("tables[{n}].sha256"), why);
                }
                _ => {}
            }
            let content = table.content.as_deref().unwrap_or_default();
            if !content.len().is_multiple_of(2) || !digits(content) {
                let why = "these are no bytes in hexadecimal";
                return wrong(format!("tables[{n}].content"), why);
            }
        }
        for (n, plan) in self.plans.iter().enumerate() {
            let operations = plan.operations.len() as u64;
            if plan.failed.is_some_and(|index| index >= operations) {
                let why = "the plan does not have so many operations";
                return wrong(format!("plans[{n}].failed"), why);
            }
        }
        let unnamed = self.components.iter().position(|c| !hash(&c.sha256));
        match unnamed {
            Some(n) => wrong(format!("components[{n}].sha256"), NO_HASH),
            None => Ok(()),
        }
    }
}
