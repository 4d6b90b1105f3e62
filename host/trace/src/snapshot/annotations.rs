//! Which annotation of the program is open at a time.

use std::collections::{HashMap, VecDeque};

use super::shape::{Path, Record, Shape};
use crate::error::ErrorKind;

const ANNOTATION: [&str; 4] = ["name", "stage", "device", "time_us"];

/// The annotations of one device, played in order of time.
pub(super) struct Annotations {
    /// Time, name, and whether it begins.
    marks: Vec<(i128, u32, bool)>,
    next: usize,
    /// The open ones; closed ones leave holes.
    stack: Vec<Option<u32>>,
    /// Where in `stack` each name is open, oldest first.
    open: HashMap<u32, VecDeque<usize>>,
}

impl Annotations {
    pub(super) fn new(
        shape: &Shape<'_>,
        top: &Record<3>,
        device: usize,
    ) -> Result<Self, ErrorKind> {
        let list = match top.get(2) {
            Some(value) => shape.list(Path::Key("external_annotations"), value)?,
            None => &[],
        };
        let keys = shape.keys(ANNOTATION);
        let mut marks = Vec::new();
        for (i, value) in list.iter().enumerate() {
            let mark = shape.record(Path::Annotation(i), *value, &keys)?;
            if mark.int(2)? == device as i128 {
                let begins = shape.text(mark.text(1)?) == "START";
                marks.push((mark.int(3)?, mark.text(0)?, begins));
            }
        }
        marks.sort_by_key(|(time, ..)| *time);
        Ok(Self {
            marks,
            next: 0,
            stack: Vec::new(),
            open: HashMap::new(),
        })
    }

    /// Plays all annotations up to and at this time.
    pub(super) fn advance(&mut self, time_us: i128) {
        while let Some(&(time, name, begins)) = self.marks.get(self.next) {
            if time > time_us {
                break;
            }
            self.next += 1;
            let places = self.open.entry(name).or_default();
            if begins {
                places.push_back(self.stack.len());
                self.stack.push(Some(name));
            } else if let Some(place) = places.pop_front() {
                // The oldest one of this name ends, as in the Python converter.
                self.stack[place] = None;
                while self.stack.last() == Some(&None) {
                    self.stack.pop();
                }
            }
        }
    }

    /// The name of the innermost open annotation.
    pub(super) fn current(&self) -> Option<u32> {
        self.stack.last().copied().flatten()
    }
}
