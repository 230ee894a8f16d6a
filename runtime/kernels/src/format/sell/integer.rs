//! INT8: a step holds four weights of each row, whose products one instruction adds up.

use super::{LANES, Lookup, PITCH_BYTES, Packed, Pieces, Slice, TILE};
use crate::KernelError;
use crate::buffer::Scratch;
use crate::cpu::Tier;
use crate::element::int8::Tokens;
use crate::error::Result;
use crate::format::repair_without_scale;
use crate::operands::Operands;

impl Lookup for i8 {
    type Activation = u8;

    fn expect_instructions(tier: Tier) -> Result<()> {
        if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
            return Ok(());
        }
        Err(KernelError::Refused("it needs AVX-512 with VNNI and VBMI".into()))
    }

    fn activations(tier: Tier, operands: &Operands, pieces: &Pieces) -> (Scratch<u8>, Scratch<f32>) {
        let Tokens { integers, scales } = Tokens::round(tier, operands, pieces);
        (integers, scales)
    }

    fn repair(stored: &Packed<Self>, operands: &mut Operands, scales: &[f32]) {
        repair_without_scale(stored, &stored.terms.bias, operands, scales);
    }

    unsafe fn multiply(slice: &Slice<Self>) {
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! tokens {
                ($count:literal) => {
                    // SAFETY: the caller promises the instructions; there are so many tokens.
                    unsafe { x86::multiply::<$count>(slice) }
                };
            }
            super::by_tokens!(slice.token_scales.len(), tokens!)
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no matrix is compressed for {} lanes of {TILE} tokens here", slice.starts.len());
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, PITCH_BYTES, Slice, TILE};
    use crate::element::int8;
    use crate::prefetch;

    /// Bytes of one step.
    const STEP: usize = LANES * 4;

    /// # Safety
    /// AVX-512 with VNNI and VBMI; `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    pub(super) unsafe fn multiply<const COUNT: usize>(slice: &Slice<i8>) {
        slice.check();
        assert!(COUNT <= slice.token_scales.len());
        slice.results.ask_for::<COUNT>();
        // SAFETY: `check`: sixteen terms.
        let start = unsafe { _mm512_loadu_si512(slice.starts.as_ptr().cast()) };
        let mut sums = [start; COUNT];
        for (piece, range) in slice.steps.windows(2).enumerate() {
            let x = slice.x[piece * TILE * PITCH_BYTES..].as_ptr();
            for step in range[0]..range[1] {
                let (places, values) =
                    (slice.places.as_ptr().wrapping_add(step * STEP), slice.values.as_ptr().wrapping_add(step * STEP));
                prefetch::ask_ahead::<COUNT, _>(places);
                prefetch::ask_ahead::<COUNT, _>(values);
                // SAFETY: `check`: there are as many windows, places and values as steps.
                let (window, places, values) = unsafe {
                    (
                        usize::from(*slice.windows.get_unchecked(step)),
                        _mm512_loadu_si512(places.cast()),
                        _mm512_loadu_si512(values.cast()),
                    )
                };
                for (token, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: `check`, and the invariant of `Steps`: a window begins inside of the piece, and ends before the next token.
                    let window = unsafe { _mm512_loadu_si512(x.add(token * PITCH_BYTES + window).cast()) };
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_permutexvar_epi8(places, window), values);
                }
            }
        }
        // SAFETY: `check`: sixteen terms; the invariant: room for sixteen results of each token.
        unsafe {
            let (scale, bias) = (_mm512_loadu_ps(slice.row_scales.as_ptr()), _mm512_loadu_ps(slice.bias.as_ptr()));
            for (token, sum) in sums.into_iter().enumerate() {
                _mm512_storeu_ps(
                    slice.results.token(token),
                    int8::dequantize_avx512(sum, scale, slice.token_scales[token], bias),
                );
            }
        }
    }
}
