//! The machine that executes the harmless opcodes.

use std::io::BufRead;

use super::memo::Memo;
use super::opcodes as op;
use super::value::{Pickle, Value};
use crate::error::{ErrorKind, Fault};
use crate::limits::Limits;
use crate::names::Names;

/// The longest integer that is looked at; no field of a snapshot has more than 9 bytes.
const MAX_INT_BYTES: u64 = 1024;

pub(crate) struct Reader<'l, R> {
    input: R,
    /// Of the next byte, and of the opcode that is being executed.
    offset: u64,
    at: u64,
    limits: &'l Limits,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Memo,
    /// Values pushed and memoised so far: all memory is proportional to it.
    objects: u64,
    texts: Names,
    items: Vec<Vec<Value>>,
    /// Nesting of each container, as known when it was last changed.
    depths: Vec<u32>,
    buffer: Vec<u8>,
}

impl<'l, R: BufRead> Reader<'l, R> {
    pub(crate) fn new(input: R, limits: &'l Limits) -> Self {
        Self {
            input,
            offset: 0,
            at: 0,
            limits,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo::default(),
            objects: 0,
            texts: Names::default(),
            items: Vec::new(),
            depths: Vec::new(),
            buffer: Vec::new(),
        }
    }

    pub(crate) fn read(mut self) -> Result<Pickle, Fault> {
        match self.run() {
            Ok(root) => Ok(Pickle {
                root,
                texts: self.texts,
                items: self.items,
            }),
            Err(kind) => Err(Fault::offset(self.at, kind)),
        }
    }

    fn run(&mut self) -> Result<Value, ErrorKind> {
        loop {
            self.at = self.offset;
            let [opcode] = self.bytes("the pickle")?;
            if opcode == op::STOP {
                break;
            }
            self.step(opcode)?;
        }
        let root = self.pop()?;
        self.at = self.offset;
        // Also makes the gzip layer check its checksum.
        if !self.input.fill_buf()?.is_empty() {
            return syntax("there is something else after the end of the pickle");
        }
        Ok(root)
    }

    fn step(&mut self, opcode: u8) -> Result<(), ErrorKind> {
        match opcode {
            op::PROTO => {
                let [protocol] = self.bytes("PROTO")?;
                if !(2..=5).contains(&protocol) {
                    return syntax(&format!("pickle protocol {protocol} is not 2 to 5"));
                }
            }
            op::FRAME => {
                self.bytes::<8>("FRAME")?;
            }
            op::MARK => {
                if self.marks.len() >= self.limits.max_depth as usize {
                    return Err(self.too_deep());
                }
                self.marks.push(self.stack.len());
            }
            op::POP => {
                // Popping onto a mark takes the mark, as Python does.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            op::POP_MARK => {
                let mark = self.mark()?;
                self.stack.truncate(mark);
            }
            op::DUP => {
                let top = self.top()?;
                self.push(top)?;
            }
            op::NONE => self.push(Value::None)?,
            op::NEWTRUE | op::NEWFALSE => self.push(Value::Bool)?,
            op::BINFLOAT => {
                self.bytes::<8>("BINFLOAT")?;
                self.push(Value::Float)?;
            }
            op::BININT1 | op::BININT2 | op::BININT | op::LONG1 | op::LONG4 => {
                let value = self.integer(opcode)?;
                self.push(value)?;
            }
            op::SHORT_BINUNICODE
            | op::BINUNICODE
            | op::BINUNICODE8
            | op::SHORT_BINSTRING
            | op::BINSTRING => self.text(opcode)?,
            op::SHORT_BINBYTES | op::BINBYTES => {
                let len = self.length(opcode)?;
                self.data(len, "bytes")?;
                self.push(Value::Bytes)?;
            }
            op::EMPTY_LIST => {
                let list = self.container(0..0)?;
                self.push(Value::List(list))?;
            }
            op::EMPTY_DICT => {
                let dict = self.container(0..0)?;
                self.push(Value::Dict(dict))?;
            }
            op::EMPTY_TUPLE => self.tuple(0)?,
            op::TUPLE1 => self.tuple(1)?,
            op::TUPLE2 => self.tuple(2)?,
            op::TUPLE3 => self.tuple(3)?,
            op::TUPLE => {
                let mark = self.mark()?;
                self.tuple(self.stack.len() - mark)?;
            }
            op::APPEND => self.extend(1, opcode)?,
            op::SETITEM => self.extend(2, opcode)?,
            op::APPENDS | op::SETITEMS => {
                let mark = self.mark()?;
                self.extend(self.stack.len() - mark, opcode)?;
            }
            op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => {
                let slot = match opcode {
                    op::BINPUT => u64::from(self.bytes::<1>("BINPUT")?[0]),
                    op::LONG_BINPUT => u64::from(u32::from_le_bytes(self.bytes("LONG_BINPUT")?)),
                    _ => self.memo.len(),
                };
                let top = self.top()?;
                self.count()?;
                self.memo.put(slot, top);
            }
            op::BINGET | op::LONG_BINGET => {
                let slot = match opcode {
                    op::BINGET => u64::from(self.bytes::<1>("BINGET")?[0]),
                    _ => u64::from(u32::from_le_bytes(self.bytes("LONG_BINGET")?)),
                };
                match self.memo.get(slot) {
                    Some(value) => self.push(value)?,
                    None => return syntax(&format!("memo {slot} is read before it is written")),
                }
            }
            _ => {
                return match op::refused(opcode) {
                    Some((name, why)) => Err(ErrorKind::RefusedOpcode { name, why }),
                    None => syntax(&format!("{opcode:#04x} is not a pickle opcode")),
                };
            }
        }
        Ok(())
    }

