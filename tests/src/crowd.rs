//! Many buffers at once.

use gpumm::{Buffer, BufferDesc, Client, Job};

/// Requests per batch.
pub const BATCH: usize = 64;

/// Creates buffers in batches and, if wanted, writes them.
pub fn create(client: &Client, count: u64, bytes: u64, write: bool) -> Vec<Buffer> {
    let mut all = Vec::with_capacity(count as usize);
    let numbers: Vec<u64> = (0..count).collect();
    for part in numbers.chunks(BATCH) {
        let mut batch = client.batch();
        let made = part.iter().map(|&n| {
            let (slot, buffer) = batch.create(BufferDesc::new(bytes));
            if write {
                batch.access(Job::Fill { pattern: n }, &[&buffer], false);
            }
            (slot, buffer)
        });
        let made: Vec<_> = made.collect();
        let mut ended = batch.submit().expect("room");
        all.extend(
            made.into_iter()
                .map(|(s, b)| ended.created(s, b).expect("room")),
        );
    }
    all
}
