//! Which blocks an allocation gets, as part A of the reference says it.

use crate::tree::{Node, State, Tree};

/// Why nothing is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    Einval,
    Enospc,
}

/// The flags of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    pub range: bool,
    pub topdown: bool,
    pub contiguous: bool,
    pub clear: bool,
    pub trim_disable: bool,
}

impl Tree {
    /// Splits a block down to an order, keeping the half that `upper` says, and takes it.
    fn descend(&mut self, mut at: usize, order: u32, upper: impl Fn(&Node) -> bool) -> usize {
        while self.nodes[at].order > order {
            let (left, right) = self.split(at);
            at = if upper(&self.nodes[right]) {
                right
            } else {
                left
            };
        }
        at
    }

    fn one_anywhere(&mut self, order: u32, flags: Flags) -> Option<usize> {
        let first = |tree: &Tree, clear: bool| {
            (order..=tree.max_order).find_map(|k| tree.free_blocks(clear, k).last().copied())
        };
        let highest = |tree: &Tree, clear: bool| {
            let all = (order..=tree.max_order).flat_map(|k| tree.free_blocks(clear, k));
            all.max_by_key(|&at| tree.nodes[at].offset)
        };
        let found = if flags.topdown {
            highest(self, flags.clear)
        } else {
            first(self, flags.clear)
        };
        let at = found.or_else(|| first(self, !flags.clear))?;
        Some(self.descend(at, order, |_| true))
    }

    fn one_in_range(&mut self, start: u64, end: u64, order: u32, clear: bool) -> Option<usize> {
        let strict = self.bias_pass(start, end, order, Some(clear));
        strict.or_else(|| self.bias_pass(start, end, order, None))
    }

    fn bias_pass(&mut self, start: u64, end: u64, order: u32, wish: Option<bool>) -> Option<usize> {
        let mut stack: Vec<_> = self.roots.iter().rev().copied().collect();
        while let Some(at) = stack.pop() {
            let node = self.nodes[at];
            if node.order < order || !node.overlaps(start, end) || node.state == State::Taken {
                continue;
            }
            let inside = node.inside(start, end);
            let (low, high) = (node.offset.max(start), node.end().min(end));
            let slot = |at: u64| at >> order << order;
            if !inside && slot(high) <= slot(low + (1 << order) - 1) {
                continue;
            }
            if wish.is_some_and(|wish| wish != node.clear) {
                continue;
            }
            if inside && node.order == order && node.state == State::Free {
                return Some(at);
            }
            let (left, right) = match node.state {
                State::Split(left, right) => (left, right),
                _ if node.order == 0 => continue,
                _ => self.split(at),
            };
            stack.extend([right, left]);
        }
        None
    }

    fn one_aligned(&mut self, order: u32, alignment: u32, clear: bool) -> Option<usize> {
        let mut class = clear;
        let aligned = |node: &Node| node.offset.trailing_zeros() >= alignment;
        let found = (order..=self.max_order).find_map(|k| {
            let find = |class| {
                let list = self.free_blocks(class, k);
                list.into_iter().rev().find(|&at| aligned(&self.nodes[at]))
            };
            find(class).or_else(|| {
                class = !class;
                find(class)
            })
        })?;
        Some(self.descend(found, order, aligned))
    }

    /// Takes exactly `start..end` below some blocks; what was taken, and whether all of it was.
    fn exact_below(&mut self, below: &[usize], start: u64, end: u64) -> (Vec<usize>, bool) {
        let mut stack: Vec<_> = below.iter().rev().copied().collect();
        let (mut list, mut total) = (Vec::new(), 0);
        while let Some(at) = stack.pop() {
            let node = self.nodes[at];
            if !node.overlaps(start, end) {
                continue;
            }
            if node.state == State::Taken {
                return (list, false);
            }
            if node.inside(start, end) {
                if node.state == State::Free {
                    list.push(self.take(at));
                    total += node.size();
                    continue;
                }
                if self.clear_avail == 0 {
                    return (list, false);
                }
            }
            let (left, right) = match node.state {
                State::Split(left, right) => (left, right),
                _ => self.split(at),
            };
            stack.extend([right, left]);
        }
        (list, total == end - start)
    }

    fn exact(&mut self, start: u64, end: u64) -> Result<Vec<usize>, Errno> {
        let (list, whole) = self.exact_below(&self.roots.clone(), start, end);
        if whole {
            return Ok(list);
        }
        self.give_up(&list);
        Err(Errno::Enospc)
    }

