//! Which of many scores are the lowest: exactly as many as asked, ties by index.
//!
//! Scores are compared as integers: the bits of a float that is not negative order as the float does, which makes the comparison
//! total, and leaves 0 free for what is removed already and must be taken first.

/// The key of a weight that a mask removed before.
pub(super) const REMOVED: u32 = 0;

/// The key of a score, which is not negative and not NaN.
pub(super) fn key(score: f32) -> u32 {
    debug_assert!(score >= 0.0);
    score.abs().to_bits() + 1
}

/// Marks the `count` lowest of `keys`; among equal ones the first.
pub(super) fn lowest(keys: &[u32], count: usize) -> Vec<bool> {
    let Some(last) = count.min(keys.len()).checked_sub(1) else { return vec![false; keys.len()] };
    let threshold = *keys.to_vec().select_nth_unstable(last).1;
    let mut ties = last + 1 - keys.iter().filter(|&&key| key < threshold).count();
    let mut marked = vec![false; keys.len()];
    for (mark, &key) in marked.iter_mut().zip(keys) {
        *mark = key < threshold || (key == threshold && ties > 0);
        ties -= usize::from(*mark && key == threshold);
    }
    marked
}

/// Marks the `count` lowest of every `of` keys that follow each other, and all that are [`REMOVED`]; among equal ones the first.
pub(super) fn lowest_of_each(keys: &[u32], count: usize, of: usize) -> Vec<bool> {
    let already = |keys: &[u32]| keys.iter().filter(|&&key| key == REMOVED).count();
    keys.chunks(of).flat_map(|keys| lowest(keys, count.max(already(keys)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_by_index_and_removed_weights_first() {
        let keys = [key(1.0), key(0.0), REMOVED, key(1.0), key(0.0), key(f32::MAX)];
        assert_eq!(lowest(&keys, 0), [false; 6]);
        assert_eq!(lowest(&keys, 2), [false, true, true, false, false, false]);
        assert_eq!(lowest(&keys, 4), [true, true, true, false, true, false]);
        assert_eq!(lowest(&keys, 9), [true; 6]);
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn groups_lose_as_many_each_and_what_was_removed_stays_so() {
        let keys = [key(4.0), key(1.0), key(2.0), key(2.0), REMOVED, REMOVED, key(1.0), REMOVED];
        assert_eq!(lowest_of_each(&keys, 2, 4), [false, true, true, false, true, true, false, true]);
    }

    proptest! {
        /// The plain reference is a stable sort.
        #[test]
        fn the_lowest_are_those_of_a_stable_sort(scores in prop::collection::vec(0u8..9, 0..60), count in 0usize..70) {
            let keys: Vec<u32> = scores.iter().map(|&score| key(f32::from(score))).collect();
            let mut order: Vec<usize> = (0..keys.len()).collect();
            order.sort_by_key(|&at| keys[at]);
            let mut expected = vec![false; keys.len()];
            for &at in order.iter().take(count) {
                expected[at] = true;
            }
            prop_assert_eq!(lowest(&keys, count), expected);
        }
    }
}
