//! What a vector of tokens does for a block: with fractions, and with four columns of integers in each lane.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::marker::PhantomData;

use half::bf16;

use crate::buffer::Number;
use crate::cpu::Tier;
use crate::element::int8::{self, Tokens};
use crate::element::{OneRow, Rows, Stored};
use crate::operands::Operands;
use crate::panel::groups::{self, TokenRows};
use crate::simd::{self, Kernel, Vector};

/// A vector of sums, one per token, and what is multiplied for it. Every method is `#[inline(always)]`: it only pays where the
/// instructions are enabled.
///
/// # Safety
/// All methods need the CPU features of the vector.
pub(super) trait Lanes {
    /// Tokens per vector.
    const COUNT: usize;
    /// The element of the weights.
    type Of: Multiplied;
    /// A weight for every token.
    type Weights: Copy;
    /// Activations of [`Lanes::COUNT`] tokens.
    type Activations: Copy;
    /// As many sums.
    type Sums: Copy;

    /// # Safety
    /// CPU features.
    unsafe fn zeros() -> Self::Sums;

    /// # Safety
    /// CPU features; `from` must be readable for a vector.
    unsafe fn load_sums(from: *const <Self::Of as Multiplied>::Sum) -> Self::Sums;

    /// # Safety
    /// CPU features; `to` must be writable for a vector.
    unsafe fn store_sums(sums: Self::Sums, to: *mut <Self::Of as Multiplied>::Sum);

    /// # Safety
    /// CPU features; `from` must be readable for a vector.
    unsafe fn load(from: *const <Self::Of as Multiplied>::Activation) -> Self::Activations;

    /// # Safety
    /// CPU features.
    unsafe fn splat(weight: <Self::Of as Multiplied>::Weight) -> Self::Weights;

    /// # Safety
    /// CPU features.
    unsafe fn add_products(sums: Self::Sums, x: Self::Activations, weights: Self::Weights) -> Self::Sums;

    /// Writes the results that belong to the sums of a row, for tokens with `scales`.
    ///
    /// # Safety
    /// CPU features; `scales` must be readable and `to` writable for a vector.
    unsafe fn finish(sums: Self::Sums, row: OneRow, scales: *const f32, to: *mut f32);
}

/// An element, and the vectors that multiply it on each tier.
pub(super) trait Multiplied: Stored {
    /// What one multiplication takes of the weights.
    type Weight: Number;
    /// What it takes of the activations of one token.
    type Activation: Number;
    /// What products are added up in.
    type Sum: Number;

    /// Columns that one multiplication takes.
    const COLS: usize;

    /// What one multiplication takes of the weights of one row: [`Multiplied::COLS`] values, or fewer at the edge.
    fn weight(values: &[Self]) -> Self::Weight;

    /// The weight of one column of those.
    fn value(weight: Self::Weight, col: usize) -> Self;

    /// Packs the activations of `operands` in groups of `group_len` numbers, and sets the scale of each token if the element has one.
    fn pack(tier: Tier, operands: &Operands, group_len: usize, values: &mut [Self::Activation], scales: &mut [f32]);

    /// Runs `work` with the vectors of `tier`, or with plain ones where the CPU lacks it.
    fn dispatch(tier: Tier, work: impl Work<Self>);
}

/// A computation that can run with any vectors of an element.
pub(super) trait Work<T: Multiplied> {
    /// The computation; implementations are `#[inline(always)]`.
    ///
    /// # Safety
    /// The CPU has the features of `L`.
    unsafe fn run<L: Lanes<Of = T>>(self);
}

macro_rules! with_fractions {
    ($element:ty) => {
        impl Multiplied for $element {
            type Weight = Self;
            type Activation = f32;
            type Sum = f32;

            const COLS: usize = 1;

            fn weight(values: &[Self]) -> Self {
                values[0]
            }

            fn value(weight: Self, _col: usize) -> Self {
                weight
            }

            fn pack(tier: Tier, operands: &Operands, group_len: usize, values: &mut [f32], _scales: &mut [f32]) {
                let rows =
                    TokenRows { values: operands.x(), tokens: operands.tokens(), cols: operands.cols(), stride: operands.cols() };
                groups::pack(tier, &rows, group_len, values);
            }

            fn dispatch(tier: Tier, work: impl Work<Self>) {
                simd::dispatch(tier, WithFractions(work, PhantomData));
            }
        }
    };
}
with_fractions!(f32);
with_fractions!(bf16);