    /// Frees what a failed call took, and merges what it only split.
    fn give_up(&mut self, list: &[usize]) {
        self.free_internal(list);
        self.tidy();
    }

    /// Merges splits that left nothing taken.
    fn tidy(&mut self) {
        for at in (0..self.nodes.len()).rev() {
            if self.nodes[at].state == State::Free {
                self.merge(at, false);
            }
        }
    }

    fn try_harder(&mut self, size: u64, min_block: u64) -> Result<Vec<usize>, Errno> {
        let order = size.ilog2();
        if order == 0 {
            return Err(Errno::Enospc);
        }
        for clear in [true, false] {
            for at in self.free_blocks(clear, order).into_iter().rev() {
                let offset = self.nodes[at].offset;
                let roots = self.roots.clone();
                let (right, whole) = self.exact_below(&roots, offset, offset + size);
                if whole {
                    return Ok(right);
                }
                let filled: u64 = right.iter().map(|&at| self.nodes[at].size()).sum();
                let lhs = (size - filled).max(min_block).next_multiple_of(min_block);
                if let Some(start) = offset.checked_sub(lhs) {
                    let (left, whole) = self.exact_below(&roots, start, offset);
                    if whole {
                        return Ok([left, right].concat());
                    }
                    self.free_internal(&left);
                }
                self.give_up(&right);
            }
        }
        Err(Errno::Enospc)
    }

    /// Cuts a block down to `start..start + size`; the blocks that stay, ascending.
    pub fn trim(&mut self, at: usize, start: u64, size: u64) -> Vec<usize> {
        let node = self.nodes[at];
        assert!(node.state == State::Taken && node.inside(node.offset, node.end()));
        if size == node.size() {
            return vec![at];
        }
        self.nodes[at].state = State::Free;
        self.clear_avail += if node.clear { node.size() } else { 0 };
        let (list, whole) = self.exact_below(&[at], start, start + size);
        assert!(whole);
        list
    }

    /// The whole of an allocation, trim included.
    pub fn alloc(
        &mut self,
        start: u64,
        end: u64,
        wanted: u64,
        least: u64,
        flags: Flags,
    ) -> Result<Vec<usize>, Errno> {
        if start + wanted > self.size || end > self.size {
            return Err(Errno::Einval);
        }
        if start + wanted == end {
            if !start.is_multiple_of(least) || !end.is_multiple_of(least) {
                return Err(Errno::Einval);
            }
            return self.exact(start, end);
        }
        let (mut size, mut min_block, mut coarse) = (wanted, least, false);
        if flags.contiguous {
            size = size.next_power_of_two();
            min_block = size;
        } else if size < min_block && size.is_power_of_two() {
            coarse = true;
        } else {
            size = size.next_multiple_of(min_block);
        }
        let harder = flags.contiguous && !flags.range;
        if size.ilog2() > self.max_order || size > self.size {
            return match harder {
                true => self.try_harder(wanted, least),
                false => Err(Errno::Einval),
            };
        }
        let min_order = if coarse {
            size.ilog2()
        } else {
            min_block.ilog2()
        };
        let one = |tree: &mut Tree, order| match (flags.range, coarse) {
            (true, _) => tree.one_in_range(start, end, order, flags.clear),
            (_, true) => tree.one_aligned(order, least.ilog2(), flags.clear),
            _ => tree.one_anywhere(order, flags),
        };
        let (mut list, mut left, mut order) = (Vec::new(), size, size.ilog2());
        while left != 0 {
            order = order.min(left.ilog2());
            let at = loop {
                if let Some(at) = one(self, order) {
                    break at;
                }
                if order > min_order {
                    order -= 1;
                    continue;
                }
                let merged = self.clear_avail > 0 && self.force_merge(start, end, min_order);
                if let Some(at) = merged.then(|| one(self, order)).flatten() {
                    break at;
                }
                self.give_up(&list);
                return match harder {
                    true => self.try_harder(wanted, least),
                    false => Err(Errno::Enospc),
                };
            };
            list.push(self.take(at));
            left -= 1 << order;
        }
        if !flags.trim_disable && size != wanted {
            let last = list.pop().unwrap();
            let Node { offset, .. } = self.nodes[last];
            let kept = self.nodes[last].size() - (size - wanted);
            list.extend(self.trim(last, offset, kept));
        }
        Ok(list)
    }
}
