//! Measures getting pages, giving them back, and getting them again:
//! `cargo run --release --example first_touch`.

use std::time::Instant;

use gpumm_hw::{DeviceError, SystemMemory};

const BYTES: u64 = 256 << 20;
const PAGE: u64 = 4096;

/// What of this process lies in memory, in MiB; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    number.unwrap_or(0) >> 10
}

fn timed(
    name: &str,
    places: &[u64],
    bytes: u64,
    act: impl Fn(u64) -> Result<(), DeviceError>,
) -> Result<(), DeviceError> {
    let start = Instant::now();
    places.iter().try_for_each(|&place| act(place))?;
    let time = start.elapsed();
    println!(
        "{name:>34}: {:8.1} ms, {:6.2} GB/s, {:8.2} us each, {:4} MiB resident",
        time.as_secs_f64() * 1e3,
        (places.len() as u64 * bytes) as f64 / time.as_nanos() as f64,
        time.as_secs_f64() * 1e6 / places.len() as f64,
        resident(),
    );
    Ok(())
}

fn main() -> Result<(), DeviceError> {
    let mut random = fastrand::Rng::with_seed(7);
    let in_order: Vec<_> = (0..BYTES).step_by(PAGE as usize).collect();
    let mut scattered = in_order.clone();
    random.shuffle(&mut scattered);
    let half = &scattered[..scattered.len() / 2];
    let sparse: Vec<_> = (0..BYTES).step_by(16 * PAGE as usize).collect();
    let page = [1; PAGE as usize];
    // The first round's pages may be new to a virtual machine, which costs far more.
    for round in 0..3 {
        println!("round {round}");
        let memory = SystemMemory::new(BYTES)?;
        let write = |at| memory.write(at, &page);
        let drop = |at| memory.decommit(at, PAGE);
        timed("first touch, pages in order", &in_order, PAGE, write)?;
        timed("again", &in_order, PAGE, write)?;
        timed("decommit all", &[0], BYTES, |at| memory.decommit(at, BYTES))?;
        timed("first touch, scattered pages", &scattered, PAGE, write)?;
        timed("decommit half, page by page", half, PAGE, drop)?;
        timed("touch these", half, PAGE, write)?;
        timed("decommit all", &[0], BYTES, |at| memory.decommit(at, BYTES))?;
        timed("first touch, every 16th page", &sparse, PAGE, write)?;
        timed("decommit these", &sparse, PAGE, drop)?;
        timed("commit all", &[0], BYTES, |at| memory.commit(at, BYTES))?;
    }
    Ok(())
}
