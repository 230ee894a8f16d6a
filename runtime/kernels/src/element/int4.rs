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
use crate::operands::Operands;
use crate::share::RowBlocks;

/// The largest value in use; -8 is left out, so that the grid is symmetric.
pub const LARGEST: f32 = 7.0;

/// Columns that share a scale where nobody says otherwise.
pub const GROUP: usize = 128;

/// What is added to a weight so that it is stored without a sign, in four bits.
pub(crate) const SHIFT: i32 = 8;

/// Rows that are computed together, one in each 32-bit lane of a vector.
pub(crate) const LANES: usize = 16;

/// Columns whose products an instruction adds up in a lane.
pub(crate) const QUAD: usize = 4;

/// Columns of a vector of weights: a quad of each row in the lower halves of bytes, the next in the upper halves.
pub(crate) const STEP: usize = 2 * QUAD;

/// Columns that rows are filled up to a multiple of: the fewest of a group.
pub(crate) const PIECE: usize = 32;

/// The map of bits (`gf2p8affineqb`) that leaves the lower half of a byte.
#[cfg(target_arch = "x86_64")]
pub(crate) const LOW: i64 = 0x0102_0408_0000_0000;

/// The map that leaves the upper half, moved to the lower.
#[cfg(target_arch = "x86_64")]
pub(crate) const HIGH: i64 = 0x1020_4080_0000_0000;

/// Bytes of weights that one vector holds.
pub(crate) const VECTOR: usize = LANES * QUAD;

/// The scale at which the value of largest magnitude becomes about [`LARGEST`]: the nearest that FP16 has, and none below its smallest.
pub fn symmetric_scale(values: &[f32]) -> f16 {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    f16::from_f32((largest / LARGEST).min(f16::MAX.to_f32())).max(f16::from_bits(1))
}

/// `value / scale` on the integer grid, halves to the even neighbour.
pub fn round(value: f32, scale: f16) -> i8 {
    (value / scale.to_f32()).round_ties_even().clamp(-LARGEST, LARGEST) as i8
}

/// Fails unless values are on the grid, groups have 32 columns or a multiple of 64, and each has a scale.
pub(super) fn check(values: &[i8], scales: &[f16], group: usize, rows: usize, cols: usize) -> Result<()> {
    if cols > int8::MOST_COLS {
        return Err(KernelError::Shape(format!("{cols} columns are more than the {} that INT4 products serve", int8::MOST_COLS)));
    }
    if group != PIECE && (group == 0 || !group.is_multiple_of(2 * PIECE)) {
        return Err(KernelError::Shape(format!(
            "groups of {group} columns, which must be {PIECE} or a multiple of {}",
            2 * PIECE
        )));
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

/// Activations as integers with a sign, each token with its scale, for tiles of [`TOKENS`] tokens that share a reading of the weights.
pub(crate) struct Tokens {
    /// `[tile][quad][token of the tile]`, each the bytes of four columns; zero past the last column.
    quads: Scratch<i32>,
    /// `[tile][group][token of the tile]`: where the sums of a group begin, so that they end without what the shift of the weights adds.
    starts: Scratch<i32>,
    /// `[tokens]`; NaN for a token that holds NaN or infinity: its results are computed otherwise.
    pub(crate) scales: Scratch<f32>,
    /// Of a token.
    quads_of_token: usize,
    groups: usize,
}

impl Tokens {
    /// Rounds the activations of `operands`, for groups of `group` columns.
    pub(crate) fn round(tier: Tier, operands: &Operands, group: usize) -> Self {
        let (tokens, cols) = (operands.tokens(), operands.cols());
        let stride = cols.next_multiple_of(PIECE);
        let (quads_of_token, groups) = (stride / QUAD, stride.div_ceil(group));
        let int8::Tokens { integers: mut shifted, scales } = int8::Tokens::round(tier, operands, &Rows { cols, stride });
        let (quads, starts) = (Scratch::take(tokens * quads_of_token), Scratch::take(tokens * groups));
        let mut rounded = Self { quads, starts, scales, quads_of_token, groups };
        for token in 0..tokens {
            let from = &mut shifted[token * stride..][..stride];
            from[cols..].fill(int8::SHIFT as u8);
            let first = token / TOKENS * TOKENS;
            let (at, count) = (token - first, TOKENS.min(tokens - first));
            let quads = rounded.quads.iter_mut().skip(first * quads_of_token + at).step_by(count);
            for (to, quad) in quads.zip(from.as_chunks::<QUAD>().0) {
                *to = i32::from_le_bytes(*quad) ^ i32::from_le_bytes([int8::SHIFT as u8; QUAD]);
            }
            let starts = rounded.starts.iter_mut().skip(first * groups + at).step_by(count);
            for (to, group) in starts.zip(from.chunks(group)) {
                let sum: i32 = group.iter().map(|shifted| i32::from(*shifted)).sum();
                *to = -SHIFT * (sum - int8::SHIFT * group.len() as i32);
            }
        }
        rounded
    }

    /// The tokens of one tile, which begins at a multiple of [`TOKENS`].
    pub(crate) fn tile(&self, tokens: Range<usize>) -> Tile<'_> {
        Tile {
            quads: &self.quads[tokens.start * self.quads_of_token..tokens.end * self.quads_of_token],
            starts: &self.starts[tokens.start * self.groups..tokens.end * self.groups],
            count: tokens.len(),
            groups: self.groups,
        }
    }
}

/// One tile of [`Tokens`].
///
/// *Invariant*: there are `count` quads for each quad of columns, of which whole [`PIECE`]s are there, and `count` starts for each of
/// `groups` groups.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub(crate) quads: &'a [i32],
    pub(crate) starts: &'a [i32],
    pub(crate) count: usize,
    pub(crate) groups: usize,
}

