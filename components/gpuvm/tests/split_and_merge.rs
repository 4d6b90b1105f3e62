//! Cases G-1 to G-20 of the reference: what becomes of the mappings that a request overlaps.
//! Addresses in pages; `n` is 5 and `m` is 40.
#![allow(clippy::unwrap_used)]

mod common;

use common::outcome;

/// Old mappings, a request, the steps and the mappings that come of it.
#[track_caller]
fn case(old: &str, request: &str, steps: &str, result: &str) {
    let expected = (steps.to_owned(), result.to_owned());
    assert_eq!(outcome(old, request), expected);
}

/// ```text
/// old      0 |--a@n--| 1
/// request  0 |--a@n--| 1
/// left     0 |--a@n--| 1
/// ```
#[test]
fn g_1_the_same_again() {
    case(
        "0..1 a@5",
        "map 0..1 a@5",
        "unmap 0..1 a@5 keep, map 0..1 a@5",
        "0..1 a@5",
    );
}

/// ```text
/// old      0 |--a@n--| 1
/// request  0 |--a@m--| 1
/// left     0 |--a@m--| 1
/// ```
#[test]
fn g_2_another_offset() {
    case(
        "0..1 a@5",
        "map 0..1 a@40",
        "unmap 0..1 a@5, map 0..1 a@40",
        "0..1 a@40",
    );
}

/// ```text
/// old      0 |--a@n--| 1
/// request  0 |--b@n--| 1
/// left     0 |--b@n--| 1
/// ```
#[test]
fn g_3_another_buffer() {
    case(
        "0..1 a@5",
        "map 0..1 b@5",
        "unmap 0..1 a@5, map 0..1 b@5",
        "0..1 b@5",
    );
}

/// ```text
/// old      0 |--a@n--| 1
/// request  0 |------a@n------| 2
/// left     0 |------a@n------| 2
/// ```
#[test]
fn g_4_longer() {
    let old = "0..1 a@5";
    for (new, keep) in [("a@5", " keep"), ("b@5", ""), ("a@40", "")] {
        let steps = format!("unmap 0..1 a@5{keep}, map 0..2 {new}");
        case(
            old,
            &format!("map 0..2 {new}"),
            &steps,
            &format!("0..2 {new}"),
        );
    }
}

/// ```text
/// old      0 |------a@n------| 2
/// request  0 |--b@n--| 1
/// left     0 |--b@n--|-a@n+1-| 2
/// ```
#[test]
fn g_5_another_buffer_in_front() {
    case(
        "0..2 a@5",
        "map 0..1 b@5",
        "remap 0..2 a@5 to 1..2 a@6, map 0..1 b@5",
        "0..1 b@5, 1..2 a@6",
    );
}

/// ```text
/// old      0 |------a@n------| 2
/// request  0 |--a@n--| 1
/// left     0 |--a@n--|-a@n+1-| 2
/// ```
#[test]
fn g_6_the_same_in_front() {
    case(
        "0..2 a@5",
        "map 0..1 a@5",
        "remap 0..2 a@5 keep to 1..2 a@6, map 0..1 a@5",
        "0..1 a@5, 1..2 a@6",
    );
}

/// ```text
/// old      0 |------a@n------| 2
/// request          1 |--b@m--| 2
/// left     0 |--a@n--|--b@m--| 2
/// ```
#[test]
fn g_7_another_buffer_at_the_end() {
    case(
        "0..2 a@5",
        "map 1..2 b@40",
        "remap 0..2 a@5 to 0..1 a@5, map 1..2 b@40",
        "0..1 a@5, 1..2 b@40",
    );
}

/// ```text
/// old      0 |------a@n------| 2
/// request          1 |-a@n+1-| 2
/// left     0 |--a@n--|-a@n+1-| 2
/// ```
#[test]
fn g_8_the_same_at_the_end() {
    case(
        "0..2 a@5",
        "map 1..2 a@6",
        "remap 0..2 a@5 keep to 0..1 a@5, map 1..2 a@6",
        "0..1 a@5, 1..2 a@6",
    );
}

/// ```text
/// old      0 |------a@n------| 2
/// request          1 |------b@m------| 3
/// left     0 |--a@n--|------b@m------| 3
/// ```
#[test]
fn g_9_another_buffer_beyond_the_end() {
    case(
        "0..2 a@5",
        "map 1..3 b@40",
        "remap 0..2 a@5 to 0..1 a@5, map 1..3 b@40",
        "0..1 a@5, 1..3 b@40",
    );
}

/// ```text
/// old      0 |------a@n------| 2
/// request          1 |-----a@n+1-----| 3
/// left     0 |--a@n--|-----a@n+1-----| 3
/// ```
#[test]
fn g_10_the_same_beyond_the_end() {
    case(
        "0..2 a@5",
        "map 1..3 a@6",
        "remap 0..2 a@5 keep to 0..1 a@5, map 1..3 a@6",
        "0..1 a@5, 1..3 a@6",
    );
}

/// ```text
/// old      0 |----------a@n----------| 3
/// request          1 |--b@m--| 2
/// left     0 |--a@n--|--b@m--|-a@n+2-| 3
/// ```
#[test]
fn g_11_another_buffer_in_the_middle() {
    case(
        "0..3 a@5",
        "map 1..2 b@40",
        "remap 0..3 a@5 to 0..1 a@5 and 2..3 a@7, map 1..2 b@40",
        "0..1 a@5, 1..2 b@40, 2..3 a@7",
    );
}

