#![allow(clippy::unwrap_used)]

use super::*;

const MAKERS: [fn(Which) -> FaultRule; 8] = [
    FaultRule::FailCopy,
    FaultRule::HangCopy,
    FaultRule::FailJob,
    FaultRule::HangJob,
    FaultRule::FailFallbackAllocation,
    FaultRule::FailDmaMap,
    FaultRule::FailPteWrite,
    FaultRule::FailPteReservation,
];

fn random_which(random: &mut fastrand::Rng) -> Which {
    let most = [2, 1000, u64::MAX][random.usize(0..3)];
    match random.u8(0..4) {
        0 => Which::Nth(random.u64(1..=most)),
        1 => Which::Every(random.u64(1..=most)),
        2 => Which::Percent(random.u32(0..=1_000_000)),
        _ => Which::All,
    }
}

fn random_rule(random: &mut fastrand::Rng) -> FaultRule {
    match random.usize(0..10) {
        8 => FaultRule::LoseDevice {
            after: random.u64(..),
        },
        9 => FaultRule::RefuseFallback,
        index => MAKERS[index](random_which(random)),
    }
}

#[test]
fn what_is_written_parses_back() {
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..20_000 {
        let rule = random_rule(&mut random);
        let text = rule.to_string();
        assert_eq!(text.parse(), Ok(rule), "{text}");
        let spaces = [" ", "  ", "\t", "\n", " \u{2003}"];
        let spread = text.replace(' ', spaces[random.usize(0..spaces.len())]);
        assert_eq!(format!(" {spread}\n").parse(), Ok(rule), "{spread:?}");
        assert_eq!(rule.to_string(), text);
    }
}

#[test]
fn rules_mean_what_they_say() {
    use FaultRule::*;
    use Which::*;
    for (text, rule) in [
        ("fail copy", FailCopy(All)),
        ("fail copy 3", FailCopy(Nth(3))),
        ("fail copy every 10", FailCopy(Every(10))),
        ("fail copy 5%", FailCopy(Percent(50_000))),
        ("hang copy 0.5%", HangCopy(Percent(5000))),
        ("hang copy 00.0001%", HangCopy(Percent(1))),
        ("fail job 100.0000%", FailJob(Percent(1_000_000))),
        ("fail job 0%", FailJob(Percent(0))),
        ("hang job 18446744073709551615", HangJob(Nth(u64::MAX))),
        ("lose device after 7 ops", LoseDevice { after: 7 }),
        ("lose device after 1 op", LoseDevice { after: 1 }),
        ("lose device after 0 ops", LoseDevice { after: 0 }),
        ("refuse fallback", RefuseFallback),
        ("fail allocation of fallback", FailFallbackAllocation(All)),
        (
            "fail allocation of fallback every 2",
            FailFallbackAllocation(Every(2)),
        ),
        ("fail dma map 4", FailDmaMap(Nth(4))),
        ("fail pte write 3", FailPteWrite(Nth(3))),
        ("fail pte reservation", FailPteReservation(All)),
    ] {
        assert_eq!(text.parse(), Ok(rule), "{text}");
    }
}

#[test]
fn errors_name_the_word_and_what_is_possible() {
    let number = "a number from 1, every N, P%, or nothing for every one";
    let percent = "0% to 100%, with up to 4 decimals";
    let after_fail = "copy, job, allocation of fallback, dma map, pte write, pte reservation";
    for (text, word, possible) in [
        ("", "", "fail, hang, lose, refuse"),
        ("  \n", "", "fail, hang, lose, refuse"),
        ("fial copy 3", "fial", "fail, hang, lose, refuse"),
        ("Fail copy", "Fail", "fail, hang, lose, refuse"),
        ("fail", "", after_fail),
        ("fail cpoy 3", "cpoy", after_fail),
        ("hang dma map", "dma", "copy, job"),
        ("fail copy three", "three", number),
        ("fail copy 0", "0", number),
        ("fail copy -1", "-1", number),
        ("fail copy +1", "+1", number),
        (
            "fail copy 18446744073709551616",
            "18446744073709551616",
            number,
        ),
        ("fail copy every", "", "a number from 1"),
        ("fail copy every 0", "0", "a number from 1"),
        ("fail copy every 5%", "5%", "a number from 1"),
        ("fail copy %", "%", percent),
        ("fail copy 101%", "101%", percent),
        ("fail copy 100.0001%", "100.0001%", percent),
        ("fail copy .5%", ".5%", percent),
        ("fail copy 5.%", "5.%", percent),
        ("fail copy 0.00001%", "0.00001%", percent),
        ("fail copy 1e1%", "1e1%", percent),
        (
            "fail copy 99999999999999999999%",
            "99999999999999999999%",
            percent,
        ),
        ("fail copy 5 %", "%", "nothing more"),
        ("fail copy 3 4", "4", "nothing more"),
        ("fail allocation", "", "of"),
        ("fail allocation of copy", "copy", "fallback"),
        ("fail dma 3", "3", "map"),
        ("fail pte 3", "3", "write, reservation"),
        ("lose", "", "device"),
        ("lose device 5", "5", "after"),
        ("lose device after", "", "a number"),
        ("lose device after x ops", "x", "a number"),
        ("lose device after 5", "", "ops"),
        ("lose device after 5 copies", "copies", "ops"),
        ("refuse copy", "copy", "fallback"),
        ("refuse fallback 3", "3", "nothing more"),
    ] {
        let error = text.parse::<FaultRule>().unwrap_err().to_string();
        let expected = match word {
            "" => format!("a fault rule is not complete; possible: {possible}"),
            word => format!("a fault rule cannot have {word:?} here; possible: {possible}"),
        };
        assert_eq!(error, expected, "{text:?}");
    }
}

#[test]
fn errors_are_one_short_line() {
    let long = "\u{e9}".repeat(5000);
    for text in [format!("fail {long}"), "fail \u{1b}[31m\u{7}x".to_owned()] {
        let error = text.parse::<FaultRule>().unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn the_help_teaches_every_rule() {
    let (forms, examples) = FAULT_HELP.split_once("Examples\n").unwrap();
    let examples: Vec<FaultRule> = examples
        .lines()
        .map(|line| {
            let rule: FaultRule = line.parse().unwrap();
            assert_eq!(rule.to_string(), line.trim());
            rule
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let rule = random_rule(&mut random);
        let same =
            |other: &FaultRule| std::mem::discriminant(other) == std::mem::discriminant(&rule);
        assert!(examples.iter().any(same), "{rule}");
        let form = rule.to_string();
        let form = form.split(char::is_numeric).next().unwrap();
        let form = form.trim_end().trim_end_matches("every").trim_end();
        assert!(forms.contains(&format!("  {form} ")), "{form}");
    }
    assert!(FAULT_HELP.lines().all(|line| line.chars().count() <= 100));
}
