//! Shaders of users: taken as text, and run on address spaces.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pollster::block_on;

use crate::error::DeviceError;
use crate::shader::{ShaderCall, ShaderError, ShaderId};
use crate::sync::lock;
use crate::vm::{Access, VmFaultReason};

use super::super::context::Context;
use super::batch::Shader;
use super::job::Job;
use super::piece::{Piece, Range};
use super::pipelines::{Pipeline, check_slots, group, layout, module, pipeline, prelude};
use super::stage::Stage;
use super::{Header, Mode, NONE, within};

/// What a user's shader may name of what begins with `gmm`.
const NAMES: [&str; 5] = ["gmm_load", "gmm_store", "gmm_at", "gmm_bytes", "gmm_arg"];

/// The entry point of a user's shader.
const ENTRY: &str = "main";

/// The shaders of a device.
#[derive(Default)]
pub(in super::super) struct Shaders {
    texts: Mutex<HashMap<ShaderId, Arc<str>>>,
    next: AtomicU64,
}

impl Shaders {
    /// See [`Device::load_shader`](crate::Device::load_shader).
    pub(in super::super) fn load(
        &self,
        context: &Context,
        source: &str,
    ) -> Result<ShaderId, ShaderError> {
        names(source)?;
        // As it is for one chunk; for others only what comes before it differs.
        make(context, 1, source)?;
        let id = ShaderId(self.next.fetch_add(1, Ordering::Relaxed));
        lock(&self.texts).insert(id, source.into());
        Ok(id)
    }

    /// See [`Device::unload_shader`](crate::Device::unload_shader).
    pub(in super::super) fn unload(
        &self,
        context: &Context,
        shader: ShaderId,
    ) -> Result<(), DeviceError> {
        let known = lock(&self.texts).remove(&shader);
        lock(&context.kernels.users).retain(|(id, _), _| *id != shader);
        known.map(drop).ok_or(DeviceError::UnknownShader(shader))
    }

    /// The pipeline for so many chunks.
    fn pipeline(
        &self,
        context: &Context,
        shader: ShaderId,
        slots: usize,
    ) -> Result<Arc<Pipeline>, DeviceError> {
        let text = lock(&self.texts).get(&shader).cloned();
        let text = text.ok_or(DeviceError::UnknownShader(shader))?;
        if let Some(made) = lock(&context.kernels.users).get(&(shader, slots)) {
            return Ok(Arc::clone(made));
        }
        let made = make(context, slots, &text).map_err(|error| match error {
            ShaderError::Device(error) => error,
            _ => DeviceError::Driver("a shader that it took before"),
        })?;
        let made = Arc::new(made);
        lock(&context.kernels.users).insert((shader, slots), Arc::clone(&made));
        Ok(made)
    }
}

/// Compiles a shader of a user.
fn make(context: &Context, slots: usize, source: &str) -> Result<Pipeline, ShaderError> {
    let before = prelude(Mode::Walk, slots, group(context)) + include_str!("user.wgsl");
    let lines = before.lines().count() as u32;
    let mut told = None;
    let made = context.guarded(|| {
        let module = module(context, "a user's shader", before + source);
        let info = block_on(module.get_compilation_info());
        let error = |message: &wgpu::CompilationMessage| {
            message.message_type == wgpu::CompilationMessageType::Error
        };
        told = info.messages.into_iter().find(error);
        let layout = layout(context, Mode::Walk, slots);
        let pipeline = pipeline(context, &layout, &module, ENTRY, true);
        Ok(Pipeline { pipeline, layout })
    });
    let said = || context.said().unwrap_or_default();
    made.map_err(|error| match (error, told) {
        (DeviceError::Driver(_), Some(told)) => {
            let place = told.location.unwrap_or(wgpu::SourceLocation {
                line_number: 0,
                line_position: 0,
                offset: 0,
                length: 0,
            });
            // What is wrong behind its end is wrong with the whole.
            let line = place.line_number.saturating_sub(lines);
            let column = if line > 0 { place.line_position } else { 0 };
            invalid(line, column, &told.message)
        }
        (DeviceError::Driver(_), None) => invalid(0, 0, &said()),
        (error, _) => error.into(),
    })
}

/// An error on one line.
fn invalid(line: u32, column: u32, message: &str) -> ShaderError {
    let words: Vec<_> = message.split_whitespace().collect();
    ShaderError::Invalid {
        line,
        column,
        message: words.join(" "),
    }
}

