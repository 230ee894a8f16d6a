//! ALiBi, attention with linear biases (Press et al., arXiv 2108.12409): a head's score falls by its slope with every token of
//! distance, and nothing else tells where a token stands.

/// The slope of each head: `2^(-i * largest / n)`, `n` the next power of two from `heads` on and `i` from 1 to `n`. Where `heads` is
/// no power of two, every second one is taken first, from the second on, and then the ones between, as llm-foundry does it.
pub(super) fn slopes(heads: usize, largest: f32) -> Vec<f32> {
    let all = heads.next_power_of_two();
    let slope = |at: usize| (-(at as f32 * (largest / all as f32))).exp2();
    let interleaved = (2..=all).step_by(2).chain((1..=all).step_by(2)).map(slope);
    if all == heads { (1..=heads).map(slope).collect() } else { interleaved.take(heads).collect() }
}

/// What is added to the scores of `keys` keys that end at the newest one, `[heads, keys]` row-major. A softmax does not see what is
/// added to a whole row, so that one row serves every query.
pub(super) fn bias(slopes: &[f32], keys: usize) -> Vec<f32> {
    slopes.iter().flat_map(|slope| (0..keys).map(move |key| slope * (key as f32 + 1.0 - keys as f32))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of transformers' `build_mpt_alibi_tensor`.
    #[test]
    fn slopes_are_those_of_transformers_for_any_number_of_heads() {
        assert_eq!(slopes(4, 8.0), [0.25, 0.0625, 0.015625, 0.00390625]);
        assert_eq!(slopes(8, 8.0), [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]);
        assert_eq!(slopes(3, 8.0), [0.0625, 0.00390625, 0.25]);
        assert_eq!(slopes(6, 8.0), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
        assert_eq!(slopes(1, 8.0), [0.00390625]);
        assert_eq!(slopes(2, 4.0), [0.25, 0.0625]);
    }

    #[test]
    fn the_newest_key_has_no_bias_and_each_one_before_it_a_slope_more() {
        assert_eq!(bias(&[0.5, 0.25], 3), [-1.0, -0.5, 0.0, -0.5, -0.25, 0.0]);
    }
}