/// ```text
/// old      0 |----------a@n----------| 3
/// request          1 |-a@n+1-| 2
/// left     0 |--a@n--|-a@n+1-|-a@n+2-| 3
/// ```
#[test]
fn g_12_the_same_in_the_middle() {
    case(
        "0..3 a@5",
        "map 1..2 a@6",
        "remap 0..3 a@5 keep to 0..1 a@5 and 2..3 a@7, map 1..2 a@6",
        "0..1 a@5, 1..2 a@6, 2..3 a@7",
    );
}

/// ```text
/// old              1 |-a@n+1-| 2
/// request  0 |------a@n------| 2
/// left     0 |------a@n------| 2
/// ```
#[test]
fn g_13_longer_in_front() {
    for (new, keep) in [("a@5", " keep"), ("b@5", ""), ("a@40", "")] {
        let steps = format!("unmap 1..2 a@6{keep}, map 0..2 {new}");
        case(
            "1..2 a@6",
            &format!("map 0..2 {new}"),
            &steps,
            &format!("0..2 {new}"),
        );
    }
}

/// ```text
/// old              1 |-a@n+1-| 2
/// request  0 |----------a@n----------| 3
/// left     0 |----------a@n----------| 3
/// ```
#[test]
fn g_14_longer_at_both_ends() {
    for (new, keep) in [("a@5", " keep"), ("b@5", ""), ("a@40", "")] {
        let steps = format!("unmap 1..2 a@6{keep}, map 0..3 {new}");
        case(
            "1..2 a@6",
            &format!("map 0..3 {new}"),
            &steps,
            &format!("0..3 {new}"),
        );
    }
}

/// ```text
/// old              1 |------a@n------| 3
/// request  0 |------b@m------| 2
/// left     0 |------b@m------|-a@n+1-| 3
/// ```
#[test]
fn g_15_another_buffer_over_the_beginning() {
    case(
        "1..3 a@5",
        "map 0..2 b@40",
        "remap 1..3 a@5 to 2..3 a@6, map 0..2 b@40",
        "0..2 b@40, 2..3 a@6",
    );
}

#[test]
fn g_16_into_nothing() {
    case("", "map 3..5 a@5", "map 3..5 a@5", "3..5 a@5");
}

/// ```text
/// old      0 |---a---| 2    3 |-b-| 4    5 |-c-| 6 |---d---| 8
/// request      1 |---------------a@40----------------| 7
/// left     0 |-a-|---------------a@40----------------|-d-| 8
/// ```
#[test]
fn g_17_over_holes_and_several_mappings() {
    case(
        "0..2 a@0, 3..4 b@0, 5..6 c@0, 6..8 d@0",
        "map 1..7 a@40",
        "remap 0..2 a@0 to 0..1 a@0, unmap 3..4 b@0, unmap 5..6 c@0, \
         remap 6..8 d@0 to 7..8 d@1, map 1..7 a@40",
        "0..1 a@0, 1..7 a@40, 7..8 d@1",
    );
}

#[test]
fn g_18_neighbours_stay() {
    let old = "0..1 a@5, 2..3 a@7";
    case(
        old,
        "map 1..2 a@6",
        "map 1..2 a@6",
        "0..1 a@5, 1..2 a@6, 2..3 a@7",
    );
    case(old, "unmap 1..2", "", old);
}

#[test]
fn g_19_sparse_mappings_are_never_kept() {
    for new in ["-@0", "a@0"] {
        let (request, steps) = (
            format!("map 0..2 {new}"),
            format!("unmap 0..2 -@0, map 0..2 {new}"),
        );
        case("0..2 -@0", &request, &steps, &format!("0..2 {new}"));
    }
    case(
        "0..3 -@0",
        "map 1..2 -@1",
        "remap 0..3 -@0 to 0..1 -@0 and 2..3 -@2, map 1..2 -@1",
        "0..1 -@0, 1..2 -@1, 2..3 -@2",
    );
}

/// ```text
/// old      2 |-------a-------| 6
/// exact    2 |///////////////| 6     inside        3 |///////| 5
/// left part  2 |///////| 4           right part        4 |///////| 6
/// ```
#[test]
fn g_20_unmapping() {
    let old = "2..6 a@5";
    case(old, "unmap 2..6", "unmap 2..6 a@5", "");
    case(
        old,
        "unmap 3..5",
        "remap 2..6 a@5 to 2..3 a@5 and 5..6 a@8",
        "2..3 a@5, 5..6 a@8",
    );
    case(old, "unmap 0..4", "remap 2..6 a@5 to 4..6 a@7", "4..6 a@7");
    case(old, "unmap 4..9", "remap 2..6 a@5 to 2..4 a@5", "2..4 a@5");
    case(old, "unmap 6..9", "", old);
    case(
        "0..2 a@0, 2..3 b@0, 4..6 a@4",
        "unmap 1..5",
        "remap 0..2 a@0 to 0..1 a@0, unmap 2..3 b@0, remap 4..6 a@4 to 5..6 a@5",
        "0..1 a@0, 5..6 a@5",
    );
}
