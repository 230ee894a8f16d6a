//! FP32 and BF16: a step holds one weight of each row, which meets an activation in FP32.

use half::bf16;

use super::{LANES, Lookup, PITCH_BYTES, Packed, Pieces, Slice, TILE};
use crate::KernelError;
use crate::buffer::Scratch;
use crate::cpu::Tier;
use crate::element::Layout;
use crate::error::Result;
use crate::format::repair_non_finite;
use crate::operands::Operands;
use crate::share::for_each_group;

fn expect_avx512(tier: Tier) -> Result<()> {
    if tier == Tier::Avx512 && tier.is_available() {
        return Ok(());
    }
    Err(KernelError::Refused("it needs AVX-512".into()))
}

/// Activations in pieces; floating point needs no scales.
fn in_pieces(operands: &Operands, pieces: &Pieces) -> (Scratch<f32>, Scratch<f32>) {
    let (tokens, cols) = (operands.tokens(), operands.cols());
    let group_len = pieces.group_len();
    let (mut values, mut scales) = (Scratch::take(tokens.div_ceil(pieces.tile) * group_len), Scratch::take(tokens));
    for_each_group(tokens * cols, group_len, &mut values, pieces.tile, &mut scales, |group, values, scales| {
        for token in 0..scales.len() {
            let x = operands.token(group * pieces.tile + token);
            for (cols, at) in pieces.spans(token) {
                values[at..at + cols.len()].copy_from_slice(&x[cols]);
            }
        }
    });
    (values, scales)
}

macro_rules! floating {
    ($($element:ty),*) => { $(
        impl Lookup for $element {
            type Activation = f32;

            fn expect_instructions(tier: Tier) -> Result<()> {
                expect_avx512(tier)
            }

            fn activations(_tier: Tier, operands: &Operands, pieces: &Pieces) -> (Scratch<f32>, Scratch<f32>) {
                in_pieces(operands, pieces)
            }

            fn repair(stored: &Packed<Self>, operands: &mut Operands, _scales: &[f32]) {
                repair_non_finite(stored, &stored.terms.bias, operands);
            }

            unsafe fn multiply(slice: &Slice<Self>) {
                #[cfg(target_arch = "x86_64")]
                {
                    macro_rules! tokens {
                        ($count:literal) => {
                            // SAFETY: the caller promises the instructions; there are so many tokens.
                            unsafe { x86::multiply::<Self, $count>(slice) }
                        };
                    }
                    super::by_tokens!(slice.token_scales.len(), tokens!)
                }
                #[cfg(not(target_arch = "x86_64"))]
                unreachable!("no matrix is compressed for {} lanes of {TILE} tokens here", slice.starts.len());
            }
        }
    )* };
}

floating!(f32, bf16);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use half::bf16;

    use super::{LANES, Lookup, PITCH_BYTES, Slice, TILE};
    use crate::prefetch;
    use crate::simd::Vector;

    pub(super) trait Sixteen: Lookup<Activation = f32> {
        /// # Safety
        /// AVX-512 F; `from` must be readable for sixteen values.
        unsafe fn load(from: *const Self) -> __m512;
    }

    impl Sixteen for f32 {
        #[inline(always)]
        unsafe fn load(from: *const Self) -> __m512 {
            // SAFETY: the caller's promise.
            unsafe { Vector::load(from) }
        }
    }

    impl Sixteen for bf16 {
        #[inline(always)]
        unsafe fn load(from: *const Self) -> __m512 {
            // SAFETY: the caller's promise.
            unsafe { Vector::load_bf16(from) }
        }
    }

    /// # Safety
    /// AVX-512 F; `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn multiply<T: Sixteen, const COUNT: usize>(slice: &Slice<T>) {
        const PITCH: usize = PITCH_BYTES / size_of::<f32>();
        slice.check();
        assert!(COUNT <= slice.token_scales.len());
        slice.results.ask_for::<COUNT>();
        // SAFETY: `check`: sixteen terms.
        let mut sums = [unsafe { _mm512_loadu_ps(slice.bias.as_ptr()) }; COUNT];
        for (piece, range) in slice.steps.windows(2).enumerate() {
            let x = slice.x[piece * TILE * PITCH..].as_ptr();
            for step in range[0]..range[1] {
                let (places, values) =
                    (slice.places.as_ptr().wrapping_add(step * LANES), slice.values.as_ptr().wrapping_add(step * LANES));
                prefetch::ask_ahead::<COUNT, _>(places);
                prefetch::ask_ahead::<COUNT, _>(values);
                // SAFETY: `check`: there are as many windows, places and values as steps.
                let (window, places, values) = unsafe {
                    (
                        usize::from(*slice.windows.get_unchecked(step)) / size_of::<f32>(),
                        _mm512_cvtepu8_epi32(_mm_loadu_si128(places.cast())),
                        T::load(values),
                    )
                };
                for (token, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: `check`, and the invariant of `Steps`: a window begins inside of the piece, and ends before the next token.
                    let window = unsafe { _mm512_loadu_ps(x.add(token * PITCH + window)) };
                    *sum = _mm512_fmadd_ps(_mm512_permutexvar_ps(places, window), values, *sum);
                }
            }
        }
        for (token, sum) in sums.into_iter().enumerate() {
            // SAFETY: the invariant: room for sixteen results of each token.
            unsafe { _mm512_storeu_ps(slice.results.token(token), sum) };
        }
    }
}