    fn integer(&mut self, opcode: u8) -> Result<Value, ErrorKind> {
        Ok(match opcode {
            op::BININT1 => Value::Int(self.bytes::<1>("BININT1")?[0].into()),
            op::BININT2 => Value::Int(u16::from_le_bytes(self.bytes("BININT2")?).into()),
            op::BININT => Value::Int(i32::from_le_bytes(self.bytes("BININT")?).into()),
            _ => {
                let len = self.length(opcode)?;
                if len > MAX_INT_BYTES {
                    return Err(ErrorKind::TooLarge(format!("an integer of {len} bytes")));
                }
                self.data(len, "an integer")?;
                long(&self.buffer)
            }
        })
    }

    fn text(&mut self, opcode: u8) -> Result<(), ErrorKind> {
        let len = self.length(opcode)?;
        self.data(len, "a text")?;
        // Python writes odd file names as invalid UTF-8; texts are for people only.
        let text = String::from_utf8_lossy(&self.buffer);
        let number = self.texts.intern(&text, u64::MAX)?;
        self.push(Value::Text(number))
    }

    /// The declared length of the data of an opcode.
    fn length(&mut self, opcode: u8) -> Result<u64, ErrorKind> {
        let what = op::name(opcode).unwrap_or("an opcode");
        Ok(match opcode {
            op::LONG1 | op::SHORT_BINUNICODE | op::SHORT_BINSTRING | op::SHORT_BINBYTES => {
                self.bytes::<1>(what)?[0].into()
            }
            op::LONG4 | op::BINSTRING => {
                let len = i32::from_le_bytes(self.bytes(what)?);
                u64::try_from(len)
                    .map_err(|_| ErrorKind::Syntax(format!("{what} has a negative length")))?
            }
            op::BINUNICODE8 => u64::from_le_bytes(self.bytes(what)?),
            _ => u32::from_le_bytes(self.bytes(what)?).into(),
        })
    }

    fn tuple(&mut self, len: usize) -> Result<(), ErrorKind> {
        let start = self.below(len)?;
        let tuple = self.container(start..self.stack.len())?;
        self.stack.truncate(start);
        self.push(Value::Tuple(tuple))
    }

    /// A new container of these values of the stack.
    fn container(&mut self, range: std::ops::Range<usize>) -> Result<u32, ErrorKind> {
        let number = u32::try_from(self.items.len())
            .map_err(|_| ErrorKind::TooLarge("more than 2^32 containers".to_owned()))?;
        let depth = self.depth_over(range.clone())?;
        self.items.push(self.stack[range].to_vec());
        self.depths.push(depth);
        Ok(number)
    }