/// Refuses names of what a user's shader must not reach: memory is reached by address only.
fn names(source: &str) -> Result<(), ShaderError> {
    for (line, text) in (1..).zip(without_comments(source).lines()) {
        let part = |letter: char| letter.is_alphanumeric() || letter == '_';
        for name in text.split(|letter| !part(letter)) {
            let column = || text.find(name).unwrap_or(0) as u32 + 1;
            if name.starts_with("gmm") && !NAMES.contains(&name) {
                let known = NAMES.join(", ");
                let message = format!("no name may begin with gmm but {known}; this is {name}");
                return Err(invalid(line, column(), &message));
            }
            if name == "binding" {
                return Err(invalid(
                    line,
                    column(),
                    "a shader has no bindings of its own",
                ));
            }
        }
    }
    Ok(())
}

/// The text with blanks in the place of comments, line by line.
fn without_comments(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut letters = source.chars().peekable();
    let mut depth = 0;
    while let Some(letter) = letters.next() {
        let pair = (letter, letters.peek().copied());
        match pair {
            ('/', Some('/')) if depth == 0 => {
                while letters.next_if(|letter| *letter != '\n').is_some() {}
            }
            ('/', Some('*')) | ('*', Some('/')) if depth > 0 || letter == '/' => {
                letters.next();
                text.push_str("  ");
                depth += if letter == '/' { 1 } else { -1 };
            }
            ('\n', _) => text.push('\n'),
            _ => text.push(if depth > 0 { ' ' } else { letter }),
        }
    }
    text
}

impl Job<'_> {
    /// Runs a shader of a user, at once.
    pub(super) fn shader(&self, call: &ShaderCall) -> Result<(), DeviceError> {
        let limits = self.context.device.limits();
        let groups = u64::from(limits.max_compute_workgroups_per_dimension);
        let longest = call.ranges.iter().map(|range| range.bytes).max();
        let count = |list: usize| list as u64;
        let most = u64::from(*call.groups.iter().max().unwrap_or(&0));
        within("max_compute_workgroups_per_dimension", groups, most)?;
        within(
            "arguments of a shader",
            count(ShaderCall::ARGUMENTS),
            count(call.arguments.len()),
        )?;
        within(
            "ranges of a shader",
            count(ShaderCall::RANGES),
            count(call.ranges.len()),
        )?;
        within(
            "bytes of a shader's range",
            u64::from(u32::MAX),
            longest.unwrap_or(0),
        )?;
        (self.go)()?;
        let _entered = self.space.enter()?;
        let counters = &self.shared.mmu.counters;
        let present =
            |range: &crate::vm::VmRange| self.space.present(range.address, range.bytes, counters);
        let windows: Vec<_> = call.ranges.iter().map(present).collect();
        let ranges = call.ranges.iter().zip(&windows).map(|(range, window)| {
            let access = if range.write {
                Access::Write
            } else {
                Access::Read
            };
            Range {
                holes: Some(range.bytes),
                ..Range::new(range.address, window, access)
            }
        });
        let piece = Piece::new(ranges.collect(), 0, 0);
        let (footprint, _) = piece.footprint();
        self.shared.iommu.check(&footprint.system)?;
        let mut access = self.shared.access(&footprint)?;
        let ranges = piece.ranges.iter();
        let stage = Stage::of(ranges.map(|range| (range.window, range.access)), false);
        let told = self.walking(stage, &mut access, |batch, list| {
            self.bind_all(batch, &piece);
            let mut header = Header::new(0, 0);
            for (number, range) in call.ranges.iter().enumerate() {
                header.range(number, range.address, range.bytes, range.write);
            }
            let mut arguments = [0; ShaderCall::ARGUMENTS];
            for (place, argument) in arguments.iter_mut().zip(&call.arguments) {
                *place = *argument;
            }
            let results = batch.results([NONE, 0, 0, 0], 0);
            let header = batch.header(header.told(arguments), list, results);
            let slots = batch.chunks.len();
            let shaders = &self.shared.shaders;
            check_slots(Mode::Walk, slots, &limits)?;
            let made = shaders.pipeline(&self.context, call.shader, slots)?;
            batch.dispatch(Shader::Made(made), header, call.groups);
            Ok(())
        })?;
        self.count(windows.iter().map(|window| window.bytes).sum());
        match *told.as_slice() {
            [NONE, ..] => Ok(()),
            [_, low, high, what, ..] => {
                let access = if what & 1 != 0 {
                    Access::Write
                } else {
                    Access::Read
                };
                let why = match what >> 1 {
                    1 => VmFaultReason::Unmapped,
                    2 => VmFaultReason::ReadOnly,
                    _ => VmFaultReason::Range,
                };
                let address = u64::from(high) << 32 | u64::from(low);
                Err(self.fault_at(address, access, why))
            }
            _ => Err(DeviceError::Bug("a shader told nothing")),
        }
    }
}
