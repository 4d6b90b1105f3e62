#![allow(clippy::unwrap_used)]

use super::*;

const SIZE: u64 = 300;

fn system(ranges: &[(u64, u64)]) -> Vec<Segment> {
    ranges
        .iter()
        .map(|(start, end)| Segment::system(*start, end - start))
        .collect()
}

fn reach(iommu: &Iommu, start: u64, end: u64) -> Result<(), DeviceError> {
    iommu.check(&Spans::one(start, end - start, false))
}

#[test]
fn faults_name_the_first_unmapped_bytes() {
    let iommu = Iommu::new(true, SIZE);
    iommu.map(&system(&[(10, 20), (40, 50), (20, 30)])).unwrap();
    let fault = |offset, end| {
        Err(DeviceError::IommuFault {
            offset,
            bytes: end - offset,
        })
    };
    for (start, end, expected) in [
        (10, 30, Ok(())),
        (15, 25, Ok(())),
        (40, 50, Ok(())),
        (9, 11, fault(9, 10)),
        (0, 5, fault(0, 5)),
        (0, 300, fault(0, 10)),
        (29, 31, fault(30, 31)),
        (30, 40, fault(30, 40)),
        (25, 50, fault(30, 40)),
        (49, 60, fault(50, 60)),
        (200, 300, fault(200, 300)),
    ] {
        assert_eq!(reach(&iommu, start, end), expected, "{start} {end}");
    }
    assert_eq!(iommu.check(&Spans::none()), Ok(()));
}

#[test]
fn refusals_change_nothing() {
    let iommu = Iommu::new(true, SIZE);
    let mapped = |offset, bytes| Err(DeviceError::DmaMapped { offset, bytes });
    let not_mapped = |offset, bytes| Err(DeviceError::NotMapped { offset, bytes });
    iommu.map(&system(&[(100, 120)])).unwrap();
    assert_eq!(iommu.map(&system(&[(0, 10), (119, 130)])), mapped(119, 1));
    assert_eq!(
        iommu.map(&system(&[(130, 140), (90, 200)])),
        mapped(130, 10)
    );
    assert_eq!(iommu.map(&system(&[(0, 10), (5, 6)])), mapped(5, 1));
    let bad = [Segment::system(0, 10), Segment::vram(20, 10)];
    assert_eq!(iommu.map(&bad), Err(DeviceError::InvalidDma));
    assert_eq!(iommu.unmap(&bad), Err(DeviceError::InvalidDma));
    for (offset, bytes) in [(SIZE, 1), (SIZE + 1, 0), (u64::MAX, 2), (0, SIZE + 1)] {
        let segment = Segment::system(offset, bytes);
        let refused = iommu.map(&[Segment::system(0, 10), segment]);
        assert!(matches!(refused, Err(DeviceError::OutOfBounds { .. })));
        let refused = iommu.unmap(&[Segment::system(100, 10), segment]);
        assert!(matches!(refused, Err(DeviceError::OutOfBounds { .. })));
    }
    assert_eq!(
        iommu.unmap(&system(&[(100, 110), (99, 100)])),
        not_mapped(99, 1)
    );
    assert_eq!(iommu.unmap(&system(&[(100, 125)])), not_mapped(120, 5));
    assert_eq!(
        iommu.unmap(&system(&[(100, 110), (105, 120)])),
        not_mapped(105, 5)
    );
    assert_eq!(iommu.bytes(), 20);
    assert_eq!(reach(&iommu, 100, 120), Ok(()));
    assert!(reach(&iommu, 0, 1).is_err());
    iommu.map(&[]).unwrap();
    iommu
        .map(&[Segment::system(110, 0), Segment::system(SIZE, 0)])
        .unwrap();
    iommu.unmap(&system(&[(100, 120)])).unwrap();
    assert_eq!(iommu.bytes(), 0);
}

#[test]
fn without_an_iommu_everything_is_reached() {
    let iommu = Iommu::new(false, SIZE);
    assert_eq!(reach(&iommu, 0, SIZE), Ok(()));
    let list = system(&[(0, 10)]);
    assert_eq!(iommu.map(&list), Ok(()));
    assert_eq!(iommu.map(&list), Ok(()));
    assert_eq!(iommu.unmap(&list), Ok(()));
    assert_eq!(iommu.unmap(&list), Ok(()));
    assert_eq!(
        iommu.map(&[Segment::vram(0, 1)]),
        Err(DeviceError::InvalidDma)
    );
    assert_eq!(iommu.bytes(), 0);
}

/// Against one flag per byte.
#[test]
fn mappings_agree_with_a_plain_model() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let iommu = Iommu::new(true, SIZE);
        let mut model = [false; SIZE as usize];
        let (mut changed, mut refused) = (0, 0);
        for _ in 0..600 {
            let list: Vec<_> = (0..random.usize(1..3))
                .map(|_| {
                    let start = random.u64(0..SIZE);
                    (start, (start + random.u64(0..12)).min(SIZE))
                })
                .collect();
            let map = random.bool();
            let mut uses = [0; SIZE as usize];
            for at in list.iter().flat_map(|(start, end)| *start..*end) {
                uses[at as usize] += 1;
            }
            let wrong = |at: &usize| uses[*at] > 1 || (uses[*at] == 1 && model[*at] == map);
            let legal = (0..SIZE as usize).find(wrong).is_none();
            let answer = match map {
                true => iommu.map(&system(&list)),
                false => iommu.unmap(&system(&list)),
            };
            assert_eq!(answer.is_ok(), legal, "{list:?} {map}");
            if legal {
                changed += 1;
                for at in (0..SIZE as usize).filter(|at| uses[*at] > 0) {
                    model[at] = map;
                }
            } else {
                refused += 1;
            }
            let start = random.u64(0..SIZE);
            let end = random.u64(start..SIZE) + 1;
            let first = (start..end).find(|at| !model[*at as usize]);
            let expected = match first {
                None => Ok(()),
                Some(offset) => {
                    let next = (offset..end).find(|at| model[*at as usize]).unwrap_or(end);
                    let bytes = next - offset;
                    Err(DeviceError::IommuFault { offset, bytes })
                }
            };
            assert_eq!(reach(&iommu, start, end), expected);
            let bytes = model.iter().filter(|mapped| **mapped).count();
            assert_eq!(iommu.bytes(), bytes as u64);
            let mapped = iommu.mapped.read().unwrap();
            let ranges: Vec<_> = mapped.ranges.iter().collect();
            assert!(ranges.iter().all(|(start, end)| start < end));
            assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
        assert!(changed > 50 && refused > 50, "{changed} {refused}");
    }
}
