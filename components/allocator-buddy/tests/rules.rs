//! The rules of every strategy, and the kernel's default rule done the slow way.
#![allow(missing_docs, clippy::unwrap_used)]

use gpumm_allocator_buddy::Buddy;
use gpumm_contract::Extent;
use gpumm_contract::allocator::Allocate;
use gpumm_strategy_suite::{Description, Expected, Model};

const BUDDY: Description<Buddy> = Description {
    name: "buddy",
    history_shows: false,
    trims: true,
    resets: true,
    hints: false,
    expect: |model, wish| {
        let extents = rule(model).answer(model, wish);
        extents.map_or(Expected::NoSpace, Expected::Extents)
    },
    holes: |model| {
        let blocks = rule(model).blocks().into_iter();
        blocks.map(|(at, order)| (at, 1 << order)).collect()
    },
    largest: |model| {
        let blocks = rule(model).blocks().into_iter();
        blocks.map(|(_, order)| 1 << order).max().unwrap_or(0)
    },
    ..Description::one_extent(Buddy::default)
};

gpumm_strategy_suite::suite!(BUDDY);

/// The kernel's default rule, done the slow way on a list of free chunks.
struct Rule {
    free: Vec<bool>,
}

impl Rule {
    /// The largest free blocks, ascending: offset and order.
    fn blocks(&self) -> Vec<(u64, u32)> {
        let mut runs = vec![0u64; self.free.len() + 1];
        for at in (0..self.free.len()).rev() {
            runs[at] = if self.free[at] { runs[at + 1] + 1 } else { 0 };
        }
        let (mut blocks, mut at) = (Vec::new(), 0u64);
        while at < self.free.len() as u64 {
            match runs[at as usize].checked_ilog2() {
                Some(most) => {
                    let order = most.min(at.trailing_zeros());
                    blocks.push((at, order));
                    at += 1 << order;
                }
                None => at += 1,
            }
        }
        blocks
    }

    /// One block of an order: lowest place in a window, or highest in the smallest block.
    fn one(&self, order: u32, step: u32, window: Option<(u64, u64)>) -> Option<u64> {
        let step = order.max(step);
        if let Some((start, end)) = window {
            let fits = |at: &u64| {
                at.is_multiple_of(1 << step)
                    && at + (1 << order) <= end
                    && (*at..at + (1 << order)).all(|chunk| self.free[chunk as usize])
            };
            return (start..end).find(fits);
        }
        let place = |&(offset, size): &(u64, u32)| {
            let places = (offset..offset + (1 << size)).rev();
            let fits = |at: &u64| {
                at.is_multiple_of(1 << step) && at + (1 << order) <= offset + (1 << size)
            };
            places.into_iter().find(fits)
        };
        let blocks = self.blocks();
        (order..20).find_map(|size| {
            blocks
                .iter()
                .rev()
                .filter(|block| block.1 == size && size >= order)
                .find_map(place)
        })
    }

    fn answer(mut self, model: &Model, wish: &Allocate) -> Option<Vec<Extent>> {
        let granule = model.granule;
        let chunks = wish.bytes / granule;
        let step = (wish.alignment.max(granule) / granule).trailing_zeros();
        let (start, end) = model.window(wish);
        if end.checked_sub(start)? == chunks {
            let fits =
                start.is_multiple_of(1 << step) && (start..end).all(|at| self.free[at as usize]);
            return fits.then(|| {
                vec![Extent {
                    offset: start * granule,
                    bytes: wish.bytes,
                }]
            });
        }
        let window = wish.range.map(|_| (start, end));
        let small = chunks.is_power_of_two() && chunks < 1 << step;
        let rounded = if small {
            chunks
        } else {
            chunks.next_multiple_of(1 << step)
        };
        let lowest = if small { chunks.ilog2() } else { step };
        let (mut left, mut order, mut extents) = (rounded, 63, Vec::new());
        while left > 0 {
            order = order.min(left.ilog2());
            match self.one(order, if small { step } else { 0 }, window) {
                Some(at) => {
                    (at..at + (1 << order)).for_each(|chunk| self.free[chunk as usize] = false);
                    extents.push(Extent {
                        offset: at * granule,
                        bytes: granule << order,
                    });
                    left -= 1 << order;
                }
                None if order == lowest => return None,
                None => order -= 1,
            }
        }
        extents.last_mut().unwrap().bytes -= (rounded - chunks) * granule;
        Some(extents)
    }
}

fn rule(model: &Model) -> Rule {
    Rule {
        free: model.owners.iter().map(Option::is_none).collect(),
    }
}
