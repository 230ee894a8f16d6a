//! Dense INT8: panels `[panel][quad of columns][2 * lanes rows][4]`, so that a 32-bit lane holds four weights of one row, which one
//! instruction multiplies by four activations and adds up.

use std::sync::Arc;

use super::{Dense, GROUP, TILE, VECTORS, WIDEST};
use crate::buffer::Aligned;
use crate::cpu::Tier;
use crate::element::int8::Tokens;
use crate::element::{Element, RowTerms, Rows, Stored};
use crate::error::Result;
use crate::format::{Compressed, Footprint, Format, expect_shape, repair_without_scale, values_of_same_kind};
use crate::operands::{Operands, Results};
use crate::share::RowBlocks;
use crate::{Mask, SparseMatrix};

/// Columns whose products one lane adds up.
const QUAD: usize = 4;

/// *Invariant*: `weights` is `[panels, quads, width, QUAD]` and `terms` are for `panels * width` rows, all zero past the last row and
/// column.
pub(super) struct Packed {
    mask: Arc<Mask>,
    tier: Tier,
    width: usize,
    panels: RowBlocks,
    weights: Aligned<i8>,
    terms: RowTerms,
}

impl Packed {
    pub(super) fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        let tier = tier.for_integers();
        let width = VECTORS * tier.lanes();
        let panels = RowBlocks::of_height(matrix.rows(), width, |_| width * matrix.cols() / QUAD);
        let mut stored = Self {
            mask: matrix.mask().clone(),
            tier,
            width,
            weights: Aligned::zeros(panels.len() * matrix.cols().div_ceil(QUAD) * width * QUAD),
            terms: RowTerms::zeros(matrix.rows(), width),
            panels,
        };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    /// Where the weight of a row and column is.
    fn place(&self, row: usize, col: usize) -> usize {
        let quad = row / self.width * self.mask.cols().div_ceil(QUAD) + col / QUAD;
        (quad * self.width + row % self.width) * QUAD + col % QUAD
    }
}

