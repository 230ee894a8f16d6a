//! How many entries of each row set a strip has, where an entry takes several columns.
//!
//! The same numbers for all strips: then the loops of the kernel, one for each row set, take the same turns in every strip, and the
//! processor foresees their ends. Columns that find no place in entries of their own set go to those of a larger one, whose further
//! rows multiply zeros, or to those of two smaller ones, a part of their rows in each.

use super::sets::{ALL, SETS, rows_of};

/// Entries of each row set; only those of [`ALL`] are as many as the columns of a strip ask for.
pub(super) struct Plan {
    /// Columns of an entry.
    fold: usize,
    entries: [usize; SETS],
    /// Where else a column of each row set may go, best first: one set or two, the second being 0 where it is one.
    choices: Vec<Vec<[usize; 2]>>,
}

impl Plan {
    /// The plan that is cheapest for strips with so many columns of each row set.
    pub(super) fn of(samples: &[[usize; SETS]], fold: usize) -> Self {
        let mean = |set: usize| samples.iter().map(|columns| columns[set]).sum::<usize>() as f64 / samples.len().max(1) as f64;
        let entries = std::array::from_fn(|set| {
            if set == 0 { 0 } else { ((mean(set) - mean(set).sqrt() / 2.0).max(0.0) / fold as f64) as usize }
        });
        let mut plan = Self { fold, entries, choices: (0..SETS).map(choices).collect() };
        let mut best = plan.price(samples);
        // One entry more or less, while that makes it cheaper.
        loop {
            let before = best;
            for set in 1..ALL {
                for entries in [plan.entries[set] + 1, plan.entries[set].saturating_sub(1)] {
                    let known = std::mem::replace(&mut plan.entries[set], entries);
                    let price = plan.price(samples);
                    if price < best {
                        best = price;
                    } else {
                        plan.entries[set] = known;
                    }
                }
            }
            if best == before {
                return plan;
            }
        }
    }

    /// What strips cost: an entry takes eight shuffles, and for each row four multiply-adds, of which three units of the processor
    /// do together two shuffles, or one shuffle and one multiply-add.
    fn price(&self, samples: &[[usize; SETS]]) -> usize {
        let price = |columns| {
            let entries = self.deal(columns, |_, _, _| {});
            entries.iter().enumerate().map(|(set, entries)| entries * (2 + rows_of(set).count())).sum::<usize>()
        };
        samples.iter().map(price).sum()
    }

    /// Deals out so many `columns` of each row set: `give(set, to, count)` for the entries of which set, or of which two, take
    /// how many. Returns the entries of each set.
    pub(super) fn deal(&self, columns: &[usize; SETS], mut give: impl FnMut(usize, [usize; 2], usize)) -> [usize; SETS] {
        let (mut left, mut free) = (*columns, self.entries.map(|entries| entries * self.fold));
        (free[0], free[ALL]) = (usize::MAX, usize::MAX);
        let own = (1..SETS).map(|set| (set, [set, 0]));
        let other = (1..SETS).rev().flat_map(|set| self.choices[set].iter().map(move |to| (set, *to)));
        for (set, to) in own.chain(other) {
            let count = left[set].min(free[to[0]]).min(free[to[1]]);
            if count > 0 {
                left[set] -= count;
                to.iter().for_each(|to| free[*to] -= count);
                give(set, to, count);
            }
        }
        let mut entries = self.entries;
        entries[ALL] = (usize::MAX - free[ALL]).div_ceil(self.fold);
        entries
    }
}

/// Other sets that take a column of `set`: larger by one row, then two that have nothing in common, then still larger ones.
fn choices(set: usize) -> Vec<[usize; 2]> {
    if set == 0 {
        return Vec::new();
    }
    let size = rows_of(set).count();
    let larger = |by: usize| (1..SETS).filter(move |other| other & set == set && rows_of(*other).count() == size + by);
    let halves = (1..set).filter(|half| half & set == *half && *half > set - half).map(|half| [half, set - half]);
    let still_larger = (2..=rows_of(ALL).count()).flat_map(larger);
    larger(1).map(|set| [set, 0]).chain(halves).chain(still_larger.map(|set| [set, 0])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_dealt_once_and_each_of_its_rows() {
        let samples: Vec<[usize; SETS]> =
            (0..5).map(|sample| std::array::from_fn(|set| if set == 0 { 9 } else { (set * 7 + sample * 13) % 11 })).collect();
        let plan = Plan::of(&samples, 4);
        for columns in samples.iter().chain([&[0; SETS], &[50; SETS]]) {
            let (mut dealt, mut taken) = ([0; SETS], [0; SETS]);
            let entries = plan.deal(columns, |set, to, count| {
                let [first, second] = to;
                assert!((first | second) & set == set && first & second == 0, "{set} to {to:?}");
                assert!(second == 0 || first | second == set, "rows beside those of the column are not given twice");
                dealt[set] += count;
                to.iter().for_each(|to| taken[*to] += count);
            });
            assert_eq!(dealt[1..], columns[1..]);
            assert!((1..SETS).all(|set| taken[set] <= 4 * entries[set]));
            assert!(entries[1..ALL] == plan.entries[1..ALL]);
        }
    }

    #[test]
    fn a_plan_costs_little_more_than_full_entries() {
        // What uniform masks of 768 columns have in the mean, and then the more and the less of chance.
        for (density, most) in [(0.5f64, 1.12), (0.25, 1.25), (0.1, 1.45)] {
            let mean = |set: usize| {
                let rows = rows_of(set).count() as i32;
                768.0 * density.powi(rows) * (1.0 - density).powi(6 - rows)
            };
            let chance = |set: usize, sample: usize| ((set * 37 + sample * 101) % 41) as f64 / 10.0 - 2.0;
            let samples: Vec<[usize; SETS]> = (0..9)
                .map(|sample| std::array::from_fn(|set| (mean(set) + chance(set, sample) * mean(set).sqrt()).max(0.0) as usize))
                .collect();
            let plan = Plan::of(&samples, 4);
            let full = |columns: &[usize; SETS]| {
                (1..SETS).map(|set| columns[set] as f64 / 4.0 * (2 + rows_of(set).count()) as f64).sum::<f64>()
            };
            let share = plan.price(&samples) as f64 / samples.iter().map(full).sum::<f64>();
            assert!(share < most, "{density}: {share}");
        }
    }
}
