//! FP32 and BF16 values against FP32 activations.

use half::bf16;

use super::{Activations, Kept, Streams, Sums, WORD};
use crate::buffer::Scratch;
use crate::cpu::Tier;
use crate::element::RowTerms;
use crate::operands::Operands;

/// Activations in whole words, zeros past the last column.
fn in_words(operands: &Operands, stride: usize) -> Activations<f32> {
    let cols = operands.cols();
    let mut values = Scratch::take(operands.tokens() * stride);
    for (to, from) in values.chunks_exact_mut(stride.max(1)).zip(operands.x().chunks_exact(cols.max(1))) {
        to[..cols].copy_from_slice(from);
        to[cols..].fill(0.0);
    }
    Activations { values, scales: None }
}

/// The sums of products, the plain way.
fn add_up<T: Kept<Activation = f32, Sum = f32>>(streams: &Streams<T>, tokens: usize, sums: &mut Sums<T>) {
    streams.visit(tokens, |row, token, value, x| sums[token][row] += value.widen() * x);
}

impl Kept for f32 {
    type Activation = f32;
    type Sum = f32;

    fn activations(_tier: Tier, operands: &Operands, stride: usize) -> Activations<f32> {
        in_words(operands, stride)
    }

    fn multiply(tier: Tier, streams: &Streams<Self>, tokens: usize, sums: &mut Sums<Self>) {
        #[cfg(target_arch = "x86_64")]
        if tier > Tier::Portable && tier.is_available() {
            // SAFETY: the line above checked the features; `x` holds `tokens` tokens.
            unsafe {
                match (tier, tokens) {
                    (Tier::Avx512, 1) => x86::fp32_one_token(streams, sums),
                    (Tier::Avx512, 2) => x86::fp32_avx512::<2>(streams, sums),
                    (Tier::Avx512, 3) => x86::fp32_avx512::<3>(streams, sums),
                    (Tier::Avx512, _) => x86::fp32_avx512::<4>(streams, sums),
                    _ => x86::avx2(streams, tokens, sums),
                }
            }
            return;
        }
        let _ = tier;
        add_up(streams, tokens, sums);
    }

    fn result(terms: &RowTerms, row: usize, sum: f32, _token_scale: f32) -> f32 {
        terms.bias[row] + sum
    }
}

impl Kept for bf16 {
    type Activation = f32;
    type Sum = f32;

    /// With AVX-512, 16-bit values are expanded in pairs, one pair in each 32-bit lane. So of 32 columns, the activations of the even
    /// ones come first, then those of the odd ones.
    fn activations(tier: Tier, operands: &Operands, stride: usize) -> Activations<f32> {
        let mut activations = in_words(operands, stride);
        if expands_halves(tier) {
            for pairs in activations.values.as_chunks_mut::<32>().0 {
                let from = *pairs;
                for lane in 0..16 {
                    (pairs[lane], pairs[16 + lane]) = (from[2 * lane], from[2 * lane + 1]);
                }
            }
        }
        activations
    }

