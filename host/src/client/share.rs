//! Sharing a buffer with another device.

use super::{Buffer, Client};
use crate::error::Error;
use crate::executor::hardware_point;
use crate::share::{Ends, Link, Share};
use gpumm_hw as hw;
use std::ops::Deref;
use std::sync::Arc;

/// A buffer of one device as another device reads it, where it lies; dropping it ends that.
///
/// It is used like a buffer of the importing client, by jobs that only read. It shows the whole
/// buffer: of one that was written in part also what the exporting client had there before. What
/// the exporting client writes meanwhile is for the two clients to order. When the buffer moves or is
/// released, what was submitted before still reads it, and later uses end with
/// [`Error::Invalidated`].
#[derive(Debug)]
pub struct Import {
    buffer: Buffer,
    link: Arc<Link>,
    share: Arc<Share>,
}

impl Import {
    /// Whether the buffer has left the memory that the import reads.
    pub fn is_invalidated(&self) -> bool {
        self.link.is_closed()
    }
}

impl Deref for Import {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        &self.buffer
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        self.share.drop_import(&self.link);
    }
}

impl Buffer {
    /// Lets a client of another device read this buffer, which is brought into system memory for
    /// that, and waits until its content is there.
    ///
    /// Errors: [`Error::Argument`] for a client of the same device or of another Runtime;
    /// [`Error::Invalidated`] when the buffer was moved at the same time; the buffer is shared
    /// with the device already, its content is lost, or there is no room.
    pub fn share_with(&self, importer: &Client) -> Result<Import, Error> {
        let wrong = |why: &str| Error::Argument(why.into());
        let (from, to) = (&self.client.device, &importer.device);
        let (Some(share), Some(other)) = (&from.share, &to.share) else {
            return Err(wrong("a Runtime with one device has nobody to share with"));
        };
        if !Arc::ptr_eq(share, other) {
            return Err(wrong("the importing client is of another Runtime"));
        }
        if from.index == to.index {
            return Err(wrong("the importing client is of the same device"));
        }
        let mut buffer = importer.future_buffer();
        buffer.bytes = self.bytes;
        let ends = Ends {
            exporter: from.index,
            exported: self.id,
            importer: to.index,
            tenant: importer.tenant,
            buffer: buffer.id,
            bytes: self.bytes,
        };
        let link = share.link(ends, to);
        // From here on dropping it takes everything back.
        let import = Import {
            buffer,
            link: link.clone(),
            share: share.clone(),
        };
        let (owner, device, attachment) =
            ((self.client.tenant, self.id), to.index, link.attachment);
        let shared = from.control(move |p| p.attach(owner, device, attachment))??;
        let _ = link.extents.set(shared.extents);
        for point in shared.after.iter() {
            let reached = from.timelines.wait(hardware_point(point), None);
            reached.map_err(|e| Error::System(e.to_string()))?;
        }
        let exported = self.id;
        if from.control(move |planner| planner.has_lost(exported))? {
            return Err(Error::Device(hw::DeviceError::Poisoned));
        }
        to.control(move |planner| planner.open_import(&link))??;
        Ok(import)
    }
}
