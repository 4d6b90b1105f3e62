//! The planner's thread: waiting requests of all clients become one batch.

use super::{Planner, Reply, Verb};
use crate::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The most requests that are grouped into one batch.
const GROUP: usize = 1024;

/// What reaches a planner's thread.
pub(crate) enum Message {
    /// Verbs in order. `exact` keeps them a batch of their own.
    Verbs {
        verbs: Vec<Verb>,
        exact: bool,
        reply: Sender<Vec<Result<Reply, Error>>>,
    },
    /// Anything else that needs the planner, between two batches.
    Control(Box<dyn FnOnce(&mut Planner) + Send>),
}

/// Starts a thread that owns a planner; it ends when the last sender is gone.
///
/// Errors: the system gives no thread.
pub(crate) fn start(
    name: &str,
    mut planner: Planner,
) -> std::io::Result<(Sender<Message>, JoinHandle<()>)> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name(name.into());
    let handle = thread.spawn(move || {
        let mut carried = None;
        while let Some(message) = carried.take().or_else(|| receiver.recv().ok()) {
            carried = turn(&mut planner, message, &receiver);
        }
    })?;
    Ok((sender, handle))
}

/// Serves one message, with as many waiting ones as belong into the same batch; returns the
/// message that ended the group.
fn turn(planner: &mut Planner, message: Message, waiting: &Receiver<Message>) -> Option<Message> {
    let (mut verbs, exact, reply) = match message {
        Message::Control(act) => {
            act(planner);
            return None;
        }
        Message::Verbs {
            verbs,
            exact,
            reply,
        } => (verbs, exact, reply),
    };
    let mut group = vec![(verbs.len(), reply)];
    let mut next = None;
    while !exact && verbs.len() < GROUP {
        match waiting.try_recv() {
            Ok(Message::Verbs {
                verbs: more,
                exact: false,
                reply,
            }) => {
                group.push((more.len(), reply));
                verbs.extend(more);
            }
            Ok(other) => {
                next = Some(other);
                break;
            }
            Err(_) => break,
        }
    }
    let mut replies = planner.serve(verbs).into_iter();
    for (count, reply) in group {
        // A client that no longer waits has dropped its end; its requests stand all the same.
        let _ = reply.send(replies.by_ref().take(count).collect());
    }
    next
}
