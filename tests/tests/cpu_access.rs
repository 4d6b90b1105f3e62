//! Accesses of the CPU: moves wait for them, or end them.

use gpumm::contract::facts::Content;
use gpumm::{Buffer, BufferDesc, Client, Error, OnMove, Runtime, SYSTEM, VRAM};
use std::time::Duration;

const SIZE: u64 = 256 << 10;

/// A device with room for two buffers.
fn small() -> (Runtime, Client) {
    let runtime = Runtime::builder()
        .sim(2 * SIZE)
        .system_memory(64 * SIZE)
        .build()
        .expect("a Runtime");
    let client = runtime.client();
    (runtime, client)
}

fn filled(client: &Client, pattern: u64) -> Buffer {
    let buffer = client.create(BufferDesc::new(SIZE)).expect("room");
    buffer
        .fill(pattern)
        .expect("a plan")
        .wait()
        .expect("a fill");
    buffer
}

fn word(buffer: &Buffer) -> u64 {
    let bytes = buffer.read(0, 8).expect("eight bytes");
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

#[test]
fn the_cpu_sees_what_jobs_wrote_and_jobs_see_what_the_cpu_wrote() {
    let (_runtime, client) = small();
    let buffer = filled(&client, 7);
    let access = buffer.cpu_access(true, OnMove::Wait).expect("an access");
    assert_eq!(access.read(8, 8).expect("bytes"), 7u64.to_le_bytes());
    access.write(0, &9u64.to_le_bytes()).expect("a write");
    assert!(matches!(access.read(SIZE - 4, 8), Err(Error::Argument(_))));
    drop(access);
    assert_eq!(word(&buffer), 9);
    let reader = buffer.cpu_access(false, OnMove::Wait).expect("an access");
    assert!(matches!(reader.write(0, &[1]), Err(Error::Argument(_))));
    assert_eq!(word(&buffer), 9, "two readers do not wait for each other");
}

#[test]
fn an_open_access_keeps_its_buffer_where_it_is() {
    let (_runtime, client) = small();
    let oldest = filled(&client, 1);
    let access = oldest.cpu_access(false, OnMove::Wait).expect("an access");
    let others: Vec<Buffer> = (2..6).map(|n| filled(&client, n)).collect();
    assert_eq!(oldest.state().expect("a state").place, VRAM);
    assert_eq!(access.read(0, 8).expect("bytes"), 1u64.to_le_bytes());
    drop(access);
    let more: Vec<Buffer> = (6..9).map(|n| filled(&client, n)).collect();
    assert_ne!(oldest.state().expect("a state").place, VRAM);
    for (n, buffer) in (2..).zip(others.iter().chain(&more)) {
        assert_eq!(word(buffer), n);
    }
    assert_eq!(word(&oldest), 1);
}

#[test]
fn a_move_waits_for_an_access_that_does_not_give_way() {
    let (_runtime, client) = small();
    let away = filled(&client, 1);
    let _others = [filled(&client, 2), filled(&client, 3)];
    assert_ne!(away.state().expect("a state").place, VRAM);
    let access = away.cpu_access(true, OnMove::Wait).expect("an access");
    access.write(0, &11u64.to_le_bytes()).expect("a write");
    // Needs the buffer in device memory: the plan stands, its copy waits.
    let read = gpumm::Job::Read {
        offset: 0,
        bytes: 16,
    };
    let fence = client.run(read, &[&away]).expect("a plan");
    assert!(!fence.wait_for(Duration::from_millis(50)).expect("a wait"));
    assert_eq!(away.state().expect("a state").place, VRAM, "state first");
    access.write(8, &12u64.to_le_bytes()).expect("a write");
    drop(access);
    let bytes = [11u64.to_le_bytes(), 12u64.to_le_bytes()].concat();
    let outcome = fence.outcome().expect("an outcome");
    assert_eq!(outcome, gpumm::hw::OutcomeValue::Bytes(bytes));
}

#[test]
fn a_move_ends_an_access_that_gives_way() {
    let (_runtime, client) = small();
    let oldest = filled(&client, 1);
    let access = oldest.cpu_access(true, OnMove::Revoke).expect("an access");
    access.write(0, &21u64.to_le_bytes()).expect("a write");
    let _others = [filled(&client, 2), filled(&client, 3)];
    assert_ne!(oldest.state().expect("a state").place, VRAM);
    assert!(matches!(access.read(0, 8), Err(Error::Revoked)));
    assert!(matches!(access.write(0, &[0; 8]), Err(Error::Revoked)));
    assert_eq!(word(&oldest), 21, "what was written before the move counts");
}

#[test]
fn accesses_are_counted_and_never_written_memory_is_clean() {
    let (_runtime, client) = small();
    let first = filled(&client, u64::MAX);
    drop(first);
    // Another tenant's bytes are not shown, also not to the CPU.
    let other = _runtime.client();
    let buffer = other.create(BufferDesc::new(SIZE)).expect("room");
    let open: Vec<_> = (0..4)
        .map(|_| buffer.cpu_access(false, OnMove::Wait).expect("an access"))
        .collect();
    for access in &open {
        assert_eq!(access.read(0, 8).expect("bytes"), [0; 8]);
    }
    assert_eq!(buffer.state().expect("a state").content, Content::Clean);
    let full = buffer.cpu_access(false, OnMove::Wait);
    assert!(matches!(full, Err(Error::Argument(_))));
    drop(open);
    buffer.cpu_access(false, OnMove::Wait).expect("room again");
    assert_ne!(buffer.state().expect("a state").place, SYSTEM);
}
