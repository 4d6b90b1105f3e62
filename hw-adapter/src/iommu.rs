//! The IOMMU: which system memory the engines of one device reach.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::command::{MemorySpace, Segment};
use crate::error::DeviceError;
use crate::footprint::{Span, Spans};

/// The mappings of a device.
#[derive(Debug)]
pub(crate) struct Iommu {
    /// Otherwise everything is reachable.
    on: bool,
    /// The size of system memory in bytes.
    size: u64,
    mapped: RwLock<Mapped>,
}

/// Mapped bytes: start to end.
///
/// # Invariants
/// Ranges are not empty, and neither overlap nor touch.
#[derive(Debug, Default)]
struct Mapped {
    ranges: BTreeMap<u64, u64>,
    bytes: u64,
}

impl Iommu {
    pub(crate) fn new(on: bool, size: u64) -> Iommu {
        Iommu {
            on,
            size,
            mapped: RwLock::default(),
        }
    }

    /// How many bytes are mapped.
    pub(crate) fn bytes(&self) -> u64 {
        let mapped = self.mapped.read().unwrap_or_else(PoisonError::into_inner);
        mapped.bytes
    }

    /// See [`Device::map_dma`](crate::Device::map_dma).
    pub(crate) fn map(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        let refused = |offset, bytes| DeviceError::DmaMapped { offset, bytes };
        self.change(segments, refused, |mapped, spans| {
            for span in spans {
                if let Some((start, end)) = mapped.first_mapped(*span) {
                    return Err(refused(start, end - start));
                }
            }
            spans.iter().for_each(|span| mapped.insert(*span));
            Ok(())
        })
    }

    /// See [`Device::unmap_dma`](crate::Device::unmap_dma).
    pub(crate) fn unmap(&self, segments: &[Segment]) -> Result<(), DeviceError> {
        let refused = |offset, bytes| DeviceError::NotMapped { offset, bytes };
        self.change(segments, refused, |mapped, spans| {
            for span in spans {
                if let Some((start, end)) = mapped.first_unmapped(*span) {
                    return Err(refused(start, end - start));
                }
            }
            spans.iter().for_each(|span| mapped.remove(*span));
            Ok(())
        })
    }

    /// Checks the segments, and performs a change that looks at everything before it touches
    /// anything. A byte named twice is refused as it would be the second time.
    fn change(
        &self,
        segments: &[Segment],
        refused: impl Fn(u64, u64) -> DeviceError,
        change: impl FnOnce(&mut Mapped, &[Span]) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut spans = Vec::with_capacity(segments.len());
        for segment in segments {
            let span = self.span(segment)?;
            // Marked as written, so that doubled bytes are found.
            spans.extend((segment.bytes > 0).then_some(span));
        }
        if !self.on {
            return Ok(());
        }
        let spans = Spans::new(&mut spans).map_err(|(start, end)| refused(start, end - start))?;
        let mut mapped = self.mapped.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut mapped, &spans)
    }

    fn span(&self, segment: &Segment) -> Result<Span, DeviceError> {
        let Segment { offset, bytes, .. } = *segment;
        if segment.memory != MemorySpace::System {
            return Err(DeviceError::InvalidDma);
        }
        let end = offset.checked_add(bytes).filter(|end| *end <= self.size);
        let end = end.ok_or(DeviceError::OutOfBounds {
            memory: MemorySpace::System,
            offset,
            bytes,
            size: self.size,
        })?;
        Ok(Span {
            start: offset,
            end,
            write: true,
        })
    }

    /// Checks that the engines reach all bytes of these spans.
    ///
    /// # Complexity
    /// O(log n) per span.
    ///
    /// # Errors
    /// [`DeviceError::IommuFault`] with the first bytes that are not mapped.
    pub(crate) fn check(&self, spans: &[Span]) -> Result<(), DeviceError> {
        if !self.on || spans.is_empty() {
            return Ok(());
        }
        let mapped = self.mapped.read().unwrap_or_else(PoisonError::into_inner);
        match spans.iter().find_map(|span| mapped.first_unmapped(*span)) {
            None => Ok(()),
            Some((start, end)) => Err(DeviceError::IommuFault {
                offset: start,
                bytes: end - start,
            }),
        }
    }
}

impl Mapped {
    /// The mapped range that begins at or before an address, and is the last such one.
    fn before(&self, at: u64) -> Option<(u64, u64)> {
        let (start, end) = self.ranges.range(..=at).next_back()?;
        Some((*start, *end))
    }

    /// The first part of a span that is mapped.
    fn first_mapped(&self, span: Span) -> Option<(u64, u64)> {
        let part = match self.before(span.start) {
            Some((_, end)) if end > span.start => Some((span.start, end)),
            _ => self
                .ranges
                .range(span.start..)
                .next()
                .map(|(s, e)| (*s, *e)),
        };
        part.filter(|(start, _)| *start < span.end)
            .map(|(start, end)| (start, end.min(span.end)))
    }

    /// The first part of a span that is not mapped.
    fn first_unmapped(&self, span: Span) -> Option<(u64, u64)> {
        let start = match self.before(span.start) {
            Some((_, end)) => end.max(span.start),
            None => span.start,
        };
        if start >= span.end {
            return None;
        }
        let next = self.ranges.range(start..).next();
        Some((
            start,
            next.map_or(span.end, |(next, _)| span.end.min(*next)),
        ))
    }

    /// Adds bytes that are not mapped.
    fn insert(&mut self, span: Span) {
        self.bytes += span.end - span.start;
        let end = self.ranges.remove(&span.end).unwrap_or(span.end);
        match self.before(span.start) {
            Some((start, touching)) if touching == span.start => self.ranges.insert(start, end),
            _ => self.ranges.insert(span.start, end),
        };
    }

    /// Takes away bytes that are all mapped: they lie in one range, as ranges do not touch.
    fn remove(&mut self, span: Span) {
        let Some((start, end)) = self.before(span.start) else {
            return;
        };
        self.bytes -= span.end - span.start;
        self.ranges.remove(&start);
        if start < span.start {
            self.ranges.insert(start, span.start);
        }
        if span.end < end {
            self.ranges.insert(span.end, end);
        }
    }
}

#[cfg(test)]
#[path = "iommu_tests.rs"]
mod tests;
