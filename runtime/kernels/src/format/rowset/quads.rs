//! INT8 in blocks of 1x4: a place is four columns, whose activations lie in the 32-bit lanes of tokens as the instruction wants them.

use std::arch::x86_64::*;

use super::sets::Entry;
use super::single::{self, Single};
use super::{Multiply, Part, Strip};
use crate::Pattern;
use crate::cpu::Tier;
use crate::element::int8::Tokens;
use crate::element::{RowTerms, Rows};
use crate::error::Result;
use crate::format::Compressed;
use crate::operands::{Operands, OutputRows};
use crate::panel::groups::TokenRows;
use crate::panel::wide;

/// Blocks of one row and four columns.
pub(super) struct Quads;

impl Quads {
    /// Columns of a block.
    const COLS: usize = 4;

    /// The pattern that has them.
    pub(super) const SERVES: Pattern = Pattern::Block { rows: 1, cols: Self::COLS };
}

/// All that is not said here is as for any other mask.
impl Multiply for Quads {
    type Weight = i8;
    type Activation = i32;
    type Sum = i32;
    type Rounded = Tokens;

    const ENTRY: Entry = Entry { fold: 1, span: Self::COLS };

    fn expect_instructions(tier: Tier) -> Result<()> {
        i8::expect_instructions(tier)
    }

    fn round(operands: &Operands) -> Tokens {
        i8::round(operands)
    }

    /// Bytes past the last column are whatever they were: their weights are zero.
    fn pack(operands: &Operands, rounded: &Tokens, panel: &mut [i32]) {
        let stride = Rows::apart(operands.cols()).stride / Self::COLS;
        let (values, tokens, cols) = (rounded.integers.words(), operands.tokens(), operands.cols().div_ceil(Self::COLS));
        wide::pack(&TokenRows { values, tokens, cols, stride }, panel);
    }

    fn starts(terms: &RowTerms) -> &[i32] {
        i8::starts(terms)
    }

    unsafe fn multiply(strip: &Strip<Self>, sums: &mut [i32]) {
        #[target_feature(enable = "avx512f,avx512vnni")]
        unsafe fn multiply(strip: &Strip<Quads>, sums: &mut [i32]) {
            // SAFETY: the attribute states the instructions.
            unsafe { single::multiply(strip, sums) }
        }
        // SAFETY: the caller promises the instructions.
        unsafe { multiply(strip, sums) }
    }

    unsafe fn finish(terms: &RowTerms, rounded: &Tokens, sums: &[i32], part: Part, output: &mut OutputRows) {
        // SAFETY: the caller promises the instructions.
        unsafe { i8::finish(terms, rounded, sums, part, output) }
    }

    fn repair(stored: &dyn Compressed, bias: &[f32], operands: &mut Operands, rounded: &Tokens) {
        i8::repair(stored, bias, operands, rounded);
    }
}

// SAFETY: an entry is one place of four columns, and four weights are read.
unsafe impl Single for Quads {
    /// Those of 2,048 columns.
    const PREFETCH_FROM_BYTES: usize = 128 << 10;

    #[inline(always)]
    unsafe fn splat(weights: *const i8) -> __m512i {
        // SAFETY: the caller promises the instructions, and four weights.
        unsafe { _mm512_set1_epi32(weights.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn add_products(sums: __m512i, x: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: the caller promises the instructions.
        unsafe { _mm512_dpbusd_epi32(sums, x, weights) }
    }
}