    /// Moves the last `count` values of the stack into the container below them.
    fn extend(&mut self, count: usize, opcode: u8) -> Result<(), ErrorKind> {
        let start = self.below(count)?;
        let floor = self.marks.last().copied().unwrap_or(0);
        let what = op::name(opcode).unwrap_or("an opcode");
        let target = match start.checked_sub(1).filter(|&i| i >= floor) {
            Some(below) => self.stack[below],
            None => return syntax(&format!("{what} finds nothing to add to")),
        };
        let pairs = matches!(opcode, op::SETITEM | op::SETITEMS);
        let number = match target {
            Value::List(number) if !pairs => number as usize,
            Value::Dict(number) if pairs => number as usize,
            other => {
                let found = other.type_name();
                return syntax(&format!("{what} cannot add to {found}"));
            }
        };
        if pairs && count % 2 == 1 {
            return syntax(&format!("{what} has a key without a value"));
        }
        let depth = self.depth_over(start..self.stack.len())?;
        self.depths[number] = self.depths[number].max(depth);
        self.items[number].extend_from_slice(&self.stack[start..]);
        self.stack.truncate(start);
        Ok(())
    }

    /// The nesting of a container of these values of the stack.
    fn depth_over(&self, range: std::ops::Range<usize>) -> Result<u32, ErrorKind> {
        let inside = self.stack[range].iter().map(|value| match value {
            Value::List(n) | Value::Tuple(n) | Value::Dict(n) => self.depths[*n as usize],
            _ => 0,
        });
        let depth = 1 + inside.max().unwrap_or(0);
        if depth > self.limits.max_depth {
            return Err(self.too_deep());
        }
        Ok(depth)
    }

    fn too_deep(&self) -> ErrorKind {
        ErrorKind::TooDeep {
            limit: self.limits.max_depth,
        }
    }

    fn count(&mut self) -> Result<(), ErrorKind> {
        self.objects += 1;
        if self.objects > self.limits.max_pickle_objects {
            let max = self.limits.max_pickle_objects;
            return Err(ErrorKind::TooLarge(format!(
                "more than {max} pickled values"
            )));
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), ErrorKind> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    /// The index of the first of the last `count` values above the last mark.
    fn below(&self, count: usize) -> Result<usize, ErrorKind> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => Ok(start),
            _ => syntax("the opcode needs more values than the stack has"),
        }
    }

    fn top(&self) -> Result<Value, ErrorKind> {
        Ok(self.stack[self.below(1)?])
    }

    fn pop(&mut self) -> Result<Value, ErrorKind> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn mark(&mut self) -> Result<usize, ErrorKind> {
        match self.marks.pop() {
            Some(mark) => Ok(mark),
            None => syntax("the opcode needs a mark and there is none"),
        }
    }

    fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ErrorKind> {
        let mut out = [0; N];
        let mut got = 0;
        while got < N {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Err(ErrorKind::Truncated(what.to_owned()));
            }
            let n = available.len().min(N - got);
            out[got..got + n].copy_from_slice(&available[..n]);
            got += n;
            self.input.consume(n);
            self.offset += n as u64;
        }
        Ok(out)
    }

    /// Reads into `buffer`, which grows with what is there and not with what is declared.
    fn data(&mut self, len: u64, what: &str) -> Result<(), ErrorKind> {
        if len > self.limits.max_string {
            let max = self.limits.max_string;
            let text = format!("{what} of {len} bytes (at most {max})");
            return Err(ErrorKind::TooLarge(text));
        }
        self.buffer.clear();
        let mut left = len;
        while left > 0 {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Err(ErrorKind::Truncated(format!("{what} of {len} bytes")));
            }
            let n = available
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.extend_from_slice(&available[..n]);
            self.input.consume(n);
            self.offset += n as u64;
            left -= n as u64;
        }
        Ok(())
    }
}

fn syntax<T>(text: &str) -> Result<T, ErrorKind> {
    Err(ErrorKind::Syntax(text.to_owned()))
}

/// A little-endian two's complement integer of any length.
fn long(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    if bytes.len() > wide.len() {
        return Value::HugeInt;
    }
    wide[..bytes.len()].copy_from_slice(bytes);
    let value = i128::from_le_bytes(wide);
    if let Ok(small) = i64::try_from(value) {
        Value::Int(small)
    } else if let Ok(unsigned) = u64::try_from(value) {
        Value::Unsigned(unsigned)
    } else {
        Value::HugeInt
    }
}
