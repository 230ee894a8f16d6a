//! `int4`: weights with one FP16 scale for each group of columns of a row; activations are those of [`int8`](super::int8), with one
//! scale per token that is found while the product runs.
//!
//! Symmetric: `scale = max |w| / 7` of the group, rounded to FP16, `q = round(w / scale)`, halves to the even neighbour. A result is
//! `(sum over groups of (sum of q_x q_w) * scale_w) * scale_x + bias`: integers are summed exactly inside of a group, groups in FP32.

use std::ops::Range;

use half::f16;

use crate::KernelError;
use crate::buffer::Scratch;
use crate::cpu::Tier;
use crate::element::{Rows, int8};
use crate::error::{Result, expect_length};
use crate::operands::{Operands, RowBlocks};

/// The largest value in use; -8 is left out, so that the grid is symmetric.
pub const LARGEST: f32 = 7.0;

/// Columns that share a scale where nobody says otherwise.
pub const GROUP: usize = 128;

/// What is added to a weight so that it is stored without a sign, in four bits.
pub(crate) const SHIFT: i32 = 8;

/// Columns that are multiplied together.
pub(crate) const WORD: usize = 64;

/// 32-bit sums of a word of products.
pub(crate) const LANES: usize = WORD / 4;

/// The scale at which the value of largest magnitude becomes about [`LARGEST`]: the nearest that FP16 has, and none below its smallest.
pub fn symmetric_scale(values: &[f32]) -> f16 {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    f16::from_f32((largest / LARGEST).min(f16::MAX.to_f32())).max(f16::from_bits(1))
}

/// `value / scale` on the integer grid, halves to the even neighbour.
pub fn round(value: f32, scale: f16) -> i8 {
    (value / scale.to_f32()).round_ties_even().clamp(-LARGEST, LARGEST) as i8
}

/// Fails unless values are on the grid, groups are whole words or halves of them, and each has a scale.
pub(super) fn check(values: &[i8], scales: &[f16], group: usize, rows: usize, cols: usize) -> Result<()> {
    if cols > int8::MOST_COLS {
        return Err(KernelError::Shape(format!("{cols} columns are more than the {} that INT4 products serve", int8::MOST_COLS)));
    }
    if group != WORD / 2 && (group == 0 || !group.is_multiple_of(WORD)) {
        return Err(KernelError::Shape(format!("groups of {group} columns, which must be 32 or a multiple of {WORD}")));
    }
    if let Some(at) = values.iter().position(|value| i32::from(*value).abs() > LARGEST as i32) {
        let (row, col) = (at / cols, at % cols);
        return Err(KernelError::Shape(format!("{} at row {row}, column {col} is past {LARGEST}", values[at])));
    }
    expect_length("scales", scales.len(), rows * cols.div_ceil(group))?;
    match scales.iter().position(|scale| !scale.is_finite() || *scale <= f16::ZERO) {
        None => Ok(()),
        Some(at) => Err(KernelError::Shape(format!("scale {at} is {}; it must be finite and positive", scales[at]))),
    }
}

/// Activations as integers with a sign, in whole words, each token with its scale.
pub(crate) struct Tokens {
    /// `[tokens, words, WORD]`, zero past the last column; inside of a word in the order that was asked for.
    pub(crate) integers: Scratch<i8>,
    /// `[tokens, groups, LANES]`: where the sums of a group begin, so that they end without what the shift of the weights adds.
    pub(crate) starts: Scratch<i32>,
    /// `[tokens]`; NaN for a token that holds NaN or infinity: its results are computed otherwise.
    pub(crate) scales: Scratch<f32>,
    words: usize,
    groups: usize,
}

impl Tokens {
    /// Rounds the activations of `operands`, for sums that take `group_words` words each. `order` says which column of a word is in each
    /// place.
    pub(crate) fn round(tier: Tier, operands: &Operands, group_words: usize, order: impl Fn(usize) -> usize) -> Self {
        let (tokens, cols) = (operands.tokens(), operands.cols());
        let words = cols.div_ceil(WORD);
        let groups = words.div_ceil(group_words);
        let layout = Rows { cols, stride: words * WORD };
        let int8::Tokens { integers: mut shifted, scales } = int8::Tokens::round(tier, operands, &layout);
        let mut rounded = Self {
            integers: Scratch::take(tokens * words * WORD),
            starts: Scratch::take(tokens * groups * LANES),
            scales,
            words,
            groups,
        };
        rounded.starts.fill(0);
        let places: [usize; WORD] = std::array::from_fn(order);
        for token in 0..tokens {
            let from = &mut shifted[token * words * WORD..][..words * WORD];
            from[cols..].fill(int8::SHIFT as u8);
            let to = &mut rounded.integers[token * words * WORD..][..words * WORD];
            let starts = &mut rounded.starts[token * groups * LANES..][..groups * LANES];
            for (word, (from, to)) in from.chunks_exact(WORD).zip(to.chunks_exact_mut(WORD)).enumerate() {
                for (to, place) in to.iter_mut().zip(places) {
                    *to = (from[place] ^ int8::SHIFT as u8) as i8;
                }
                for (start, quad) in starts[word / group_words * LANES..].iter_mut().zip(to.chunks_exact(4)) {
                    *start -= SHIFT * quad.iter().map(|x| i32::from(*x)).sum::<i32>();
                }
            }
        }
        rounded
    }

