//! FP32 and BF16: an entry is one column.

use std::arch::x86_64::*;

use half::bf16;

use super::sets::Entry;
use super::single::{self, Single};
use super::{Multiply, Part, Strip};
use crate::KernelError;
use crate::cpu::Tier;
use crate::element::{RowTerms, Stored};
use crate::error::Result;
use crate::format::Compressed;
use crate::operands::{Operands, OutputRows};
use crate::panel::groups::TokenRows;
use crate::panel::{self, wide};

macro_rules! floating {
    ($($element:ty),*) => { $(
        impl Multiply for $element {
            type Weight = Self;
            type Activation = f32;
            type Sum = f32;
            type Rounded = ();

            const ENTRY: Entry = Entry { fold: 1, span: 1 };

            fn expect_instructions(tier: Tier) -> Result<()> {
                if tier == Tier::Avx512 && tier.is_available() {
                    return Ok(());
                }
                Err(KernelError::Refused("it needs AVX-512".into()))
            }

            fn round(_operands: &Operands) {}

            fn pack(operands: &Operands, _rounded: &(), panel: &mut [f32]) {
                let (tokens, cols) = (operands.tokens(), operands.cols());
                wide::pack(&TokenRows { values: operands.x(), tokens, cols, stride: cols }, panel);
            }

            fn starts(terms: &RowTerms) -> &[f32] {
                &terms.bias
            }

            unsafe fn multiply(strip: &Strip<Self>, sums: &mut [f32]) {
                #[target_feature(enable = "avx512f")]
                unsafe fn multiply(strip: &Strip<$element>, sums: &mut [f32]) {
                    // SAFETY: the attribute states the instructions.
                    unsafe { single::multiply(strip, sums) }
                }
                // SAFETY: the caller promises the instructions.
                unsafe { multiply(strip, sums) }
            }

            unsafe fn finish(_terms: &RowTerms, _rounded: &(), sums: &[f32], part: Part, output: &mut OutputRows) {
                panel::unpack(Tier::Avx512, sums, part.rows, part.tokens, output);
            }

            /// A pruned weight is not there, so nothing needs to be computed again.
            fn repair(_stored: &dyn Compressed, _bias: &[f32], _operands: &mut Operands, _rounded: &()) {}
        }

        // SAFETY: an entry is one column, and one weight is read.
        unsafe impl Single for $element {
            const PREFETCH_FROM_BYTES: usize = 0;

            #[inline(always)]
            unsafe fn splat(weight: *const Self) -> __m512i {
                // SAFETY: the caller promises the instructions, and a weight.
                unsafe { _mm512_castps_si512(_mm512_set1_ps((*weight).widen())) }
            }

            #[inline(always)]
            unsafe fn add_products(sums: __m512i, x: __m512i, weights: __m512i) -> __m512i {
                // SAFETY: the caller promises the instructions.
                unsafe {
                    let (x, weights) = (_mm512_castsi512_ps(x), _mm512_castsi512_ps(weights));
                    _mm512_castps_si512(_mm512_fmadd_ps(x, weights, _mm512_castsi512_ps(sums)))
                }
            }
        }
    )* };
}

floating!(f32, bf16);
