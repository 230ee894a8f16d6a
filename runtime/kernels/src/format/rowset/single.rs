//! Entries of one place: its activations are loaded once, and multiplied with one weight, or group of weights, of each row of the set.

use std::arch::x86_64::*;

use super::sets::AHEAD;
use super::{LANES, Multiply, Strip, VECTORS, WEIGHTS_AHEAD, each_set};
use crate::panel::wide::WIDE;

/// How many places ahead activations are asked for.
const PLACES_AHEAD: usize = 6;

/// What 32 bits of weights and of activations give, added to a sum of 32 bits. Methods are `#[inline(always)]`: they only pay where the
/// instructions are enabled.
///
/// # Safety
/// [`Multiply::ENTRY`] has one place, and [`Single::splat`] reads as many weights as that has columns.
pub(super) unsafe trait Single: Multiply {
    /// Bytes of the activations of a piece from which these, and weights, are prefetched: prefetches take turns of the loads.
    const PREFETCH_FROM_BYTES: usize;

    /// The weights of one row for a place, in every lane.
    ///
    /// # Safety
    /// The instructions of [`Multiply::expect_instructions`]; as many weights as a place has columns can be read.
    unsafe fn splat(weights: *const Self::Weight) -> __m512i;

    /// # Safety
    /// The instructions.
    unsafe fn add_products(sums: __m512i, x: __m512i, weights: __m512i) -> __m512i;
}

/// Adds the products of a strip to its sums.
///
/// # Safety
/// The instructions of [`Multiply::expect_instructions`], enabled where this is called.
#[inline(always)]
pub(super) unsafe fn multiply<T: Single>(strip: &Strip<T>, sums: &mut [T::Sum]) {
    // SAFETY: the caller's promise.
    unsafe {
        if size_of_val(strip.x) >= T::PREFETCH_FROM_BYTES {
            add_strip::<T, true>(strip, sums);
        } else {
            add_strip::<T, false>(strip, sums);
        }
    }
}

/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn add_strip<T: Single, const PREFETCHES: bool>(strip: &Strip<T>, sums: &mut [T::Sum]) {
    const {
        assert!(T::ENTRY.fold == 1 && PLACES_AHEAD <= AHEAD);
        assert!(size_of::<T::Activation>() == 4);
    }
    // SAFETY: the caller's promise.
    let mut sum = unsafe { strip.load(sums) };
    let (mut place, mut value) = (strip.places.as_ptr(), strip.values.as_ptr());
    macro_rules! entries {
        ($set:literal) => {
            for _ in 0..strip.counts[$set] {
                // SAFETY: the invariants of `Sets` and `Strip`: the counts are those of the places and values, of which some more are
                // there to be read ahead, and each place has its activations. Prefetches are hints, whatever the address.
                unsafe {
                    let x = strip.x.as_ptr().add(usize::from(*place) * WIDE);
                    let ahead = strip.x.as_ptr().wrapping_add(usize::from(*place.add(PLACES_AHEAD)) * WIDE);
                    if PREFETCHES {
                        _mm_prefetch::<_MM_HINT_T0>(value.cast::<i8>().wrapping_add(WEIGHTS_AHEAD));
                    }
                    let mut tokens = [_mm512_setzero_si512(); VECTORS];
                    for (vector, tokens) in tokens.iter_mut().enumerate() {
                        if PREFETCHES {
                            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(vector * LANES).cast());
                        }
                        *tokens = _mm512_load_si512(x.add(vector * LANES).cast());
                    }
                    for (row, sum) in sum.iter_mut().enumerate() {
                        if $set >> row & 1 == 1 {
                            let weights = T::splat(value);
                            value = value.add(T::ENTRY.span);
                            for (sum, tokens) in sum.iter_mut().zip(tokens) {
                                *sum = T::add_products(*sum, tokens, weights);
                            }
                        }
                    }
                    place = place.add(1);
                }
            }
        };
    }
    each_set!(entries!);
    // SAFETY: the caller's promise.
    unsafe { strip.store(sum, sums) };
}
