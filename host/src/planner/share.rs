//! Both ends of an import: what the planners of the exporting and of the importing device do.

use super::{Planner, Verb};
use crate::error::Error;
use crate::ledger::Shared;
use crate::runtime::IMPORT;
use crate::share::Link;
use gpumm_contract::facts::Content;
use gpumm_contract::request::Placement;
use gpumm_contract::{AttachmentId, BufferId, DeviceId, PointSet, TenantId};
use std::sync::Arc;

impl Planner {
    /// Exporter: lets another device read a tenant's buffer, and says where it is.
    ///
    /// Errors: the buffer cannot be shared, or not with that device.
    pub(crate) fn attach(
        &mut self,
        (tenant, buffer): (TenantId, BufferId),
        device: DeviceId,
        attachment: AttachmentId,
    ) -> Result<Shared, Error> {
        self.alone(Verb::Attach {
            tenant,
            buffer,
            device,
            attachment,
        })?;
        let shared = self.desk()?.ledger.shared(attachment);
        shared.ok_or(Error::Invalidated)
    }

    /// Exporter: whether a buffer's content is lost, be it that the mechanism has yet to hear.
    pub(crate) fn has_lost(&mut self, buffer: BufferId) -> bool {
        let Ok(desk) = self.desk() else {
            return true;
        };
        let poisoned = desk.ledger.content_of(buffer) == Some(Content::Poisoned);
        let home = desk.ledger.home_of(buffer);
        poisoned || home.is_some_and(|a| self.failsafe.has_lost(a))
    }

    /// Importer: makes the buffer that an import is.
    ///
    /// Errors: the exporter has moved the buffer meanwhile, or there is no place for the import.
    pub(crate) fn open_import(&mut self, link: &Arc<Link>) -> Result<(), Error> {
        if link.is_closed() {
            return Err(Error::Invalidated);
        }
        let broker = &mut self.desk()?.broker;
        broker.imports.add(link);
        broker.offer(link.extents.get().cloned());
        let opened = self.alone(Verb::Create {
            buffer: link.buffer,
            tenant: link.tenant,
            bytes: link.bytes,
            placement: Placement::only(IMPORT),
            priority: 0,
        });
        self.desk()?.broker.offer(None);
        opened
    }

    /// Importer: ends an import and says after which points nobody reads it any more.
    ///
    /// Errors: the mechanism has not ended it.
    pub(crate) fn close_import(&mut self, link: &Link) -> Result<PointSet, Error> {
        let (tenant, buffer) = (link.tenant, link.buffer);
        // Not there yet: opening it finds it closed. Or not there any more.
        let Some(home) = self.desk()?.ledger.home_of(buffer) else {
            return Ok(PointSet::new());
        };
        self.alone(Verb::Release { tenant, buffer })?;
        Ok(self.desk()?.ledger.ends_after(home, buffer))
    }

    /// Serves a verb in a batch of its own.
    fn alone(&mut self, verb: Verb) -> Result<(), Error> {
        let ended = self.serve(vec![verb]).pop();
        let missing = || Error::System("a request was not answered".into());
        ended.unwrap_or_else(|| Err(missing())).map(drop)
    }
}
