//! The nodes of bitmap trees: 64 children to a node, 64 keys to a leaf word.
//!
//! Every node knows, for each child, how many low bits are clear in the best aligned key below
//! it, so that a search for an aligned key never turns back. "Clear bits" count within the bits
//! that the child spans: a key that is zero there has all of them.

use alloc::vec::Vec;

/// Bits of a key that one level tells apart.
pub(crate) const DIGIT: u32 = 6;

/// A node above the words. A child counts only where its bit of `mask` is set.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) mask: u64,
    pub(crate) child: [u32; 64],
    /// Clear low bits of the best aligned key below each child.
    pub(crate) zeros: [u8; 64],
}

/// The nodes and words that all sets share; what a set no longer needs is used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) nodes: Vec<Node>,
    pub(crate) words: Vec<u64>,
    spare_nodes: Vec<u32>,
    spare_words: Vec<u32>,
}

/// The slots of a digit whose `zeros` low bits are clear.
const fn multiples(zeros: u32) -> u64 {
    const OF: [u64; 6] = [
        u64::MAX,
        u64::MAX / 3,
        u64::MAX / 15,
        u64::MAX / 255,
        u64::MAX / 65535,
        (1 << 32) + 1,
    ];
    if zeros < DIGIT { OF[zeros as usize] } else { 1 }
}

/// Clear low bits of a digit: of 0 all of them.
fn zeros_of(slot: u32) -> u8 {
    slot.trailing_zeros().min(DIGIT) as u8
}

/// Clear low bits of the best key below a node, through one of its children.
#[inline]
pub(crate) fn through(level: usize, slot: u32, zeros: u8) -> u8 {
    let span = DIGIT as u8 * level as u8;
    if zeros == span {
        span + zeros_of(slot)
    } else {
        zeros
    }
}

impl Pool {
    /// A new, empty node of a level.
    pub(crate) fn make(&mut self, level: usize) -> u32 {
        if level == 0 {
            if let Some(at) = self.spare_words.pop() {
                return at;
            }
            self.words.push(0);
            return (self.words.len() - 1) as u32;
        }
        if let Some(at) = self.spare_nodes.pop() {
            return at;
        }
        self.nodes.push(Node {
            mask: 0,
            child: [0; 64],
            zeros: [0; 64],
        });
        (self.nodes.len() - 1) as u32
    }

    /// Takes back an empty node of a level.
    pub(crate) fn recycle(&mut self, level: usize, at: u32) {
        if level == 0 {
            self.spare_words.push(at);
        } else {
            self.spare_nodes.push(at);
        }
    }

    #[inline]
    pub(crate) fn mask(&self, level: usize, at: u32) -> u64 {
        if level == 0 {
            self.words[at as usize]
        } else {
            self.nodes[at as usize].mask
        }
    }

    /// The smallest key below a node.
    pub(crate) fn lowest(&self, mut level: usize, mut at: u32, mut key: u64) -> u64 {
        loop {
            let slot = self.mask(level, at).trailing_zeros();
            key = key << DIGIT | u64::from(slot);
            if level == 0 {
                return key;
            }
            at = self.nodes[at as usize].child[slot as usize];
            level -= 1;
        }
    }

    /// The largest key below a node with `zeros` low bits clear, if there is one.
    pub(crate) fn highest(&self, mut level: usize, mut at: u32, zeros: u32) -> Option<u64> {
        let mut key = 0;
        loop {
            let slot = self.aligned(level, at, zeros).checked_ilog2()?;
            key = key << DIGIT | u64::from(slot);
            if level == 0 {
                return Some(key);
            }
            at = self.nodes[at as usize].child[slot as usize];
            level -= 1;
        }
    }

    /// The children that lead to a key with `zeros` low bits clear.
    #[inline]
    fn aligned(&self, level: usize, at: u32, zeros: u32) -> u64 {
        let span = DIGIT * level as u32;
        let mut mask = self.mask(level, at) & multiples(zeros.saturating_sub(span));
        if level == 0 || zeros == 0 {
            return mask;
        }
        let node = &self.nodes[at as usize];
        while let Some(slot) = mask.checked_ilog2() {
            if u32::from(node.zeros[slot as usize]) >= zeros.min(span) {
                break;
            }
            mask &= !(1 << slot);
        }
        mask
    }

    /// Clear low bits of the best aligned key below a node.
    pub(crate) fn best(&self, level: usize, at: u32) -> u8 {
        let mut mask = self.mask(level, at);
        if level == 0 {
            let all = (1..=DIGIT)
                .rev()
                .find(|&zeros| mask & multiples(zeros) != 0);
            return all.unwrap_or(0) as u8;
        }
        let node = &self.nodes[at as usize];
        let mut best = 0;
        while mask != 0 {
            let slot = mask.trailing_zeros();
            best = best.max(through(level, slot, node.zeros[slot as usize]));
            mask &= mask - 1;
        }
        best
    }

    /// Compares nodes and words with what spare lists and trees hold.
    ///
    /// Errors: a node is lost, empty or wrong about its children, or a set counts wrong.
    pub(crate) fn consistent(
        &self,
        trees: impl Iterator<Item = (usize, u32, u64)>,
    ) -> Result<(), &'static str> {
        let mut seen = (self.spare_nodes.len(), self.spare_words.len());
        for (level, root, keys) in trees {
            if self.count(level, root, &mut seen) != Some(keys) {
                return Err("a set's nodes are filled, right about their children, and counted");
            }
        }
        if seen == (self.nodes.len(), self.words.len()) {
            Ok(())
        } else {
            Err("no node of the sets is lost")
        }
    }

    fn count(&self, level: usize, at: u32, seen: &mut (usize, usize)) -> Option<u64> {
        let mut mask = self.mask(level, at);
        if mask == 0 {
            return None;
        }
        if level == 0 {
            seen.1 += 1;
            return Some(u64::from(mask.count_ones()));
        }
        seen.0 += 1;
        let (node, mut keys) = (&self.nodes[at as usize], 0);
        while mask != 0 {
            let slot = mask.trailing_zeros() as usize;
            if self.best(level - 1, node.child[slot]) != node.zeros[slot] {
                return None;
            }
            keys += self.count(level - 1, node.child[slot], seen)?;
            mask &= mask - 1;
        }
        Some(keys)
    }
}