    /// Some tokens.
    pub(crate) fn some(&self, tokens: Range<usize>) -> SomeTokens<'_> {
        let (words, groups) = (self.words, self.groups);
        SomeTokens {
            integers: &self.integers[tokens.start * words * WORD..tokens.end * words * WORD],
            starts: &self.starts[tokens.start * groups * LANES..tokens.end * groups * LANES],
            count: tokens.len(),
            words,
            groups,
        }
    }
}

/// Some of [`Tokens`].
///
/// *Invariant*: there are `count * words * WORD` integers and `count * groups * LANES` starts.
#[derive(Clone, Copy)]
pub(crate) struct SomeTokens<'a> {
    pub(crate) integers: &'a [i8],
    pub(crate) starts: &'a [i32],
    pub(crate) count: usize,
    pub(crate) words: usize,
    pub(crate) groups: usize,
}

/// Tokens that share one reading of the weights.
pub(crate) const TOKENS: usize = 4;

/// `y = x W^T + bias` by rows: `sums(row, tokens)` are those of groups, scales of the weights multiplied in, for up to [`TOKENS`] tokens.
pub(crate) fn product(
    operands: &mut Operands,
    row_blocks: &RowBlocks,
    x: &Tokens,
    bias: &[f32],
    sums: impl Fn(usize, SomeTokens) -> [f32; TOKENS] + Sync,
) {
    let tokens = operands.tokens();
    row_blocks.run(operands, |blocks, output| {
        for start in (0..tokens).step_by(TOKENS) {
            let group = start..(start + TOKENS).min(tokens);
            for block in blocks.clone() {
                let rows = row_blocks.rows(block);
                for row in rows.clone() {
                    for (token, sum) in group.clone().zip(sums(row, x.some(group.clone()))) {
                        output.token_mut(token, row..row + 1)[0] = sum * x.scales[token] + bias[row];
                    }
                }
                output.finish(rows, group.clone());
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_symmetric_and_scales_are_half_floats() {
        assert_eq!(symmetric_scale(&[-3.5, 1.0]), f16::from_f32(0.5));
        assert_eq!(
            (round(-3.5, f16::from_f32(0.5)), round(0.25, f16::from_f32(0.5)), round(0.75, f16::from_f32(0.5))),
            (-7, 0, 2)
        );
        assert!(symmetric_scale(&[0.0]) > f16::ZERO && symmetric_scale(&[f32::MAX]).is_finite());
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let scales = [f16::ONE; 2];
        assert!(check(&[7, -7], &scales, 64, 2, 1).is_ok());
        let refused = |values: &[i8], scales: &[f16], group, reason: &str| {
            let error = check(values, scales, group, 2, 1).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        };
        refused(&[7, -8], &scales, 64, "row 1, column 0");
        refused(&[7, -7], &scales, 48, "multiple of 64");
        refused(&[7, -7], &scales, 0, "multiple of 64");
        refused(&[7, -7], &scales[..1], 64, "1 values where 2 belong");
        refused(&[7, -7], &[f16::ONE, f16::NAN], 64, "scale 1");
    }

    #[test]
    fn starts_take_away_what_the_shift_adds() {
        let x: Vec<f32> = (0..70).map(|col| col as f32 - 30.0).collect();
        let mut y = [0.0];
        let operands = Operands::new(&x, &mut y, 1, 1, 70).unwrap();
        let tokens = Tokens::round(Tier::Portable, &operands, 2, |place| WORD - 1 - place);
        let sum: i32 = tokens.integers.iter().map(|x| i32::from(*x)).sum();
        assert_eq!((tokens.starts.len(), tokens.starts.iter().sum::<i32>()), (LANES, -SHIFT * sum));
        assert_eq!(tokens.integers[0], int8::round(33.0, tokens.scales[0]) as i8);
        assert!(tokens.integers[64..].iter().take(58).all(|x| *x == 0), "places of columns past the last");
    }
}
