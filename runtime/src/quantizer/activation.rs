//! Activations at INT8: one scale per token, found while the model runs.

use super::{round, symmetric_scale};

/// Rounds every token of `x: [tokens, width]`, row-major, to INT8 and back: `scale = max |x| / 127` of that token.
///
/// This is the arithmetic of `w8a8(activations: dynamic)`, whatever number format a kernel computes in.
pub fn round_tokens(x: &mut [f32], width: usize) {
    for token in x.chunks_mut(width.max(1)) {
        let scale = symmetric_scale(token);
        token.iter_mut().for_each(|value| *value = round(*value, scale) * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_its_own_scale() {
        let mut x = [127.0, 1.4, -2.5, 12.7, -0.25, 0.04, 0.0, 0.0, 0.0];
        round_tokens(&mut x, 3);
        assert_eq!(x, [127.0, 1.0, -2.0, 12.7, -0.2, 0.0, 0.0, 0.0, 0.0]);
        let once = x;
        round_tokens(&mut x, 3);
        assert_eq!(x, once, "a rounded token is its own rounding");
        let mut x = [f32::NAN, 1.0];
        round_tokens(&mut x, 2);
        assert!(x[0].is_nan(), "a value that is not a number is not hidden");
    }
}
