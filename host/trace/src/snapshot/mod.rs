//! Turns a PyTorch CUDA memory snapshot into events.
//!
//! An allocation begins at `alloc` and ends at `free_completed`. Blocks that lived before
//! the recording are found by walking back from the final state in `segments`; they come
//! first, at time 0. Segment events and `oom` are kept but are no allocations.

mod annotations;
mod ops;
mod shape;

use std::collections::HashMap;

use crate::builder::{Builder, Row};
use crate::error::{ErrorKind, Fault};
use crate::event::{Format, OtherKind, Trace};
use crate::limits::Limits;
use crate::pickle::{Pickle, Value};
use annotations::Annotations;
use ops::Ops;
use shape::{Keys, Path, Record, Shape};

const ENTRY: [&str; 6] = ["action", "addr", "size", "stream", "time_us", "frames"];
const SEGMENT: [&str; 4] = ["device", "address", "stream", "blocks"];
const BLOCK: [&str; 3] = ["address", "size", "state"];

/// Streams in order of their first appearance; the default stream is always 0.
struct Streams(HashMap<i128, u32>);

impl Streams {
    fn ordinal(&mut self, stream: i128) -> u32 {
        // Never more than the values of the pickle, which are counted in far less.
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(stream).or_insert(next)
    }
}

/// Size and stream of the blocks by address.
type Blocks = HashMap<u64, (u64, i128)>;

pub(crate) fn read(pickle: &Pickle, device: Option<u32>, limits: &Limits) -> Result<Trace, Fault> {
    Ok(convert(pickle, device, limits)?)
}

fn convert(pickle: &Pickle, device: Option<u32>, limits: &Limits) -> Result<Trace, ErrorKind> {
    let shape = Shape::new(pickle);
    let mut builder = Builder::new(limits);
    let keys = shape.keys(["device_traces", "segments", "external_annotations"]);
    let top = shape.record(Path::Top, pickle.root, &keys)?;
    let traces = shape.list(Path::Key("device_traces"), top.need(0)?)?;
    let (device, trace) = choose(&shape, traces, device, &mut builder)?;
    builder.devices.push(format!("cuda:{device}"));

    let entries = Entries {
        shape: &shape,
        keys: shape.keys(ENTRY),
        device,
        trace,
    };
    let mut streams = Streams(HashMap::from([(0, 0)]));
    let mut live: HashMap<u64, (u64, u64)> = HashMap::new();

    let mut blocks = active_blocks(&shape, &top, device, limits)?;
    entries.walk_back(&mut blocks)?;
    if !blocks.is_empty() {
        let note = format!(
            "{} blocks are older than the recording and are placed at time 0",
            blocks.len()
        );
        builder.notes.push(note);
    }
    let mut blocks: Vec<_> = blocks.into_iter().collect();
    blocks.sort_unstable_by_key(|(addr, _)| *addr);
    let tag = builder.name("before-recording")?;
    for (addr, (bytes, stream)) in blocks {
        let row = Row {
            time_ns: 0,
            addr,
            bytes,
            stream: streams.ordinal(stream),
            tag,
            op: 0,
        };
        let id = builder
            .alloc(row)
            .map_err(|e| within(&format!("block {addr:#x} of segments"), e))?;
        live.insert(addr, (id, bytes));
    }
    let annotations = Annotations::new(&shape, &top, device)?;
    entries.play(annotations, &mut streams, &mut live, &mut builder)?;
    Ok(builder.finish(Format::TorchSnapshot))
}

/// The device to import and its entries.
fn choose<'p>(
    shape: &Shape<'p>,
    traces: &'p [Value],
    wanted: Option<u32>,
    builder: &mut Builder<'_>,
) -> Result<(usize, &'p [Value]), ErrorKind> {
    let mut with_events = Vec::new();
    for (i, trace) in traces.iter().enumerate() {
        if !shape.list(Path::Device(i), *trace)?.is_empty() {
            with_events.push(i);
        }
    }
    let mut device = wanted.unwrap_or(0) as usize;
    if wanted.is_none()
        && !with_events.contains(&0)
        && let Some(&first) = with_events.first()
    {
        device = first;
        let note = format!("device 0 has no events; device {device} is imported");
        builder.notes.push(note);
    }
    if wanted.is_some() && device >= traces.len() {
        return Err(ErrorKind::Semantic(format!(
            "device {device} is asked for, but the snapshot has {} devices",
            traces.len()
        )));
    }
    let others = with_events.iter().filter(|&&i| i != device).count();
    if others > 0 {
        builder.notes.push(format!(
            "{others} other devices have events too, which are not imported"
        ));
    }
    let trace = match traces.get(device) {
        Some(trace) => shape.list(Path::Device(device), *trace)?,
        None => &[],
    };
    if trace.is_empty() {
        let note = "the snapshot has no recorded events (was recording enabled?)";
        builder.notes.push(note.to_owned());
    }
    Ok((device, trace))
}

