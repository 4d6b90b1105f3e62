#![allow(clippy::unwrap_used)]

use super::*;

fn span(start: u64, end: u64, write: bool) -> Span {
    Span { start, end, write }
}

/// Scattered pages are sorted by bits; the others here are nearly that.
#[test]
fn scattered_spans_are_sorted_too() {
    let mut random = fastrand::Rng::with_seed(3);
    for (stride, base, bytes) in [
        (8192, 0, 4096),
        (4096, 1 << 40, 4096),
        (24, 8, 8),
        (3, 1, 2),
        (1 << 30, 0, 4096),
        (1 << 20, 1 << 19, 1 << 19),
    ] {
        for kinds in [1, 2] {
            let mut spans: Vec<_> = (0..5000)
                .map(|n| span(base + n * stride, base + n * stride + bytes, n % kinds == 0))
                .collect();
            let sorted = Spans::new(&mut spans.clone()).unwrap();
            random.shuffle(&mut spans);
            assert_eq!(*Spans::new(&mut spans.clone()).unwrap(), *sorted);
            let doubled = span(base + 7 * stride, base + 7 * stride + bytes, true);
            spans.insert(random.usize(..spans.len()), doubled);
            let error = Spans::new(&mut spans).unwrap_err();
            assert_eq!(error, (doubled.start, doubled.end));
        }
    }
}

#[test]
fn spans_are_sorted_merged_and_checked() {
    let mut spans = vec![
        span(8, 16, false),
        span(0, 8, false),
        span(12, 20, false),
        span(20, 24, true),
        span(24, 30, true),
        span(40, 41, false),
    ];
    assert_eq!(
        *Spans::new(&mut spans).unwrap(),
        [span(0, 20, false), span(20, 30, true), span(40, 41, false)]
    );
    let mut doubled = vec![span(4, 12, true), span(0, 5, false)];
    assert_eq!(Spans::new(&mut doubled).unwrap_err(), (4, 5));
    let mut nested = vec![span(0, 30, false), span(5, 9, false), span(20, 25, true)];
    assert_eq!(Spans::new(&mut nested).unwrap_err(), (20, 25));
    let mut twice = vec![span(4, 12, true), span(6, 8, true)];
    assert_eq!(Spans::new(&mut twice).unwrap_err(), (6, 8));
    assert!(Spans::new(&mut Vec::new()).unwrap().is_empty());
}

#[test]
fn spans_that_overlap_become_one() {
    let apart = vec![span(8, 16, true), span(0, 8, false)];
    let (spans, twice) = Spans::cover(apart);
    assert_eq!(
        (&*spans, twice),
        (&[span(0, 8, false), span(8, 16, true)][..], false)
    );
    let doubled = vec![
        span(16, 24, false),
        span(0, 8, true),
        span(4, 12, false),
        span(12, 16, false),
        span(20, 21, false),
        span(30, 31, true),
    ];
    let (spans, twice) = Spans::cover(doubled);
    let expected = [span(0, 12, true), span(12, 24, false), span(30, 31, true)];
    assert_eq!((&*spans, twice), (&expected[..], true));
}
