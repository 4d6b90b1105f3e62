#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn counted_choices() {
    let chosen = |which| -> Vec<u64> { (1..=12).filter(|n| hits(which, *n, 0, 0)).collect() };
    assert_eq!(chosen(Which::All).len(), 12);
    assert_eq!(chosen(Which::Nth(5)), [5]);
    assert_eq!(chosen(Which::Nth(0)), []);
    assert_eq!(chosen(Which::Every(5)), [5, 10]);
    assert_eq!(chosen(Which::Every(1)).len(), 12);
    assert_eq!(chosen(Which::Every(0)), []);
    assert_eq!(chosen(Which::Percent(0)), []);
    assert_eq!(chosen(Which::Percent(1_000_000)).len(), 12);
    assert_eq!(chosen(Which::Percent(u32::MAX)).len(), 12);
}

#[test]
fn chance_depends_on_seed_and_rule_and_keeps_its_share() {
    let chosen = |seed, rule| -> Vec<u64> {
        let five = Which::Percent(50_000);
        (1..=100_000)
            .filter(|n| hits(five, *n, seed, rule))
            .collect()
    };
    let base = chosen(1, 0);
    assert_eq!(base, chosen(1, 0));
    for (seed, rule) in [(1, 0), (2, 0), (1, 1), (0, 0), (u64::MAX, u64::MAX)] {
        let other = chosen(seed, rule);
        // Five standard deviations.
        assert!(other.len().abs_diff(5000) < 345, "{}", other.len());
        let both = other.iter().filter(|n| base.contains(n)).count();
        assert!((seed, rule) == (1, 0) || both < 400, "{both}");
    }
    // What a seed chooses is a promise: recorded runs are repeated with it.
    assert_eq!(base[..4], [3, 28, 38, 69]);
}

#[test]
fn the_first_rule_that_hits_acts_and_all_count() {
    let faults = Faults::new(0);
    assert!(faults.armed().is_none());
    let mut rules = faults.rules();
    for rule in [
        FaultRule::HangCopy(Which::Nth(2)),
        FaultRule::FailCopy(Which::Every(2)),
        FaultRule::FailJob(Which::All),
        FaultRule::FailFallbackAllocation(Which::Every(2)),
        FaultRule::LoseDevice { after: 5 },
    ] {
        faults.arm(&mut rules, rule);
    }
    drop(rules);
    let mut rules = faults.armed().unwrap();
    let copy = Command::Copy {
        src: [].into(),
        dst: [].into(),
        src_offset: 0,
        dst_offset: 0,
        bytes: 0,
    };
    use EngineKind::{Compute, Copy};
    assert_eq!(rules.judge(Copy, &copy, true), Ok(Verdict::Honest));
    // Refused: not a copy, not an op.
    let refused = Err(DeviceError::NoRescueMemory);
    assert_eq!(rules.judge(Copy, &copy, true), refused);
    assert_eq!(rules.judge(Copy, &Command::Nop, true), Ok(Verdict::Honest));
    assert_eq!(rules.judge(Copy, &copy, false), Ok(Verdict::Hang));
    assert_eq!(rules.judge(Copy, &copy, false), Ok(Verdict::Honest));
    // A copy on a compute engine is a job.
    assert_eq!(rules.judge(Compute, &copy, false), Ok(Verdict::Fail));
    assert_eq!(
        rules.judge(Compute, &Command::Nop, false),
        Ok(Verdict::Honest)
    );
    assert!(!rules.take_loss());
    assert_eq!(rules.judge(Copy, &copy, false), Ok(Verdict::Fail));
    assert!(rules.take_loss());
    assert!(!rules.take_loss());
    assert_eq!(rules.judge(Copy, &copy, true), Ok(Verdict::Honest));
    assert_eq!(rules.judge(Copy, &copy, true), refused);
    assert!(!rules.take_loss());
}
