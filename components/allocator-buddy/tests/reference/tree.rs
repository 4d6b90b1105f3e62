//! Part A of the reference done literally: explicit binary trees, searched block by block.
//!
//! Slow, and written without a look at the strategy: it keeps split blocks and walks them as the
//! reference describes, where the strategy keeps free blocks only. Units are chunks.

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    Taken,
    Split(usize, usize),
    /// A node that is no block any more.
    Gone,
}

#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub offset: u64,
    pub order: u32,
    pub state: State,
    pub clear: bool,
    parent: Option<usize>,
}

impl Node {
    pub fn size(&self) -> u64 {
        1 << self.order
    }

    pub fn end(&self) -> u64 {
        self.offset + self.size()
    }

    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        self.offset < end && start < self.end()
    }

    pub fn inside(&self, start: u64, end: u64) -> bool {
        start <= self.offset && self.end() <= end
    }
}

/// A manager.
pub struct Tree {
    pub nodes: Vec<Node>,
    pub roots: Vec<usize>,
    pub size: u64,
    pub max_order: u32,
    pub clear_avail: u64,
}

impl Tree {
    pub fn new(size: u64) -> Self {
        let mut tree = Tree {
            nodes: Vec::new(),
            roots: Vec::new(),
            size,
            max_order: size.ilog2(),
            clear_avail: 0,
        };
        let mut offset = 0;
        while offset < size {
            let order = (size - offset).ilog2();
            tree.nodes.push(Node {
                offset,
                order,
                state: State::Free,
                clear: false,
                parent: None,
            });
            tree.roots.push(tree.nodes.len() - 1);
            offset += 1 << order;
        }
        tree
    }

    pub fn free_blocks(&self, clear: bool, order: u32) -> Vec<usize> {
        let fits = |n: &Node| n.state == State::Free && n.clear == clear && n.order == order;
        let mut list: Vec<_> = (0..self.nodes.len())
            .filter(|&at| fits(&self.nodes[at]))
            .collect();
        list.sort_by_key(|&at| self.nodes[at].offset);
        list
    }

    pub fn split(&mut self, at: usize) -> (usize, usize) {
        let node = self.nodes[at];
        assert!(node.state == State::Free && node.order > 0);
        let half = Node {
            order: node.order - 1,
            parent: Some(at),
            ..node
        };
        let left = self.nodes.len();
        self.nodes.push(half);
        self.nodes.push(Node {
            offset: half.end(),
            ..half
        });
        self.nodes[at].state = State::Split(left, left + 1);
        self.nodes[at].clear = false;
        (left, left + 1)
    }

    fn buddy(&self, at: usize) -> Option<usize> {
        match self.nodes[self.nodes[at].parent?].state {
            State::Split(left, right) => Some(if at == left { right } else { left }),
            _ => None,
        }
    }

    pub fn take(&mut self, at: usize) -> usize {
        assert_eq!(self.nodes[at].state, State::Free);
        self.nodes[at].state = State::Taken;
        if self.nodes[at].clear {
            self.clear_avail -= self.nodes[at].size();
        }
        at
    }

    /// Merges a free block upwards; by force whatever the classes, and then into a dirty one.
    pub fn merge(&mut self, mut at: usize, force: bool) -> u32 {
        while let Some(buddy) = self.buddy(at) {
            let (node, other) = (self.nodes[at], self.nodes[buddy]);
            if other.state != State::Free || !force && other.clear != node.clear {
                break;
            }
            if force && other.clear {
                self.clear_avail -= other.size();
            }
            let parent = node.parent.unwrap();
            for gone in [at, buddy] {
                self.nodes[gone].state = State::Gone;
            }
            self.nodes[parent].state = State::Free;
            self.nodes[parent].clear = node.clear && !force;
            at = parent;
        }
        self.nodes[at].order
    }

    pub fn free(&mut self, at: usize) {
        assert_eq!(self.nodes[at].state, State::Taken);
        self.nodes[at].state = State::Free;
        if self.nodes[at].clear {
            self.clear_avail += self.nodes[at].size();
        }
        self.merge(at, false);
    }

    pub fn free_list(&mut self, list: &[usize], cleared: bool) {
        for &at in list {
            self.nodes[at].clear = cleared;
            self.free(at);
        }
    }

    pub fn free_internal(&mut self, list: &[usize]) {
        list.iter().for_each(|&at| self.free(at));
    }

    pub fn force_merge(&mut self, start: u64, end: u64, min_order: u32) -> bool {
        if min_order == 0 || min_order > self.max_order {
            return false;
        }
        for clear in [true, false] {
            for order in (0..min_order).rev() {
                for at in self.free_blocks(clear, order).into_iter().rev() {
                    let node = self.nodes[at];
                    let still = node.state == State::Free && node.clear == clear;
                    if !still || !node.inside(start, end) {
                        continue;
                    }
                    let Some(buddy) = self.buddy(at) else {
                        continue;
                    };
                    if self.nodes[buddy].state != State::Free {
                        continue;
                    }
                    if clear {
                        self.clear_avail -= node.size();
                    }
                    if self.merge(at, true) >= min_order {
                        return true;
                    }
                }
            }
        }
        false
    }

    pub fn reset_clear(&mut self, clear: bool) {
        for root in self.roots.clone() {
            let Node { offset, order, .. } = self.nodes[root];
            // Merges until the root is whole, or nothing is left to merge.
            self.force_merge(offset, offset + (1 << order), order);
        }
        let mut avail = 0;
        for node in self.nodes.iter_mut().filter(|n| n.state == State::Free) {
            node.clear = clear;
            avail += node.size();
        }
        self.clear_avail = if clear { avail } else { 0 };
    }
}