    fn multiply(tier: Tier, streams: &Streams<Self>, tokens: usize, sums: &mut Sums<Self>) {
        #[cfg(target_arch = "x86_64")]
        if expands_halves(tier) && tier.is_available() {
            // SAFETY: the line above checked the features; `x` holds `tokens` tokens.
            unsafe {
                match tokens {
                    1 => x86::bf16_one_token(streams, sums),
                    2 => x86::bf16_avx512::<2>(streams, sums),
                    3 => x86::bf16_avx512::<3>(streams, sums),
                    _ => x86::bf16_avx512::<4>(streams, sums),
                }
            }
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if tier > Tier::Portable && tier.is_available() {
            // SAFETY: the line above checked the features, and AVX-512 includes AVX2; `x` holds `tokens` tokens.
            return unsafe { x86::avx2(streams, tokens, sums) };
        }
        let _ = tier;
        add_up(streams, tokens, sums);
    }

    fn result(terms: &RowTerms, row: usize, sum: f32, _token_scale: f32) -> f32 {
        terms.bias[row] + sum
    }
}

/// Whether values of 16 bits are expanded by an instruction, which the kernels of integers need too.
fn expands_halves(tier: Tier) -> bool {
    tier.for_integers() == Tier::Avx512
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same with vectors.

    use std::arch::x86_64::*;

    use half::bf16;

    use super::super::{LANES_OF_KEPT, ROWS, Streams, Sums, TOKENS, loaded};
    use super::{Kept, WORD};
    use crate::prefetch;

    /// Calls `$each!(part)` for the parts of a word; written out so that sums stay in registers.
    macro_rules! parts {
        ($each:ident, $($part:literal),*) => { $($each!($part);)* };
    }

    /// Row by row, so that memory is read from front to back, which the hardware foresees.
    ///
    /// # Safety
    /// AVX-512 F; `x` holds one token.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    pub(super) unsafe fn fp32_one_token(streams: &Streams<f32>, sums: &mut Sums<f32>) {
        sums[0] = streams.rows.each_ref().map(|row| {
            let mut values = row.values.as_ptr();
            let mut lanes = [_mm512_setzero_ps(); 4];
            for (word, bits) in row.words.iter().copied().enumerate() {
                macro_rules! quarter {
                    ($quarter:literal) => {
                        let before = (bits & ((1u64 << ($quarter * 16)) - 1)).count_ones() as usize;
                        // SAFETY: a word of activations for each word of the row; fewer values are used than the words so far have
                        // bits, and a vector from there ends inside of the padding.
                        let (x, kept) = unsafe {
                            (
                                _mm512_loadu_ps(streams.x.as_ptr().add(word * WORD + $quarter * 16)),
                                _mm512_loadu_si512(values.add(before).cast()),
                            )
                        };
                        let weights = _mm512_maskz_expand_ps((bits >> ($quarter * 16)) as __mmask16, _mm512_castsi512_ps(loaded(kept)));
                        lanes[$quarter] = _mm512_fmadd_ps(weights, x, lanes[$quarter]);
                    };
                }
                parts!(quarter, 0, 1, 2, 3);
                // About as many lines as a word uses.
                prefetch::ask_ahead::<1, _>(values);
                prefetch::ask_ahead::<1, _>(values.wrapping_byte_add(64));
                // SAFETY: as many values as the word has bits.
                values = unsafe { values.add(bits.count_ones() as usize) };
            }
            _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(lanes[0], lanes[1]), _mm512_add_ps(lanes[2], lanes[3])))
        });
    }

    /// # Safety
    /// AVX-512 F; `x` holds `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512vl,popcnt")]
    pub(super) unsafe fn fp32_avx512<const COUNT: usize>(streams: &Streams<f32>, sums: &mut Sums<f32>) {
        let words = streams.x.len() / COUNT / WORD;
        let mut values = streams.rows.each_ref().map(|row| row.values.as_ptr());
        let mut lanes = [[_mm512_setzero_ps(); ROWS]; COUNT];
        for word in 0..words {
            // SAFETY: the invariant: rows have as many words as there are activations for.
            let bits: [u64; ROWS] = unsafe { streams.words(word) };
            macro_rules! quarter {
                ($quarter:literal) => {
                    // SAFETY: a quarter of a word of activations, for each of `COUNT` tokens of `words` words.
                    let x: [__m512; COUNT] = std::array::from_fn(|token| unsafe {
                        _mm512_loadu_ps(streams.x.as_ptr().add((token * words + word) * WORD + $quarter * 16))
                    });
                    for row in 0..ROWS {
                        let before = (bits[row] & ((1u64 << ($quarter * 16)) - 1)).count_ones() as usize;
                        // SAFETY: fewer values are used than the words so far have bits; a vector from there ends inside of the
                        // padding, which the values of an absent row have too.
                        let kept = unsafe { _mm512_loadu_si512(values[row].add(before).cast()) };
                        if $quarter % 2 == 0 {
                            prefetch::ask(values[row].wrapping_add(before + streams.values));
                        }
                        let weights = _mm512_maskz_expand_ps(
                            (bits[row] >> ($quarter * 16)) as __mmask16,
                            _mm512_castsi512_ps(loaded(kept)),
                        );
                        for token in 0..COUNT {
                            lanes[token][row] = _mm512_fmadd_ps(weights, x[token], lanes[token][row]);
                        }
                    }
                };
            }
            parts!(quarter, 0, 1, 2, 3);
            for row in 0..ROWS {
                // SAFETY: as many values as the word has bits.
                values[row] = unsafe { values[row].add(bits[row].count_ones() as usize) };
            }
        }
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            *sums = lanes.map(|lanes| _mm512_reduce_add_ps(lanes));
        }
    }

    /// Row by row, as [`fp32_one_token`].
    ///
    /// # Safety
    /// AVX-512 with VBMI2; `x` holds one token, even columns before odd ones.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    pub(super) unsafe fn bf16_one_token(streams: &Streams<bf16>, sums: &mut Sums<bf16>) {
        let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        sums[0] = streams.rows.each_ref().map(|row| {
            let mut values = row.values.as_ptr();
            let mut lanes = [_mm512_setzero_ps(); 4];
            for (word, bits) in row.words.iter().copied().enumerate() {
                macro_rules! half {
                    ($half:literal) => {
                        let before = if $half == 0 { 0 } else { (bits as u32).count_ones() as usize };
                        // SAFETY: a word of activations for each word of the row; fewer values are used than the words so far have
                        // bits, and a vector from there ends inside of the padding.
                        let (even, odd, kept) = unsafe {
                            let x = streams.x.as_ptr().add(word * WORD + $half * 32);
                            (_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16)), _mm512_loadu_si512(values.add(before).cast()))
                        };
                        let pairs = _mm512_maskz_expand_epi16((bits >> ($half * 32)) as __mmask32, loaded(kept));
                        let (low, high) = (_mm512_slli_epi32::<16>(pairs), _mm512_and_si512(pairs, upper));
                        lanes[2 * $half] = _mm512_fmadd_ps(_mm512_castsi512_ps(low), even, lanes[2 * $half]);
                        lanes[2 * $half + 1] = _mm512_fmadd_ps(_mm512_castsi512_ps(high), odd, lanes[2 * $half + 1]);
                    };
                }
                parts!(half, 0, 1);
                // About as many lines as a word uses.
                prefetch::ask_ahead::<1, _>(values);
                // SAFETY: as many values as the word has bits.
                values = unsafe { values.add(bits.count_ones() as usize) };
            }
            _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(lanes[0], lanes[1]), _mm512_add_ps(lanes[2], lanes[3])))
        });
    }

    /// # Safety
    /// AVX-512 with VBMI2; `x` holds `COUNT` tokens, even columns before odd ones.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    pub(super) unsafe fn bf16_avx512<const COUNT: usize>(streams: &Streams<bf16>, sums: &mut Sums<bf16>) {
        let words = streams.x.len() / COUNT / WORD;
        let mut values = streams.rows.each_ref().map(|row| row.values.as_ptr());
        let mut lanes = [[_mm512_setzero_ps(); ROWS]; COUNT];
        let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        for word in 0..words {
            // SAFETY: the invariant: rows have as many words as there are activations for.
            let bits: [u64; ROWS] = unsafe { streams.words(word) };
            macro_rules! half {
                ($half:literal) => {
                    // SAFETY: two vectors of activations, for each of `COUNT` tokens of `words` words.
                    let x: [[__m512; 2]; COUNT] = unsafe {
                        std::array::from_fn(|token| {
                            let x = streams.x.as_ptr().add((token * words + word) * WORD + $half * 32);
                            [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))]
                        })
                    };
                    for row in 0..ROWS {
                        let before = if $half == 0 { 0 } else { (bits[row] as u32).count_ones() as usize };
                        // SAFETY: fewer values are used than the words so far have bits; a vector from there ends inside of the
                        // padding, which the values of an absent row have too.
                        let kept = unsafe { _mm512_loadu_si512(values[row].add(before).cast()) };
                        if $half == 0 {
                            prefetch::ask(values[row].wrapping_add(streams.values));
                        }
                        let pairs = _mm512_maskz_expand_epi16((bits[row] >> ($half * 32)) as __mmask32, loaded(kept));
                        let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs));
                        let odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, upper));
                        for token in 0..COUNT {
                            let sum = _mm512_fmadd_ps(even, x[token][0], lanes[token][row]);
                            lanes[token][row] = _mm512_fmadd_ps(odd, x[token][1], sum);
                        }
                    }
                };
            }
            parts!(half, 0, 1);
            for row in 0..ROWS {
                // SAFETY: as many values as the word has bits.
                values[row] = unsafe { values[row].add(bits[row].count_ones() as usize) };
            }
        }
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            *sums = lanes.map(|lanes| _mm512_reduce_add_ps(lanes));
        }
    }

    /// Eight values, widened.
    pub(super) trait Eight: Kept<Activation = f32, Sum = f32> {
        /// # Safety
        /// AVX2; `from` must be readable for eight values.
        unsafe fn load(from: *const Self) -> __m256;
    }

    impl Eight for f32 {
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn load(from: *const Self) -> __m256 {
            // SAFETY: the caller's promise.
            unsafe { _mm256_loadu_ps(from) }
        }
    }

    impl Eight for bf16 {
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn load(from: *const Self) -> __m256 {
            // SAFETY: the caller's promise.
            let halves = unsafe { _mm_loadu_si128(from.cast()) };
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        }
    }

    /// # Safety
    /// AVX2 and FMA; `x` holds `tokens` tokens.
    #[target_feature(enable = "avx2,fma,popcnt")]
    pub(super) unsafe fn avx2<T: Eight>(streams: &Streams<T>, tokens: usize, sums: &mut Sums<T>) {
        let stride = streams.x.len() / tokens;
        for (row, stream) in streams.rows.iter().enumerate() {
            let mut lanes = [_mm256_setzero_ps(); TOKENS];
            let mut used = 0;
            for (word, bits) in stream.words.iter().enumerate() {
                for (place, byte) in bits.to_le_bytes().into_iter().enumerate() {
                    // SAFETY: a row of the table is 8 bytes; fewer values are used than the words before have bits, and a vector
                    // from there ends inside the padding.
                    let (table, kept) = unsafe {
                        (_mm_loadl_epi64(LANES_OF_KEPT[byte as usize].as_ptr().cast()), T::load(stream.values.as_ptr().add(used)))
                    };
                    let index = _mm256_cvtepi8_epi32(table);
                    let is_kept = _mm256_castsi256_ps(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(-1)));
                    let weights = _mm256_and_ps(_mm256_permutevar8x32_ps(kept, index), is_kept);
                    used += byte.count_ones() as usize;
                    for (token, lanes) in lanes.iter_mut().enumerate().take(tokens) {
                        // SAFETY: eight columns of a word, and there are `tokens` tokens of `stride` activations.
                        let x = unsafe { _mm256_loadu_ps(streams.x.as_ptr().add(token * stride + word * WORD + place * 8)) };
                        *lanes = _mm256_fmadd_ps(weights, x, *lanes);
                    }
                }
            }
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                let mut parts = [0.0f32; 8];
                // SAFETY: `parts` has room for eight values.
                unsafe { _mm256_storeu_ps(parts.as_mut_ptr(), lanes) };
                sums[row] = parts.iter().sum();
            }
        }
    }
}