/// The blocks of one device that are in use at the end.
fn active_blocks(
    shape: &Shape<'_>,
    top: &Record<3>,
    device: usize,
    limits: &Limits,
) -> Result<Blocks, ErrorKind> {
    let mut active = Blocks::new();
    let segment_keys = shape.keys(SEGMENT);
    let block_keys = shape.keys(BLOCK);
    let segments = match top.get(1) {
        Some(value) => shape.list(Path::Key("segments"), value)?,
        None => &[],
    };
    let mut visited = 0u64;
    for (i, segment) in segments.iter().enumerate() {
        let segment = shape.record(Path::Segment(i), *segment, &segment_keys)?;
        if segment.int(0)? != device as i128 {
            continue;
        }
        let stream = segment.int_or(2, 0)?;
        let mut next = Some(segment.u64(1)?);
        let blocks = shape.list(Path::Blocks(i), segment.need(3)?)?;
        // Segments may share one list: bound the work, not only the pickle.
        visited = visited.saturating_add(blocks.len() as u64);
        if visited > limits.max_events {
            let max = limits.max_events;
            return Err(ErrorKind::TooLarge(format!("more than {max} blocks")));
        }
        for (j, block) in blocks.iter().enumerate() {
            let path = Path::Block(i, j);
            let block = shape.record(path, *block, &block_keys)?;
            // Older files give no addresses: blocks then follow each other.
            let addr = match block.get(0) {
                Some(_) => block.u64(0)?,
                None => next.ok_or_else(|| path.error("lies beyond 2^64"))?,
            };
            let size = block.u64(1)?;
            if shape.text(block.text(2)?).starts_with("active") {
                active.insert(addr, (size, stream));
            }
            next = addr.checked_add(size);
        }
    }
    Ok(active)
}

/// The recorded entries of one device.
struct Entries<'s, 'p> {
    shape: &'s Shape<'p>,
    keys: Keys<6>,
    device: usize,
    trace: &'p [Value],
}

impl Entries<'_, '_> {
    fn entry(&self, i: usize) -> Result<Record<6>, ErrorKind> {
        let path = Path::Entry(self.device, i);
        self.shape.record(path, self.trace[i], &self.keys)
    }

    /// From the blocks at the end of the recording to those at its beginning.
    fn walk_back(&self, blocks: &mut Blocks) -> Result<(), ErrorKind> {
        for i in (0..self.trace.len()).rev() {
            let entry = self.entry(i)?;
            match self.shape.text(entry.text(0)?) {
                "alloc" => {
                    blocks.remove(&entry.u64(1)?);
                }
                "free_completed" => {
                    blocks.insert(entry.u64(1)?, (entry.u64(2)?, entry.int_or(3, 0)?));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn play(
        &self,
        mut annotations: Annotations,
        streams: &mut Streams,
        live: &mut HashMap<u64, (u64, u64)>,
        builder: &mut Builder<'_>,
    ) -> Result<(), ErrorKind> {
        let mut ops = Ops::default();
        let mut start = None;
        let mut time_us = 0;
        let mut time_ns = 0;
        let (mut timeless, mut backwards) = (0u64, 0u64);
        for i in 0..self.trace.len() {
            let entry = self.entry(i)?;
            if entry.get(4).is_some() {
                time_us = entry.int(4)?;
                start.get_or_insert(time_us);
            } else {
                timeless += 1;
            }
            let since = (time_us - start.unwrap_or(time_us)) * 1000;
            backwards += u64::from(since < i128::from(time_ns));
            time_ns = u64::try_from(since.max(time_ns.into()))
                .map_err(|_| entry.error(4, "is more than 2^64 ns after the first event"))?;
            annotations.advance(time_us);
            let mut row = Row {
                time_ns,
                addr: 0,
                bytes: 0,
                stream: streams.ordinal(entry.int_or(3, 0)?),
                tag: 0,
                op: 0,
            };
            let action = self.shape.text(entry.text(0)?);
            let other = OtherKind::from_name(action);
            match action {
                "free_requested" | "snapshot" | "annotate" => continue,
                "alloc" | "free_completed" => row.addr = entry.u64(1)?,
                _ if other.is_some() => row.addr = entry.u64_or(1, 0)?,
                unknown => {
                    builder.unknown(unknown);
                    continue;
                }
            }
            row.bytes = entry.u64(2)?;
            row.tag = match annotations.current() {
                Some(name) => builder.name(self.shape.text(name))?,
                None => 0,
            };
            row.op = ops.of(self.shape, (self.device, i), entry.get(5), builder)?;
            let done = match (action, other) {
                ("alloc", _) => builder.alloc(row).map(|id| {
                    live.insert(row.addr, (id, row.bytes));
                }),
                (_, Some(kind)) => builder.other(kind, row),
                // A free of an unknown address has nothing to end.
                _ => match live.remove(&row.addr) {
                    Some((id, bytes)) => builder.free(id, Row { bytes, ..row }),
                    None => Ok(()),
                },
            };
            done.map_err(|e| within(&Path::Entry(self.device, i).to_string(), e))?;
        }
        if timeless > 0 {
            builder.notes.push(format!(
                "{timeless} entries have no time (an older PyTorch) and keep the one before"
            ));
        }
        if backwards > 0 {
            builder.notes.push(format!(
                "time goes back at {backwards} entries; they keep the time before"
            ));
        }
        Ok(())
    }
}

/// Says where in the snapshot a check failed.
fn within(path: &str, kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::Semantic(text) => ErrorKind::Semantic(format!("{path}: {text}")),
        other => other,
    }
}
