//! A capture in words.

use crate::size::human;
use gpumm::capture::{
    AddressSpace, Buffer, BufferState, Capture, Component, Failed, Fence, Operation, Plan,
    Repaired, Role, Table,
};

/// What is shown of long lists unless all is wanted.
const SEGMENTS: usize = 4;
const MAPPINGS: usize = 8;
const OPERATIONS: usize = 6;
/// Digits of a hash, and bytes of a content.
const DIGITS: usize = 16;
const BYTES: usize = 16;

/// Lines of text. What comes from a file cannot break out of its line.
struct Page {
    text: String,
    all: bool,
}

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        for c in line.as_ref().chars() {
            match c {
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    self.text.extend(c.escape_default());
                }
                c => self.text.push(c),
            }
        }
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        self.line("");
        self.line(heading);
    }

    /// How many of a list are shown.
    fn shown(&self, len: usize, few: usize) -> usize {
        if self.all { len } else { len.min(few) }
    }

    /// The beginning of hexadecimal digits.
    fn digits(&self, digits: &str) -> String {
        let shown = self.shown(digits.len(), DIGITS);
        let rest = if shown < digits.len() { "..." } else { "" };
        format!("{}{rest}", digits.get(..shown).unwrap_or(digits))
    }
}

/// `1 byte`, `2 bytes`. Not in groups of three: these are also numbers to look for.
fn counted(n: u64, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

/// The whole text.
pub(super) fn text(name: &str, capture: &Capture, all: bool) -> String {
    let mut page = Page {
        text: String::new(),
        all,
    };
    let Capture {
        gpumm_version,
        device,
        ..
    } = capture;
    page.line(format!(
        "{name}: error capture of device {device}, gpumm {gpumm_version}"
    ));
    page.line("");
    page.line(what_failed(&capture.failed));
    page.line(what_was_done(capture));
    page.heading("Tables, as they were submitted:");
    if capture.tables.is_empty() {
        page.line("  none");
    }
    capture.tables.iter().for_each(|t| table(&mut page, t));
    if !capture.buffers.is_empty() {
        page.heading("Buffers:");
        capture.buffers.iter().for_each(|b| buffer(&mut page, b));
    }
    if let Some(vm) = &capture.vm {
        address_space(&mut page, vm);
    }
    fences(&mut page, &capture.fences);
    plans(&mut page, &capture.plans);
    if !capture.components.is_empty() {
        page.heading("Components:");
        components(&mut page, &capture.components);
    }
    page.text
}

/// What failed and why, in one sentence.
fn what_failed(failed: &Failed) -> String {
    let at = format!("{} {}", failed.at.name, failed.at.value);
    let what = match (failed.operation, &failed.job) {
        (Operation::Copy, _) => "copy".to_owned(),
        (Operation::Fill, _) => "fill".to_owned(),
        (Operation::Bind, _) => "write to page tables".to_owned(),
        (Operation::Job, None) => "job".to_owned(),
        (Operation::Job, Some(job)) => format!("job '{job}'"),
    };
    let Failed { error, cause, .. } = failed;
    format!("The {what} that reaches {at} failed ({cause}): {error}.")
}

/// What the manager did about it, in one sentence.
fn what_was_done(capture: &Capture) -> String {
    let poisoned = || {
        let poisoned = Some(BufferState::Poisoned);
        let hit = capture.buffers.iter().filter(|b| b.state == poisoned);
        let names: Vec<String> = hit.map(|b| format!("buffer {}", b.buffer)).collect();
        match names.as_slice() {
            [] => "what it would have written".to_owned(),
            [one] => one.clone(),
            [most @ .., last] => format!("{} and {last}", most.join(", ")),
        }
    };
    match capture.failed.repaired {
        Repaired::ByCpu => "The CPU did it again from the tables below, before its fence was \
             reached: the content is right."
            .into(),
        Repaired::Poisoned => format!(
            "It could not be done again, so the content of {} is lost: whoever uses it is told, \
             and nobody is shown what is there.",
            poisoned()
        ),
        Repaired::NotNeeded if capture.failed.operation == Operation::Job => {
            "Jobs are not done again: its client is told.".into()
        }
        Repaired::NotNeeded => "Nothing had to be done about it: nobody needs its result.".into(),
        Repaired::VmLost => {
            "The page tables could not be written again: no job runs on the address \
             space any more."
                .into()
        }
        Repaired::Lost => "The device was lost or reset, and what it would have written with it; \
             what system memory still holds survives."
            .into(),
    }
}

fn table(page: &mut Page, table: &Table) {
    let role = match table.role {
        Role::Source => "source",
        Role::Target => "target",
        Role::Buffer => "buffer",
    };
    page.line(format!(
        "  {role}  table {} of allocation {}: buffer {} of tenant {}, {} in {}",
        table.table,
        table.allocation,
        table.buffer,
        table.tenant,
        human(table.bytes),
        table.memory
    ));
    let len = table.segments.len();
    let shown = page.shown(len, SEGMENTS);
    for segment in table.segments.iter().take(shown) {
        let (bytes, address) = (human(segment.bytes), segment.address);
        page.line(format!("          {bytes:>9} at {address:#x}"));
    }
    if shown < len {
        let more = counted((len - shown) as u64, "more segment");
        page.line(format!("          and {more}; --all lists them"));
    }
    match (&table.sha256, &table.unreadable) {
        (Some(sha256), _) => {
            let sha256 = page.digits(sha256);
            page.line(format!("          showed SHA-256 {sha256}"));
        }
        (None, why) => {
            let why = why.as_deref().unwrap_or("nobody knows why");
            page.line(format!("          could not be read: {why}"));
        }
    }
    if let Some(content) = &table.content {
        self::content(page, content);
    }
}

/// Bytes, 16 in a line.
fn content(page: &mut Page, content: &str) {
    let digits: Vec<char> = content.chars().collect();
    let len = digits.len() / 2;
    page.line(format!(
        "          began with {}:",
        counted(len as u64, "byte")
    ));
    let shown = page.shown(len, BYTES);
    for (row, bytes) in digits[..shown * 2].chunks(32).enumerate() {
        let bytes: Vec<String> = bytes.chunks(2).map(|pair| pair.iter().collect()).collect();
        page.line(format!("          {:6x}  {}", row * 16, bytes.join(" ")));
    }
    if shown < len {
        let more = counted((len - shown) as u64, "more byte");
        page.line(format!("          and {more}; --all prints them"));
    }
}

fn buffer(page: &mut Page, buffer: &Buffer) {
    let state = match buffer.state {
        None => "",
        Some(BufferState::Repaired) => ": content repaired",
        Some(BufferState::Poisoned) => ": poisoned",
        Some(BufferState::Lost) => ": lost with the device",
    };
    let (number, tenant, bytes) = (buffer.buffer, buffer.tenant, human(buffer.bytes));
    page.line(format!(
        "  buffer {number} of tenant {tenant}, {bytes}{state}"
    ));
}

/// Mappings, by address, as a kernel's debugger lists them.
fn address_space(page: &mut Page, vm: &AddressSpace) {
    page.heading(&format!(
        "Address space {} of tenant {}, when the job was submitted:",
        vm.vm, vm.tenant
    ));
    let len = vm.mappings.len();
    let shown = page.shown(len, MAPPINGS);
    for m in vm.mappings.iter().take(shown) {
        let end = m.address.saturating_add(m.bytes);
        let rights = if m.write { "rw" } else { "ro" };
        let what = match (m.buffer, m.table) {
            (None, _) => "sparse".to_owned(),
            (Some(buffer), Some(table)) => {
                format!("buffer {buffer} from {:#x}, table {table}", m.offset)
            }
            (Some(buffer), None) => {
                format!("buffer {buffer} from {:#x}, not shown", m.offset)
            }
        };
        page.line(format!(
            "  [{:#014x}, {end:#014x}) {rights}  {what}",
            m.address
        ));
    }
    let more = (len - shown) as u64 + vm.left_out;
    if more > 0 {
        page.line(format!("  and {}", counted(more, "more mapping")));
    }
}

fn fences(page: &mut Page, fences: &[Fence]) {
    if fences.is_empty() {
        return;
    }
    page.heading("Timelines:");
    let width = |text: &str| text.chars().count();
    let name = fences.iter().map(|f| width(&f.name)).max().unwrap_or(0);
    for fence in fences {
        let Fence {
            completed,
            submitted,
            ..
        } = fence;
        page.line(format!(
            "  {:name$}  had reached {completed} of {submitted} submitted",
            fence.name
        ));
    }
}

fn plans(page: &mut Page, plans: &[Plan]) {
    if plans.is_empty() {
        return;
    }
    page.heading("Plans, newest last:");
    for plan in plans {
        let operations = counted(plan.operations.len() as u64, "operation");
        page.line(format!("  batch {}, {operations}", plan.batch));
        let failed = plan.failed.and_then(|index| usize::try_from(index).ok());
        let len = plan.operations.len();
        let shown = page.shown(len, OPERATIONS);
        // Around the one that failed; otherwise the first ones.
        let begin = failed.map_or(0, |at| at.saturating_sub(shown / 2));
        let begin = begin.min(len - shown);
        if begin > 0 {
            page.line(format!("       ({begin} before)"));
        }
        let operations = plan.operations.iter().enumerate();
        for (index, operation) in operations.skip(begin).take(shown) {
            let mark = if Some(index) == failed { "->" } else { "  " };
            page.line(format!("    {mark} {operation}"));
        }
        let after = len - shown - begin;
        if after > 0 {
            page.line(format!("       ({after} more; --all lists them)"));
        }
    }
    if plans.iter().all(|plan| plan.failed.is_none()) {
        page.line("  The operation that failed is of an older plan.");
    }
}

fn components(page: &mut Page, components: &[Component]) {
    for component in components {
        let version = component.version.as_deref().unwrap_or("without a version");
        let sha256 = page.digits(&component.sha256);
        page.line(format!("  {}, {version}, SHA-256 {sha256}", component.name));
    }
}