/// Work with vectors of FP32.
struct WithFractions<W, T>(W, PhantomData<T>);

impl<T: Multiplied<Weight = T, Activation = f32, Sum = f32>, W: Work<T>> Kernel for WithFractions<W, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.run::<Floats<V, T>>() }
    }
}

/// FP32 vectors; weights are widened.
struct Floats<V, T>(PhantomData<(V, T)>);

impl<V: Vector, T: Multiplied<Weight = T, Activation = f32, Sum = f32>> Lanes for Floats<V, T> {
    const COUNT: usize = V::LANES;
    type Of = T;
    type Weights = V;
    type Activations = V;
    type Sums = V;

    #[inline(always)]
    unsafe fn zeros() -> V {
        // SAFETY: the caller's promise.
        unsafe { V::splat(0.0) }
    }

    #[inline(always)]
    unsafe fn load_sums(from: *const f32) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn store_sums(sums: V, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { sums.store(to) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn splat(weight: T) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::splat(weight.widen()) }
    }

    #[inline(always)]
    unsafe fn add_products(sums: V, x: V, weights: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { x.multiply_add(weights, sums) }
    }

    #[inline(always)]
    unsafe fn finish(sums: V, row: OneRow, _scales: *const f32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { sums.multiply_add(V::splat(1.0), V::splat(row.bias)).store(to) }
    }
}

/// Four columns in each 32-bit lane: bytes in the order of memory, weights with a sign, activations shifted and without.
impl Multiplied for i8 {
    type Weight = i32;
    type Activation = i32;
    type Sum = i32;

    const COLS: usize = 4;

    fn weight(values: &[i8]) -> i32 {
        i32::from_ne_bytes(std::array::from_fn(|col| values.get(col).map_or(0, |value| *value as u8)))
    }

    fn value(weight: i32, col: usize) -> i8 {
        weight.to_ne_bytes()[col] as i8
    }

    fn pack(tier: Tier, operands: &Operands, group_len: usize, values: &mut [i32], scales: &mut [f32]) {
        let layout = Rows::apart(operands.cols());
        let x = Tokens::round(tier, operands, &layout);
        let cols = operands.cols().div_ceil(Self::COLS);
        let rows = TokenRows { values: x.integers.words(), tokens: operands.tokens(), cols, stride: layout.stride / Self::COLS };
        groups::pack(tier, &rows, group_len, values);
        scales.copy_from_slice(&x.scales);
    }

    fn dispatch(tier: Tier, work: impl Work<i8>) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
            unsafe fn avx512(work: impl Work<i8>) {
                // SAFETY: the attribute states the features; the caller checked them.
                unsafe { work.run::<Quads<__m512i>>() }
            }
            #[target_feature(enable = "avx2")]
            unsafe fn avx2(work: impl Work<i8>) {
                // SAFETY: as above.
                unsafe { work.run::<Quads<__m256i>>() }
            }
            if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
                // SAFETY: the line above checked the features.
                return unsafe { avx512(work) };
            }
            if tier == Tier::Avx2 && tier.is_available() {
                // SAFETY: the line above checked the features.
                return unsafe { avx2(work) };
            }
        }
        let _ = tier;
        // SAFETY: plain lanes need no feature.
        unsafe { work.run::<Quads<[i32; 4]>>() }
    }
}

/// Vectors of integers.
struct Quads<V>(PhantomData<V>);

impl Lanes for Quads<[i32; 4]> {
    const COUNT: usize = 4;
    type Of = i8;
    type Weights = [i8; 4];
    type Activations = [[u8; 4]; 4];
    type Sums = [i32; 4];

