//! Waiting for the device to be done.

use super::Planner;
use crate::error::Error;
use gpumm_contract::request::{Request, Used};

impl Planner {
    /// Waits for everything submitted and delivers it.
    ///
    /// Errors: the device must stop.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        if let Some(why) = &self.stopped {
            return Err(Error::Stopped(why.clone()));
        }
        let uses = self.gate.close();
        self.drain_closed(uses)?;
        self.gate.open();
        Ok(())
    }

    fn drain_closed(&mut self, uses: Vec<Used>) -> Result<(), Error> {
        if !uses.is_empty() {
            let uses: Vec<Request> = uses.into_iter().map(Request::Used).collect();
            self.run(&uses)?;
        }
        // What a delivered loss is answered with is submitted, and waited for, in its turn.
        loop {
            let last = self.last_points()?;
            let fresh = self.delivered.drain(&last)?;
            if fresh.is_empty() {
                self.forget_closed();
                return Ok(());
            }
            let requests = self.told(fresh)?;
            if !requests.is_empty() {
                self.run(&requests)?;
            }
        }
    }
}
