//! FP32 and BF16: an entry is one column.

use std::ops::Range;

use half::bf16;

use super::{Multiply, Packed, Place, Strip};
use crate::KernelError;
use crate::cpu::Tier;
use crate::element::RowTerms;
use crate::error::Result;
use crate::operands::{Operands, OutputRows};
use crate::panel::{self, wide};

macro_rules! floating {
    ($($element:ty),*) => { $(
        impl Multiply for $element {
            type Activation = f32;
            type Sum = f32;
            type Rounded = ();

            const FOLD: usize = 1;

            fn expect_instructions(tier: Tier) -> Result<()> {
                if tier == Tier::Avx512 && tier.is_available() {
                    return Ok(());
                }
                Err(KernelError::Refused("it needs AVX-512".into()))
            }

            fn round(_tier: Tier, _operands: &Operands) {}

            fn pack(operands: &Operands, _rounded: &(), tokens: Range<usize>, panel: &mut [f32]) {
                let cols = operands.cols();
                wide::pack(&operands.x()[tokens.start * cols..tokens.end * cols], cols, panel);
            }

            fn starts(terms: &RowTerms) -> &[f32] {
                &terms.bias
            }

            unsafe fn multiply(strip: &Strip<Self>, sums: &mut [f32]) {
                // SAFETY: the caller promises the instructions.
                unsafe { x86::multiply(strip, sums) }
            }

            unsafe fn finish(stored: &Packed<Self>, _rounded: &(), sums: &[f32], place: Place, output: &mut OutputRows) {
                panel::unpack(stored.tier, sums, place.rows, place.tokens, output);
            }

            /// A pruned weight is not there, so nothing needs to be computed again.
            fn repair(_stored: &Packed<Self>, _operands: &mut Operands, _rounded: &()) {}
        }
    )* };
}

floating!(f32, bf16);

mod x86 {
    use std::arch::x86_64::*;

    use super::super::{LANES, Multiply, ROWS, Strip, each_set, sums_at};
    use crate::panel::wide::WIDE;

    /// Vectors of tokens.
    const VECTORS: usize = WIDE / LANES;

    /// How many bytes ahead weights are asked for.
    const WEIGHTS_AHEAD: usize = 1536;

    /// How many columns ahead activations are asked for.
    const COLUMNS_AHEAD: usize = 6;

    /// # Safety
    /// AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn multiply<T: Multiply<Activation = f32, Sum = f32>>(strip: &Strip<T>, sums: &mut [f32]) {
        strip.check(sums);
        let mut sum = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        for (row, sum) in sum.iter_mut().enumerate() {
            for (vector, sum) in sum.iter_mut().enumerate() {
                *sum = match strip.starts {
                    Some(starts) => _mm512_set1_ps(starts[row]),
                    // SAFETY: `check`: there are sums for every row of the slab.
                    None => unsafe { _mm512_loadu_ps(sums.as_ptr().add(sums_at(vector, strip.row + row))) },
                };
            }
        }
        let (mut column, mut value) = (strip.columns.as_ptr(), strip.values.as_ptr());
        macro_rules! entries {
            ($set:literal) => {
                for _ in 0..strip.counts[$set] {
                    // SAFETY: the invariants of `Sets` and `Strip`: the counts are those of the columns and values, of which some more are
                    // there to be read ahead, and each column has its activations. Prefetches are hints, whatever the address.
                    unsafe {
                        let x = strip.x.as_ptr().add(usize::from(*column) * WIDE);
                        let ahead = strip.x.as_ptr().wrapping_add(usize::from(*column.add(COLUMNS_AHEAD)) * WIDE);
                        _mm_prefetch::<_MM_HINT_T0>(value.cast::<i8>().wrapping_add(WEIGHTS_AHEAD));
                        let mut tokens = [_mm512_setzero_ps(); VECTORS];
                        for (vector, tokens) in tokens.iter_mut().enumerate() {
                            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(vector * LANES).cast());
                            *tokens = _mm512_load_ps(x.add(vector * LANES));
                        }
                        for (row, sum) in sum.iter_mut().enumerate() {
                            if $set >> row & 1 == 1 {
                                let weight = _mm512_set1_ps((*value).widen());
                                value = value.add(1);
                                for (sum, tokens) in sum.iter_mut().zip(tokens) {
                                    *sum = _mm512_fmadd_ps(tokens, weight, *sum);
                                }
                            }
                        }
                        column = column.add(1);
                    }
                }
            };
        }
        each_set!(entries!);
        for (row, sum) in sum.into_iter().enumerate() {
            for (vector, sum) in sum.into_iter().enumerate() {
                // SAFETY: `check`.
                unsafe { _mm512_storeu_ps(sums.as_mut_ptr().add(sums_at(vector, strip.row + row)), sum) };
            }
        }
    }
}