impl Tile<'_> {
    /// Vectors of weights that meet the activations of a token.
    pub(crate) fn steps(&self) -> usize {
        self.quads.len() / self.count / (STEP / QUAD)
    }

    fn integer(&self, token: usize, col: usize) -> i32 {
        let quad = self.quads[col / QUAD * self.count + token].to_le_bytes();
        i32::from(quad[col % QUAD] as i8)
    }

    /// The sums of one row in plain Rust. `visit` calls what it is given with each column and weight of the row, from left to right.
    pub(crate) fn sums_of_row(
        &self,
        group: usize,
        scale: impl Fn(usize) -> f32,
        visit: impl Fn(&mut dyn FnMut(usize, i32)),
    ) -> [f32; TOKENS] {
        let mut sums = [0.0; TOKENS];
        for (token, sum) in sums.iter_mut().enumerate().take(self.count) {
            let (mut of_group, mut current) = (0, 0);
            visit(&mut |col, weight| {
                if col / group != current {
                    *sum += of_group as f32 * scale(current);
                    (of_group, current) = (0, col / group);
                }
                of_group += weight * self.integer(token, col);
            });
            if current < self.groups {
                *sum += of_group as f32 * scale(current);
            }
        }
        sums
    }
}

/// Tokens that share one reading of the weights.
pub(crate) const TOKENS: usize = 8;

/// Sums of groups, scales of the weights multiplied in, of the rows of a block for the tokens of a tile.
pub(crate) type Sums = [[f32; LANES]; TOKENS];

/// `y = x W^T + bias` by blocks of up to [`LANES`] rows.
pub(crate) fn product(
    operands: &mut Operands,
    row_blocks: &RowBlocks,
    x: &Tokens,
    bias: &[f32],
    sums: impl Fn(usize, &Tile) -> Sums + Sync,
) {
    let tokens = operands.tokens();
    row_blocks.run(operands, |blocks, output| {
        for start in (0..tokens).step_by(TOKENS) {
            let of_tile = start..(start + TOKENS).min(tokens);
            let tile = x.tile(of_tile.clone());
            for block in blocks.clone() {
                let rows = row_blocks.rows(block);
                for (token, sums) in of_tile.clone().zip(sums(block, &tile)) {
                    let results = output.token_mut(token, rows.clone());
                    for ((result, sum), bias) in results.iter_mut().zip(sums).zip(&bias[rows.clone()]) {
                        *result = sum * x.scales[token] + bias;
                    }
                }
                output.finish(rows, of_tile.clone());
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
        let x: Vec<f32> = (0..9 * 70).map(|at| (at % 70) as f32 - 30.0 + (at / 70) as f32).collect();
        let mut y = [0.0; 9];
        let operands = Operands::new(&x, &mut y, 9, 1, 70).unwrap();
        let tokens = Tokens::round(Tier::Portable, &operands, 64);
        for (tile, token, of_all) in [(tokens.tile(0..8), 0, 0), (tokens.tile(0..8), 7, 7), (tokens.tile(8..9), 0, 8)] {
            assert_eq!((tile.steps(), tile.groups), (96 / STEP, 2));
            for (col, value) in x[of_all * 70..][..70].iter().enumerate() {
                assert_eq!(tile.integer(token, col), int8::round(*value, tokens.scales[of_all]) as i32);
            }
            assert!((70..96).all(|col| tile.integer(token, col) == 0), "past the last column");
            for (group, cols) in [(0, 0..64), (1, 64..70)] {
                let sum: i32 = cols.map(|col| tile.integer(token, col)).sum();
                assert_eq!(tile.starts[group * tile.count + token], -SHIFT * sum);
            }
        }
    }
}
