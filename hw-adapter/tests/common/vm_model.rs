//! An address space in which every byte is known.

use gpumm_hw::{
    Access, Check, CheckReport, OutcomeValue, PatternKey, VmFaultReason, VmKernel, pattern,
};

use crate::common::PAGE;

#[derive(Clone, Copy)]
pub(crate) enum Page {
    None,
    Sparse,
    At(usize, bool),
}

/// Vram and behind it system memory, and what stands behind each page of addresses.
pub(crate) struct Model {
    pub(crate) memory: Vec<u8>,
    pub(crate) pages: Vec<Page>,
    /// The first address.
    pub(crate) start: u64,
}

pub(crate) type Step<T> = Result<T, (u64, Access, VmFaultReason)>;

impl Model {
    pub(crate) fn place(&self, at: u64, access: Access) -> Step<Option<usize>> {
        let page = at.checked_sub(self.start).map(|into| into / PAGE);
        let Some(page) = page.and_then(|page| self.pages.get(page as usize)) else {
            return Err((at, access, VmFaultReason::Range));
        };
        match *page {
            Page::None => Err((at, access, VmFaultReason::Unmapped)),
            Page::At(_, false) if access == Access::Write => {
                Err((at, access, VmFaultReason::ReadOnly))
            }
            Page::Sparse => Ok(None),
            Page::At(place, _) => Ok(Some(place + (at % PAGE) as usize)),
        }
    }

    pub(crate) fn load(&self, at: u64) -> Step<u8> {
        let place = self.place(at, Access::Read)?;
        Ok(place.map_or(0, |place| self.memory[place]))
    }

    pub(crate) fn store(&mut self, at: u64, byte: u8) -> Step<()> {
        if let Some(place) = self.place(at, Access::Write)? {
            self.memory[place] = byte;
        }
        Ok(())
    }

    pub(crate) fn element(&self, at: u64) -> Step<[u8; 4]> {
        let mut bytes = [0; 4];
        for (byte, at) in bytes.iter_mut().zip(at..) {
            *byte = self.load(at)?;
        }
        Ok(bytes)
    }

    pub(crate) fn store_all(&mut self, at: u64, bytes: &[u8]) -> Step<()> {
        (at..)
            .zip(bytes)
            .try_for_each(|(at, byte)| self.store(at, *byte))
    }

    pub(crate) fn run(&mut self, kernel: VmKernel) -> Step<OutcomeValue> {
        let words = |bytes: u64, key: PatternKey| {
            let mut words = vec![0; bytes as usize];
            pattern::write(&mut words, 0, key);
            words
        };
        match kernel {
            VmKernel::Shader(_) => panic!("the model knows no shaders"),
            VmKernel::Copy { src, dst, bytes } => {
                for n in 0..bytes {
                    self.store(dst + n, self.load(src + n)?)?;
                }
            }
            VmKernel::Fill {
                dst,
                bytes,
                pattern,
            } => {
                for n in 0..bytes {
                    self.store(dst + n, pattern.to_le_bytes()[(n % 8) as usize])?;
                }
            }
            VmKernel::Checksum { src, bytes, dst } => {
                let mut sum = 0_u64;
                for n in 0..bytes {
                    let part = u64::from(self.load(src + n)?) << (n % 8 * 8);
                    sum = sum.wrapping_add(part);
                }
                self.store_all(dst, &sum.to_le_bytes())?;
                return Ok(OutcomeValue::Checksum(sum));
            }
            VmKernel::Saxpy { a, x, y, count } => {
                for n in 0..count {
                    let x = f32::from_le_bytes(self.element(x + 4 * n)?);
                    self.place(y + 4 * n, Access::Write)?;
                    let sum = f32::from_le_bytes(self.element(y + 4 * n)?) + a * x;
                    self.store_all(y + 4 * n, &sum.to_le_bytes())?;
                }
            }
            VmKernel::Gather {
                src,
                src_count,
                indices,
                dst,
                count,
            } => {
                for n in 0..count {
                    let index = u64::from(u32::from_le_bytes(self.element(indices + 4 * n)?));
                    if index >= src_count {
                        return Err((src + 4 * index, Access::Read, VmFaultReason::Range));
                    }
                    let element = self.element(src + 4 * index)?;
                    self.store_all(dst + 4 * n, &element)?;
                }
            }
            VmKernel::WritePattern { dst, bytes, key } => {
                self.store_all(dst, &words(bytes, key))?;
            }
            VmKernel::CheckPattern { src, bytes, key } => {
                return self.check(src, bytes, key, Check::Full, false);
            }
            VmKernel::Rewrite {
                at,
                bytes,
                old,
                new,
                check,
            } => {
                let report = self.check(at, bytes, old, check, true);
                self.store_all(at, &words(bytes, new))?;
                return report;
            }
        }
        Ok(OutcomeValue::Done)
    }

    pub(crate) fn check(
        &self,
        at: u64,
        bytes: u64,
        key: PatternKey,
        check: Check,
        write: bool,
    ) -> Step<OutcomeValue> {
        let mut found = Vec::new();
        for n in 0..bytes {
            if write {
                self.place(at + n, Access::Write)?;
            }
            found.push(self.load(at + n)?);
        }
        let mut report = CheckReport::default();
        for (block, bytes) in (0..).zip(found.chunks(Check::BLOCK as usize)) {
            if check.covers(block) {
                report.add(&pattern::check(bytes, block * Check::BLOCK, key));
            }
        }
        Ok(OutcomeValue::Checked(report))
    }
}
