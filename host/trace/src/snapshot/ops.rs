//! The operator of an entry: its innermost Python frame.

use std::collections::HashMap;

use super::shape::{Path, Shape};
use crate::builder::Builder;
use crate::error::ErrorKind;
use crate::pickle::Value;

const FRAME: [&str; 3] = ["filename", "line", "name"];

/// Frames and lists of frames are shared heavily, so each is looked at once.
#[derive(Default)]
pub(super) struct Ops {
    of_list: HashMap<u32, u32>,
    /// `None`: the frame is not of Python.
    of_frame: HashMap<u32, Option<u32>>,
    /// Bytes of text made so far, which can be far more than the pickle has.
    made: u64,
}

impl Ops {
    /// The number of `file.py:line function` of the first Python frame; without one, of
    /// the name of the first frame; without frames, of the empty text.
    pub(super) fn of(
        &mut self,
        shape: &Shape<'_>,
        entry: (usize, usize),
        frames: Option<Value>,
        builder: &mut Builder<'_>,
    ) -> Result<u32, ErrorKind> {
        let (number, value) = match frames {
            Some(value @ (Value::List(number) | Value::Tuple(number))) => (number, value),
            Some(other) => {
                return shape.list(Path::Frames(entry.0, entry.1), other).map(|_| 0);
            }
            None => return Ok(0),
        };
        if let Some(&op) = self.of_list.get(&number) {
            return Ok(op);
        }
        let list = shape.list(Path::Frames(entry.0, entry.1), value)?;
        let mut op = None;
        for (k, frame) in list.iter().enumerate() {
            op = self.python(shape, Path::Frame(entry.0, entry.1, k), *frame, builder)?;
            if op.is_some() {
                break;
            }
        }
        let op = match (op, list.first()) {
            (Some(op), _) => op,
            (None, None) => 0,
            (None, Some(first)) => {
                let path = Path::Frame(entry.0, entry.1, 0);
                let frame = shape.record(path, *first, &shape.keys(FRAME))?;
                let name = shape.text(frame.text(2)?);
                self.intern(name, builder)?
            }
        };
        self.of_list.insert(number, op);
        Ok(op)
    }

    fn python(
        &mut self,
        shape: &Shape<'_>,
        path: Path,
        value: Value,
        builder: &mut Builder<'_>,
    ) -> Result<Option<u32>, ErrorKind> {
        let Value::Dict(number) = value else {
            return shape.record(path, value, &shape.keys(FRAME)).map(|_| None);
        };
        if let Some(&op) = self.of_frame.get(&number) {
            return Ok(op);
        }
        let frame = shape.record(path, value, &shape.keys(FRAME))?;
        let file = shape.text(frame.text(0)?);
        let op = if file.ends_with(".py") {
            let base = file.rfind(['/', '\\']).map_or(file, |i| &file[i + 1..]);
            let (line, name) = (frame.int(1)?, shape.text(frame.text(2)?));
            Some(self.intern(&format!("{base}:{line} {name}"), builder)?)
        } else {
            None
        };
        self.of_frame.insert(number, op);
        Ok(op)
    }

    fn intern(&mut self, text: &str, builder: &mut Builder<'_>) -> Result<u32, ErrorKind> {
        self.made = self.made.saturating_add(text.len() as u64);
        builder.charge(self.made)?;
        builder.name(text)
    }
}
