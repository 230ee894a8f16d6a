//! INT8 values against the shifted INT8 activations of each token.

use super::{Activations, Kept, Streams, Sums, WORD};
use crate::cpu::Tier;
use crate::element::int8::Tokens;
use crate::element::{RowTerms, Rows};
use crate::operands::Operands;

impl Kept for i8 {
    type Activation = u8;
    type Sum = i32;

    fn activations(tier: Tier, operands: &Operands, stride: usize) -> Activations<u8> {
        let Tokens { integers, scales } = Tokens::round(tier, operands, &Rows { cols: operands.cols(), stride });
        Activations { values: integers, scales: Some(scales) }
    }

    fn multiply(tier: Tier, streams: &Streams<Self>, tokens: usize, sums: &mut Sums<Self>) {
        #[cfg(target_arch = "x86_64")]
        match tier.for_integers() {
            Tier::Avx512 if tier.is_available() => {
                // SAFETY: the line above checked the features; `x` holds `tokens` tokens.
                return unsafe {
                    match tokens {
                        1 => x86::one_token(streams, sums),
                        2 => x86::avx512::<2>(streams, sums),
                        3 => x86::avx512::<3>(streams, sums),
                        _ => x86::avx512::<4>(streams, sums),
                    }
                };
            }
            Tier::Avx2 if tier.is_available() => {
                // SAFETY: the line above checked the features; `x` holds `tokens` tokens.
                return unsafe { x86::avx2(streams, tokens, sums) };
            }
            _ => {}
        }
        let _ = tier;
        streams.visit(tokens, |row, token, value, x| sums[token][row] += i32::from(value) * i32::from(x));
    }

    fn result(terms: &RowTerms, row: usize, sum: i32, token_scale: f32) -> f32 {
        terms.dequantize(row, sum, token_scale)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same with vectors.

    use std::arch::x86_64::*;

    use super::super::{LANES_OF_KEPT, ROWS, Streams, Sums, TOKENS, loaded};
    use super::WORD;
    use crate::prefetch;

    /// Row by row, so that memory is read from front to back, which the hardware foresees.
    ///
    /// # Safety
    /// AVX-512 with VNNI and VBMI2; `x` holds one token.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi2,popcnt")]
    pub(super) unsafe fn one_token(streams: &Streams<i8>, sums: &mut Sums<i8>) {
        let lanes = streams.rows.each_ref().map(|row| {
            let mut values = row.values.as_ptr();
            let mut lanes = [_mm512_setzero_si512(); 2];
            macro_rules! word {
                ($word:expr, $bits:expr, $lanes:expr) => {
                    // SAFETY: a word of activations for each word of the row.
                    let x = unsafe { _mm512_loadu_si512(streams.x.as_ptr().add($word * WORD).cast()) };
                    // SAFETY: fewer values are used than the words so far have bits, and a vector from there ends inside of the padding.
                    let kept = unsafe { _mm512_loadu_si512(values.cast()) };
                    $lanes = _mm512_dpbusd_epi32($lanes, x, _mm512_maskz_expand_epi8($bits, loaded(kept)));
                    // SAFETY: as many values as the word has bits.
                    values = unsafe { values.add($bits.count_ones() as usize) };
                };
            }
            let (pairs, odd) = row.words.as_chunks::<2>();
            for (pair, bits) in pairs.iter().enumerate() {
                prefetch::ask_ahead::<1, _>(values);
                word!(2 * pair, bits[0], lanes[0]);
                word!(2 * pair + 1, bits[1], lanes[1]);
            }
            if let [bits] = odd {
                word!(2 * pairs.len(), *bits, lanes[0]);
            }
            let _ = values;
            _mm512_add_epi32(lanes[0], lanes[1])
        });
        sums[0] = lanes.map(|lanes| _mm512_reduce_add_epi32(lanes));
    }

    /// # Safety
    /// AVX-512 with VNNI and VBMI2; `x` holds `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi2,popcnt")]
    pub(super) unsafe fn avx512<const COUNT: usize>(streams: &Streams<i8>, sums: &mut Sums<i8>) {
        let words = streams.x.len() / COUNT / WORD;
        let mut values = streams.rows.each_ref().map(|row| row.values.as_ptr());
        let mut lanes = [[_mm512_setzero_si512(); ROWS]; COUNT];
        for word in 0..words {
            // SAFETY: the invariant: rows have as many words as there are activations for.
            let bits: [u64; ROWS] = unsafe { streams.words(word) };
            // SAFETY: a word of activations, for each of `COUNT` tokens of `words` words.
            let x: [__m512i; COUNT] = std::array::from_fn(|token| unsafe {
                _mm512_loadu_si512(streams.x.as_ptr().add((token * words + word) * WORD).cast())
            });
            for row in 0..ROWS {
                // SAFETY: fewer values are used than the words so far have bits; a vector from there ends inside of the padding,
                // which the values of an absent row have too.
                let kept = unsafe { _mm512_loadu_si512(values[row].cast()) };
                // At half of the weights, two words use a cache line of values.
                if word.is_multiple_of(2) {
                    prefetch::ask(values[row].wrapping_add(streams.values));
                }
                let weights = _mm512_maskz_expand_epi8(bits[row], loaded(kept));
                for token in 0..COUNT {
                    lanes[token][row] = _mm512_dpbusd_epi32(lanes[token][row], x[token], weights);
                }
                // SAFETY: as many values as the word has bits.
                values[row] = unsafe { values[row].add(bits[row].count_ones() as usize) };
            }
        }
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            *sums = lanes.map(|lanes| _mm512_reduce_add_epi32(lanes));
        }
    }

    /// # Safety
    /// AVX2; `x` holds `tokens` tokens.
    #[target_feature(enable = "avx2,popcnt")]
    pub(super) unsafe fn avx2(streams: &Streams<i8>, tokens: usize, sums: &mut Sums<i8>) {
        let stride = streams.x.len() / tokens;
        for (row, stream) in streams.rows.iter().enumerate() {
            let mut lanes = [_mm256_setzero_si256(); TOKENS];
            let mut used = 0;
            for (word, bits) in stream.words.iter().enumerate() {
                for (place, byte) in bits.to_le_bytes().into_iter().enumerate() {
                    // SAFETY: a row of the table is 8 bytes; fewer values are used than the words before have bits, and eight from
                    // there end inside the padding.
                    let (table, kept) = unsafe {
                        (
                            _mm_loadl_epi64(LANES_OF_KEPT[byte as usize].as_ptr().cast()),
                            _mm_loadl_epi64(stream.values.as_ptr().add(used).cast()),
                        )
                    };
                    // Lanes without a value are negative in the table, and become zero.
                    let weights = _mm256_cvtepi8_epi32(_mm_shuffle_epi8(kept, table));
                    used += byte.count_ones() as usize;
                    for (token, lanes) in lanes.iter_mut().enumerate().take(tokens) {
                        // SAFETY: eight columns of a word, and there are `tokens` tokens of `stride` activations.
                        let x =
                            unsafe { _mm_loadl_epi64(streams.x.as_ptr().add(token * stride + word * WORD + place * 8).cast()) };
                        // Both fit 16 bits, and so the upper halves add nothing.
                        *lanes = _mm256_add_epi32(*lanes, _mm256_madd_epi16(weights, _mm256_cvtepu8_epi32(x)));
                    }
                }
            }
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                let mut parts = [0i32; 8];
                // SAFETY: `parts` has room for eight values.
                unsafe { _mm256_storeu_si256(parts.as_mut_ptr().cast(), lanes) };
                sums[row] = parts.iter().sum();
            }
        }
    }
}