    #[inline(always)]
    unsafe fn zeros() -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> [i32; 4] {
        // SAFETY: the caller promises a readable vector.
        unsafe { from.cast::<[i32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_sums(sums: [i32; 4], to: *mut i32) {
        // SAFETY: the caller promises a writable vector.
        unsafe { to.cast::<[i32; 4]>().write_unaligned(sums) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> [[u8; 4]; 4] {
        // SAFETY: the caller promises a readable vector.
        unsafe { from.cast::<[[u8; 4]; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat(weight: i32) -> [i8; 4] {
        weight.to_ne_bytes().map(|byte| byte as i8)
    }

    #[inline(always)]
    unsafe fn add_products(sums: [i32; 4], x: [[u8; 4]; 4], weights: [i8; 4]) -> [i32; 4] {
        let product = |token: usize| (0..4).map(|col| i32::from(x[token][col]) * i32::from(weights[col])).sum::<i32>();
        std::array::from_fn(|token| sums[token] + product(token))
    }

    #[inline(always)]
    unsafe fn finish(sums: [i32; 4], row: OneRow, scales: *const f32, to: *mut f32) {
        for (token, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller promises vectors to read and to write.
            unsafe { *to.add(token) = int8::dequantize(row.start + sum, row.scale, *scales.add(token), row.bias) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for Quads<__m512i> {
    const COUNT: usize = 16;
    type Of = i8;
    type Weights = __m512i;
    type Activations = __m512i;
    type Sums = __m512i;

    #[inline(always)]
    unsafe fn zeros() -> __m512i {
        // SAFETY: the caller promises the features.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> __m512i {
        // SAFETY: the caller promises the features and a readable vector.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_sums(sums: __m512i, to: *mut i32) {
        // SAFETY: the caller promises the features and a writable vector.
        unsafe { _mm512_storeu_si512(to.cast(), sums) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m512i {
        // SAFETY: the caller promises the features and a readable vector.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(weight: i32) -> __m512i {
        // SAFETY: the caller promises the features.
        unsafe { _mm512_set1_epi32(weight) }
    }

    #[inline(always)]
    unsafe fn add_products(sums: __m512i, x: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: the caller promises the features.
        unsafe { _mm512_dpbusd_epi32(sums, x, weights) }
    }

    #[inline(always)]
    unsafe fn finish(sums: __m512i, row: OneRow, scales: *const f32, to: *mut f32) {
        // SAFETY: the caller promises the features, and vectors to read and to write. The steps are those of `dequantize`.
        unsafe {
            let sums = _mm512_cvtepi32_ps(_mm512_add_epi32(sums, _mm512_set1_epi32(row.start)));
            let scaled = _mm512_mul_ps(_mm512_mul_ps(sums, _mm512_set1_ps(row.scale)), _mm512_loadu_ps(scales));
            _mm512_storeu_ps(to, _mm512_add_ps(scaled, _mm512_set1_ps(row.bias)));
        }
    }
}

/// Bytes at even and odd places are multiplied by themselves, in 16 bits: two products at a time fit without saturation.
#[cfg(target_arch = "x86_64")]
impl Lanes for Quads<__m256i> {
    const COUNT: usize = 8;
    type Of = i8;
    type Weights = [__m256i; 2];
    type Activations = [__m256i; 2];
    type Sums = __m256i;

    #[inline(always)]
    unsafe fn zeros() -> __m256i {
        // SAFETY: the caller promises the features.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> __m256i {
        // SAFETY: the caller promises the features and a readable vector.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_sums(sums: __m256i, to: *mut i32) {
        // SAFETY: the caller promises the features and a writable vector.
        unsafe { _mm256_storeu_si256(to.cast(), sums) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> [__m256i; 2] {
        // SAFETY: the caller promises the features and a readable vector.
        unsafe {
            let x = _mm256_loadu_si256(from.cast());
            [_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(x)]
        }
    }

    #[inline(always)]
    unsafe fn splat(weight: i32) -> [__m256i; 2] {
        // SAFETY: the caller promises the features.
        unsafe {
            let weights = _mm256_set1_epi32(weight);
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(weights)), _mm256_srai_epi16::<8>(weights)]
        }
    }

    #[inline(always)]
    unsafe fn add_products(sums: __m256i, x: [__m256i; 2], weights: [__m256i; 2]) -> __m256i {
        // SAFETY: the caller promises the features.
        unsafe {
            let products = _mm256_add_epi32(_mm256_madd_epi16(x[0], weights[0]), _mm256_madd_epi16(x[1], weights[1]));
            _mm256_add_epi32(sums, products)
        }
    }

    #[inline(always)]
    unsafe fn finish(sums: __m256i, row: OneRow, scales: *const f32, to: *mut f32) {
        // SAFETY: the caller promises the features, and vectors to read and to write. The steps are those of `dequantize`.
        unsafe {
            let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(sums, _mm256_set1_epi32(row.start)));
            let scaled = _mm256_mul_ps(_mm256_mul_ps(sums, _mm256_set1_ps(row.scale)), _mm256_loadu_ps(scales));
            _mm256_storeu_ps(to, _mm256_add_ps(scaled, _mm256_set1_ps(row.bias)));
        }
    }
}
