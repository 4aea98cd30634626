//! Calls that are shared out by weight.

use std::sync::atomic::{AtomicU64, Ordering};

/// Those among which calls are shared out.
#[derive(Debug)]
pub(crate) struct Shares<H> {
    /// Each with the sum of the weights up to its own.
    handlers: Vec<(u64, H)>,
    next: AtomicU64,
}

impl<H> Shares<H> {
    pub(super) fn new(handlers: impl IntoIterator<Item = (u32, H)>) -> Self {
        let mut sum = 0;
        let handlers = handlers.into_iter().map(|(weight, handler)| {
            sum += u64::from(weight);
            (sum, handler)
        });
        Self { handlers: handlers.collect(), next: AtomicU64::new(0) }
    }

    /// Whose turn it is. Multiples of the golden ratio lie evenly between 0 and 1 however few or many there are, so the
    /// shares hold over any run of calls and nobody gets many in a row.
    pub(crate) fn choose(&self) -> Option<&H> {
        if let [(_, only)] = self.handlers.as_slice() {
            return Some(only);
        }
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let turn = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        let sum = self.handlers.last()?.0;
        let at = (u128::from(turn) * u128::from(sum)) >> 64;
        self.handlers.iter().find(|(up_to, _)| at < u128::from(*up_to)).map(|(_, handler)| handler)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &H> {
        self.handlers.iter().map(|(_, handler)| handler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_over_few_and_many_requests() {
        let shares = Shares::new([(90, "a"), (0, "b"), (10, "c")]);
        for requests in [20usize, 100, 1000] {
            let mut counts = [0usize; 3];
            for _ in 0..requests {
                match shares.choose() {
                    Some(&"a") => counts[0] += 1,
                    Some(&"b") => counts[1] += 1,
                    _ => counts[2] += 1,
                }
            }
            assert_eq!(counts[1], 0, "weight 0 gets nothing");
            assert!(counts[2].abs_diff(requests / 10) <= 2, "{counts:?} of {requests}");
        }
    }
}