impl Compressed for Packed {
    fn word(&self) -> &'static str {
        Dense.word()
    }

    fn element(&self) -> Element {
        Element::Int8
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        for col in self.mask.kept_cols(row) {
            visit(col, self.weights[self.place(row, col)].widen() * self.terms.scales[row]);
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        let (values, scales) = values_of_same_kind::<i8>(&self.mask, matrix, bias)?;
        self.terms.set(values, scales, bias);
        for (row, weights) in values.chunks_exact(matrix.cols().max(1)).enumerate() {
            for (col, weight) in weights.iter().enumerate() {
                let place = self.place(row, col);
                self.weights[place] = *weight;
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        Footprint { data_bytes: self.weights.bytes() + self.terms.bytes() + self.mask.bytes(), ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        self.weights.bytes() * tokens.div_ceil(GROUP)
    }

    fn group(&self) -> usize {
        GROUP
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let tokens = operands.tokens();
        let layout = Rows::apart(operands.cols());
        let x = Tokens::round(self.tier, operands, &layout);
        let panel_len = self.mask.cols().div_ceil(QUAD) * self.width * QUAD;
        self.panels.run(operands, |panels, output| {
            for panel in panels {
                for start in (0..tokens).step_by(TILE) {
                    let count = (tokens - start).min(TILE);
                    output.tile::<TILE, WIDEST>(self.panels.rows(panel), self.width, start..start + count, |results| {
                        let tile = Tile {
                            x: &x.integers[start * layout.stride..(start + count) * layout.stride],
                            scales: &x.scales[start..start + count],
                            stride: layout.stride,
                            panel: &self.weights[panel * panel_len..][..panel_len],
                            terms: &self.terms,
                            first_row: panel * self.width,
                            width: self.width,
                            results,
                        };
                        tile.multiply(self.tier);
                    });
                }
            }
        });
        repair_without_scale(self, &self.terms.bias, operands, &x.scales);
        Ok(())
    }
}

/// A few tokens against one panel.
///
/// *Invariant*: there are as many tokens in `x`, `stride` apart, as `scales`, at most [`TILE`]; each has room for `width` results; the
/// terms go on for `width` rows from `first_row`; and tokens are as long as the panel has quads.
struct Tile<'a> {
    x: &'a [u8],
    scales: &'a [f32],
    stride: usize,
    panel: &'a [i8],
    terms: &'a RowTerms,
    first_row: usize,
    width: usize,
    results: Results,
}

impl Tile<'_> {
    fn multiply(&self, tier: Tier) {
        #[cfg(target_arch = "x86_64")]
        if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
            // SAFETY: the line above checked the features.
            return unsafe { x86::avx512(self) };
        }
        #[cfg(target_arch = "x86_64")]
        if tier == Tier::Avx2 && tier.is_available() {
            // SAFETY: the line above checked the features.
            return unsafe { x86::avx2(self) };
        }
        let _ = tier;
        for (token, (x, scale)) in self.x.chunks_exact(self.stride).zip(self.scales).enumerate() {
            let mut sums = [0i32; WIDEST];
            for (x, weights) in x.chunks_exact(QUAD).zip(self.panel.chunks_exact(self.width * QUAD)) {
                for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(QUAD)) {
                    *sum += x.iter().zip(weights).map(|(x, weight)| i32::from(*x) * i32::from(*weight)).sum::<i32>();
                }
            }
            for (lane, sum) in sums.into_iter().enumerate().take(self.width) {
                // SAFETY: the invariant: a token has room for `width` results.
                unsafe { *self.results.token(token).add(lane) = self.terms.dequantize(self.first_row + lane, sum, *scale) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same with vectors.

    use std::arch::x86_64::*;

    use super::{QUAD, Tile, VECTORS};
    use crate::element::int8;
    use crate::format::dense::{ask_ahead, by_tokens};

    /// # Safety
    /// AVX-512 with VNNI.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) unsafe fn avx512(tile: &Tile) {
        macro_rules! tokens {
            ($count:literal) => {
                // SAFETY: the caller promises the features; there are so many tokens.
                unsafe { avx512_tokens::<$count>(tile) }
            };
        }
        by_tokens!(tile.scales.len(), tokens!)
    }

    /// # Safety
    /// AVX-512 with VNNI; `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn avx512_tokens<const COUNT: usize>(tile: &Tile) {
        const LANES: usize = 16;
        let (first, quads) = (tile.first_row, tile.panel.len() / (VECTORS * LANES * QUAD));
        let (starts, scales) = (&tile.terms.starts[first..], &tile.terms.scales[first..]);
        let bias = &tile.terms.bias[first..];
        assert!(tile.width == VECTORS * LANES && starts.len().min(scales.len()).min(bias.len()) >= tile.width);
        assert!(tile.x.len() >= (COUNT - 1) * tile.stride + quads * QUAD && tile.scales.len() >= COUNT);
        // SAFETY: the caller promises the features. The assertions: terms, weights and activations are there for every vector and quad
        // that is read; the invariant: a token has room for two vectors.
        unsafe {
            let start: [__m512i; VECTORS] = std::array::from_fn(|v| _mm512_loadu_si512(starts.as_ptr().add(v * LANES).cast()));
            let mut sums = [start; COUNT];
            for quad in 0..quads {
                const WIDTH: usize = VECTORS * LANES * QUAD;
                ask_ahead::<COUNT, _>(tile.panel.as_ptr().add(quad * WIDTH), WIDTH);
                let weights: [__m512i; VECTORS] = std::array::from_fn(|v| {
                    _mm512_loadu_si512(tile.panel.as_ptr().add((quad * VECTORS + v) * LANES * QUAD).cast())
                });
                for (token, sums) in sums.iter_mut().enumerate() {
                    let x = tile.x.as_ptr().add(token * tile.stride + quad * QUAD).cast::<i32>().read_unaligned();
                    let x = _mm512_set1_epi32(x);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm512_dpbusd_epi32(*sum, x, weights);
                    }
                }
            }
            for v in 0..VECTORS {
                let scale = _mm512_loadu_ps(scales.as_ptr().add(v * LANES));
                let bias = _mm512_loadu_ps(bias.as_ptr().add(v * LANES));
                for (token, sums) in sums.iter().enumerate() {
                    let result = int8::dequantize_avx512(sums[v], scale, tile.scales[token], bias);
                    _mm512_storeu_ps(tile.results.token(token).add(v * LANES), result);
                }
            }
        }
    }

    /// Tokens that are computed together: with two vectors of sums each, and what each needs beside, they fill 16 registers.
    const TOKENS: usize = 4;

    /// # Safety
    /// AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(tile: &Tile) {
        for first in (0..tile.scales.len()).step_by(TOKENS) {
            // SAFETY: the caller promises the features; so many tokens follow.
            unsafe {
                match tile.scales.len() - first {
                    1 => avx2_tokens::<1>(tile, first),
                    2 => avx2_tokens::<2>(tile, first),
                    3 => avx2_tokens::<3>(tile, first),
                    _ => avx2_tokens::<TOKENS>(tile, first),
                }
            }
        }
    }

    /// # Safety
    /// AVX2; `COUNT` tokens from `first_token`.
    #[target_feature(enable = "avx2")]
    unsafe fn avx2_tokens<const COUNT: usize>(tile: &Tile, first_token: usize) {
        const LANES: usize = 8;
        let quads = tile.panel.len() / (VECTORS * LANES * QUAD);
        assert!(tile.width == VECTORS * LANES && tile.x.len() >= (first_token + COUNT - 1) * tile.stride + quads * QUAD);
        let mut sums = [[_mm256_setzero_si256(); VECTORS]; COUNT];
        let (ones, shift) = (_mm256_set1_epi16(1), _mm256_set1_epi8(int8::SHIFT as u8 as i8));
        for quad in 0..quads {
            for v in 0..VECTORS {
                // SAFETY: two vectors of weights per quad, and there are so many.
                let weights = unsafe { _mm256_loadu_si256(tile.panel.as_ptr().add((quad * VECTORS + v) * LANES * QUAD).cast()) };
                let magnitudes = _mm256_abs_epi8(weights);
                for (token, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: the assertion: a quad of activations.
                    let x = unsafe {
                        tile.x.as_ptr().add((first_token + token) * tile.stride + quad * QUAD).cast::<i32>().read_unaligned()
                    };
                    // Activations with their sign, and that of the weight; then two products of at most 127 * 128 fit 16 bits.
                    let x = _mm256_sign_epi8(_mm256_xor_si256(_mm256_set1_epi32(x), shift), weights);
                    let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(magnitudes, x), ones);
                    sums[v] = _mm256_add_epi32(sums[v], pairs);
                }
            }
        }
        for (token, sums) in sums.iter().enumerate() {
            for (v, sums) in sums.iter().enumerate() {
                let mut lanes = [0i32; LANES];
                // SAFETY: `lanes` has room for a vector.
                unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), *sums) };
                for (lane, sum) in lanes.into_iter().enumerate() {
                    let token = first_token + token;
                    // These sums are of activations with their sign.
                    let (row, terms) = (tile.first_row + v * LANES + lane, tile.terms);
                    let result = int8::dequantize(sum, terms.scales[row], tile.scales[token], terms.bias[row]);
                    // SAFETY: the invariant: a token has room for two vectors.
                    unsafe { *tile.results.token(token).add(v * LANES + lane) = result };
                }
            }
        }
    }
}
