//! Cases I-17 to I-26 of the reference: how two clients, and more, share a ring.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use gpumm_scheduler::Priority::{self, High, Low, Normal};

/// Clients in the reference's notation: priority, jobs, microseconds, waits for them, then waits.
fn load(priority: Priority, jobs: u32, micros: u64, sync: bool, wait: u64) -> Load {
    Load {
        priority,
        jobs,
        micros,
        sync,
        wait,
    }
}

/// Long enough for a low priority's share to be many jobs.
const TIME: u64 = 8 * SECOND;

fn ratio(loads: [Load; 2], credits: u32) -> f64 {
    let shares = compete(&loads, credits, TIME);
    let worked: u64 = shares.iter().map(|share| share.worked).sum();
    assert!(worked > TIME - 10 * MS, "the ring is never idle: {worked}");
    shares[0].worked as f64 / shares[1].worked as f64
}

fn busy(priority: Priority) -> Load {
    load(priority, 1, 8_000, false, 0)
}

#[track_caller]
fn assert_ratio(loads: [Load; 2], expected: f64) {
    for credits in [1, 2] {
        let found = ratio(loads, credits);
        let right = expected * 0.9..=expected * 1.1;
        assert!(right.contains(&found), "{found} with {credits} credits");
    }
}

#[test]
fn i_17_normal_and_normal() {
    assert_ratio([busy(Normal), busy(Normal)], 1.0);
}

#[test]
fn i_18_normal_and_low() {
    assert_ratio([busy(Normal), busy(Low)], 8.0);
}

#[test]
fn i_19_high_and_normal() {
    assert_ratio([busy(High), busy(Normal)], 4.0);
}

#[test]
fn i_20_high_and_low() {
    assert_ratio([busy(High), busy(Low)], 32.0);
}

/// One that leaves room, and one that works twice as long: both get all that they ask for, but
/// for waiting for one job of the other.
#[track_caller]
fn polite(one: Priority, other: Priority) {
    let loads = [
        load(one, 1, 1_500, true, 1_500),
        load(other, 1, 2_500, true, 2_500),
    ];
    for credits in [1, 2] {
        let shares = compete(&loads, credits, TIME);
        let [first, second] = &shares[..] else {
            panic!()
        };
        // Alone they would finish one job per 3 and one per 5 ms.
        assert!(first.finished as u64 > TIME / (3_000 + 2_500));
        assert!(second.finished as u64 > TIME / (5_000 + 1_500));
        assert!(first.latency <= 2_500 && second.latency <= 1_500);
    }
}

#[test]
fn i_21_normal_and_normal_with_pauses() {
    polite(Normal, Normal);
}

#[test]
fn i_22_normal_and_low_with_pauses() {
    polite(Normal, Low);
}

#[test]
fn i_23_high_and_normal_with_pauses() {
    polite(High, Normal);
}

/// Someone who always has work, and someone who has some now and then and waits for no more than
/// what is on the ring already: one job of the other per credit.
#[track_caller]
fn interactive(hog: Load, other: Load) {
    for credits in [1, 2] {
        let shares = compete(&[hog, other], credits, TIME / 4);
        let bound = u64::from(credits) * hog.micros;
        let latency = shares[1].latency;
        assert!(latency <= bound, "{latency} with {credits} credits");
        let cycle = other.wait + other.micros + bound;
        assert!(shares[1].finished as u64 >= TIME / 4 / cycle - 1);
        assert!(shares[0].finished > 0);
    }
}

#[test]
fn i_24_a_low_hog() {
    let hog = load(Low, 3, 2_500, false, 500);
    interactive(hog, load(Normal, 1, 500, false, 10_000));
    interactive(hog, load(Normal, 1, 500, true, 10_000));
}

#[test]
fn i_25_a_normal_hog() {
    let hog = load(Normal, 3, 2_500, true, 2_500);
    interactive(hog, load(Normal, 1, 1_000, true, 9_000));
    interactive(hog, load(Normal, 1, 1_000, false, 9_000));
}

#[test]
fn i_26_a_hog_of_long_jobs() {
    let hog = load(Normal, 4, 50_000, false, 1);
    interactive(hog, load(Normal, 1, 1_000, true, 9_000));
    many();
}

/// The reference's runs with many clients: all get the same.
fn many() {
    for clients in [2, 3, 7, 13, 31] {
        let jobs = if clients == 31 { 2 } else { 4 };
        let loads = vec![load(Normal, jobs, 1_000, true, 0); clients];
        let shares = compete(&loads, 2, TIME / 4);
        let mean = TIME / 4 / clients as u64;
        for share in shares {
            let right = mean * 9 / 10..=mean * 11 / 10;
            assert!(right.contains(&share.worked), "{clients}: {}", share.worked);
        }
    }
}

/// Who comes late gets its share from then on, and nothing for the time before.
#[test]
fn nobody_saves_time_up() {
    let mut mock = Mock::new(&[ring(1)]);
    let [one, other] = mock.entities();
    for _ in 0..1_000 {
        mock.push(one, Some(MS));
    }
    mock.run_for(500 * MS);
    for _ in 0..200 {
        mock.push(other, Some(MS));
    }
    mock.run_for(100 * MS);
    let worked = mock.rings[0].worked[&other];
    assert!((49 * MS..=51 * MS).contains(&worked), "{worked}");
}

/// A low priority that joins a higher one waits as long as that would be served before its share.
#[test]
fn a_low_priority_joins_further_back() {
    let mut mock = Mock::new(&[ring(1)]);
    let [normal] = mock.entities();
    let low = mock.entity(Low);
    for _ in 0..1_000 {
        mock.push(normal, Some(MS));
    }
    mock.run_for(100 * MS);
    let point = mock.push(low, Some(MS));
    mock.run_for(100 * MS);
    let waited = mock.fate(point).scheduled.unwrap() - 100 * MS;
    assert!((8 * MS..=10 * MS).contains(&waited), "{waited}");
    // A higher one does not wait.
    let high = mock.entity(High);
    let point = mock.push(high, Some(MS));
    mock.run_for(100 * MS);
    let waited = mock.fate(point).scheduled.unwrap() - 200 * MS;
    assert!(waited <= MS, "{waited}");
}
