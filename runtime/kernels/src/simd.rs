//! One vector type per tier under one trait, so that a kernel is written once and compiled for each.
//!
//! A [`Kernel`] is generic over the vector; [`dispatch`] instantiates it inside of a function that has the tier's instructions.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use half::bf16;

use crate::cpu::Tier;
use crate::element::Stored;

/// FP32 lanes that are computed together. Every method is `#[inline(always)]`: it only pays inside of [`dispatch`].
///
/// # Safety
/// All methods need the CPU features of the vector's tier.
pub(crate) trait Vector: Copy {
    /// Values per vector.
    const LANES: usize;

    /// # Safety
    /// CPU features; `from` must be readable for `LANES` values.
    unsafe fn load(from: *const f32) -> Self;

    /// BF16 values, widened.
    ///
    /// # Safety
    /// CPU features; `from` must be readable for `LANES` values.
    unsafe fn load_bf16(from: *const bf16) -> Self;

    /// # Safety
    /// CPU features; `to` must be writable for `LANES` values.
    unsafe fn store(self, to: *mut f32);

    /// # Safety
    /// CPU features.
    unsafe fn splat(value: f32) -> Self;

    /// `self * by + plus`, rounded once where the tier has fused multiply-add.
    ///
    /// # Safety
    /// CPU features.
    unsafe fn multiply_add(self, by: Self, plus: Self) -> Self;
}

/// A computation that can run on any tier.
pub(crate) trait Kernel {
    /// What it computes.
    type Output;

    /// The computation with vectors `V`; implementations are `#[inline(always)]`.
    ///
    /// # Safety
    /// The CPU has the features of `V`.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs `kernel` with the vectors of `tier`, or with plain ones where the CPU lacks it.
pub(crate) fn dispatch<K: Kernel>(tier: Tier, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: the attribute states the features; the caller checked them.
            unsafe { kernel.run::<__m512>() }
        }
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: as above.
            unsafe { kernel.run::<__m256>() }
        }
        if tier == Tier::Avx512 && tier.is_available() {
            // SAFETY: the line above checked the features.
            return unsafe { avx512(kernel) };
        }
        if tier == Tier::Avx2 && tier.is_available() {
            // SAFETY: the line above checked the features.
            return unsafe { avx2(kernel) };
        }
    }
    let _ = tier;
    // SAFETY: plain lanes need no feature.
    unsafe { kernel.run::<Plain>() }
}

/// Four lanes of plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 4]);

impl Vector for Plain {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises `LANES` readable values.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller promises `LANES` readable values.
        Self(unsafe { from.cast::<[bf16; 4]>().read_unaligned() }.map(Stored::widen))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises `LANES` writable values.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn multiply_add(self, by: Self, plus: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * by.0[lane] + plus.0[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! x86_vector {
    ($vector:ty, $lanes:literal, $load:ident, [$load_half:ident, $extend:ident, $shift:ident, $as_floats:ident], $store:ident, $splat:ident, $multiply_add:ident) => {
        impl Vector for $vector {
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller promises the features and `LANES` readable values.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn load_bf16(from: *const bf16) -> Self {
                // SAFETY: the caller promises the features and `LANES` readable values, each the upper half of an FP32 number.
                unsafe { $as_floats($shift::<16>($extend($load_half(from.cast())))) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: the caller promises the features and `LANES` writable values.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                // SAFETY: the caller promises the features.
                unsafe { $splat(value) }
            }

            #[inline(always)]
            unsafe fn multiply_add(self, by: Self, plus: Self) -> Self {
                // SAFETY: the caller promises the features.
                unsafe { $multiply_add(self, by, plus) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86_vector!(
    __m512,
    16,
    _mm512_loadu_ps,
    [_mm256_loadu_si256, _mm512_cvtepu16_epi32, _mm512_slli_epi32, _mm512_castsi512_ps],
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps
);
#[cfg(target_arch = "x86_64")]
x86_vector!(
    __m256,
    8,
    _mm256_loadu_ps,
    [_mm_loadu_si128, _mm256_cvtepu16_epi32, _mm256_slli_epi32, _mm256_castsi256_ps],
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps
);
