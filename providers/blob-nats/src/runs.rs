//! Where the chunks of an object stand in its stream. Whoever writes alone gets numbers that follow each other, so a few runs say
//! where each chunk is, and any part of an object can be read at once.

use std::fmt;

/// So many runs are remembered; chunks after those are found one from the other.
const MOST: usize = 64;

/// The numbers of the first chunks of an object, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Runs {
    /// The first number of each run, and how many there are.
    runs: Vec<(u64, u64)>,
    /// Whether a chunk had no place any more.
    full: bool,
}

impl Runs {
    pub(crate) fn push(&mut self, number: u64) {
        let known = self.runs.len();
        match self.runs.last_mut() {
            _ if self.full => {}
            Some((first, count)) if *first + *count == number => *count += 1,
            _ if known == MOST => self.full = true,
            _ => self.runs.push((number, 1)),
        }
    }

    /// How many chunks are known.
    pub(crate) fn known(&self) -> u64 {
        self.runs.iter().map(|(_, count)| count).sum()
    }

    /// The numbers of the chunks from the `skipped`th on.
    pub(crate) fn from(self, mut skipped: u64) -> impl Iterator<Item = u64> + Send {
        self.runs.into_iter().flat_map(move |(first, count)| {
            let without = skipped.min(count);
            skipped -= without;
            first + without..first + count
        })
    }

    /// The number after the last one that is known.
    pub(crate) fn next(&self) -> u64 {
        self.runs.last().map_or(0, |(first, count)| first + count)
    }

    /// What another version of this code, or another program, may have written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let runs = text.split(',').take(MOST).map(|run| {
            let (first, count) = run.split_once('+')?;
            let (first, count): (u64, u64) = (first.parse().ok()?, count.parse().ok()?);
            first.checked_add(count).map(|_| (first, count))
        });
        let runs: Vec<_> = runs.collect::<Option<_>>()?;
        runs.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count))?;
        Some(Self { runs, full: true })
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, count)) in self.runs.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{first}+{count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = u64>) -> Runs {
        let mut runs = Runs::default();
        numbers.into_iter().for_each(|number| runs.push(number));
        runs
    }

    #[test]
    fn each_chunk_is_found() {
        let numbers = [3, 4, 5, 9, 20, 21];
        let runs = of(numbers);
        assert_eq!(runs.to_string(), "3+3,9+1,20+2");
        assert_eq!((runs.known(), runs.next()), (6, 22));
        for skipped in 0..=7usize {
            let rest: Vec<_> = runs.clone().from(skipped as u64).collect();
            assert_eq!(rest, numbers.get(skipped..).unwrap_or_default());
        }
        let again = Runs::parse("3+3,9+1,20+2").map(|runs| runs.from(0).collect::<Vec<_>>());
        assert_eq!(again.as_deref(), Some(&numbers[..]));
    }

    #[test]
    fn many_runs_are_not_kept_and_nonsense_is_none() {
        let runs = of((0..200).map(|n| n * 2));
        assert_eq!(runs.known(), MOST as u64);
        assert_eq!(runs.next(), 2 * (MOST as u64 - 1) + 1);
        for bad in
            ["", "1", "1+", "a+1", "1+1,", "18446744073709551615+1", "1+18446744073709551610,2+18446744073709551610"]
        {
            assert_eq!(Runs::parse(bad), None, "{bad}");
        }
    }
}
