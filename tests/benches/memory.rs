//! What the process holds more for each live buffer at rest: mechanism, strategy, broker and ledger
//! as native libraries, the client's handle not counted. In the component pointers have half the
//! size.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use cap::Cap;
use common::{Row, finish};
use gpumm::{Buffer, BufferDesc, Client, Job, Pacing, Runtime};
use gpumm_tests::native;
use serde_json::Map;
use std::alloc::System;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const BATCH: usize = 64;

/// Creates buffers in batches and, if wanted, writes them.
fn create(client: &Client, count: u64, bytes: u64, write: bool) -> Vec<Buffer> {
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
        let mut ended = batch.submit().unwrap();
        all.extend(made.into_iter().map(|(s, b)| ended.created(s, b).unwrap()));
    }
    all
}

fn memory(count: u64) -> Row {
    let runtime = Runtime::builder()
        .sim(2 * count * 4096)
        .pacing(Pacing::Window(4))
        .parts(native::parts("tlsf"))
        .build()
        .unwrap();
    let client = runtime.client();
    let device = runtime.device(0).unwrap();
    create(&client, 1000, 4096, true);
    device.drain().unwrap();
    let before = HEAP.allocated();
    let held = create(&client, count, 4096, true);
    device.drain().unwrap();
    let handles = held.capacity() * size_of::<Buffer>();
    let after = HEAP.allocated() - handles;
    let each = after.saturating_sub(before) as f64 / count as f64;
    Row {
        bench: "memory",
        case: format!("live/{count}"),
        subject: "native".into(),
        unit: "B/buffer",
        samples: vec![each],
        extra: Map::new(),
    }
}

fn main() {
    finish(vec![memory(10_000), memory(50_000)]);
}
