//! Dense FP32 and BF16: panels `[panel][col][2 * lanes]`, widened to FP32 as they are loaded.

use std::sync::Arc;

use half::bf16;

use super::{Dense, GROUP, TILE, VECTORS, WIDEST, ask_ahead, by_tokens};
use crate::buffer::{Aligned, Scratch};
use crate::cpu::Tier;
use crate::element::{Element, Stored};
use crate::error::Result;
use crate::format::{Compressed, Footprint, Format, expect_shape, repair_non_finite, values_of_same_kind};
use crate::operands::{Operands, OutputRows, Results};
use crate::share::RowBlocks;
use crate::simd::{self, Kernel, Vector};
use crate::{Mask, SparseMatrix};

/// An element that vectors of FP32 are made of.
pub(super) trait Floating: Stored {
    /// # Safety
    /// CPU features of `V`; `from` must be readable for its lanes.
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

impl Floating for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }
}

impl Floating for bf16 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_bf16(from) }
    }
}

/// *Invariant*: `weights` is `[panels, cols, width]` and `bias` is `[panels * width]`, zero past the last row.
pub(super) struct Packed<T> {
    mask: Arc<Mask>,
    tier: Tier,
    width: usize,
    panels: RowBlocks,
    weights: Aligned<T>,
    bias: Aligned<f32>,
}

impl<T: Floating> Packed<T> {
    pub(super) fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        let width = VECTORS * tier.lanes();
        let panels = RowBlocks::of_height(matrix.rows(), width, |_| width * matrix.cols());
        let mut stored = Self {
            mask: matrix.mask().clone(),
            tier,
            width,
            weights: Aligned::zeros(panels.len() * width * matrix.cols()),
            bias: Aligned::zeros(panels.len() * width),
            panels,
        };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    fn panel(&self, panel: usize) -> &[T] {
        let len = self.width * self.mask.cols();
        &self.weights[panel * len..][..len]
    }
}

impl<T: Floating> Compressed for Packed<T> {
    fn word(&self) -> &'static str {
        Dense.word()
    }

    fn element(&self) -> Element {
        T::ELEMENT
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let panel = self.panel(row / self.width);
        for col in self.mask.kept_cols(row) {
            visit(col, panel[col * self.width + row % self.width].widen());
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        let (values, _) = values_of_same_kind::<T>(&self.mask, matrix, bias)?;
        self.bias[..bias.len()].copy_from_slice(bias);
        let (width, cols) = (self.width, matrix.cols());
        for (row, weights) in values.chunks_exact(cols.max(1)).enumerate() {
            let panel = &mut self.weights[row / width * width * cols..][..width * cols];
            for (col, weight) in weights.iter().enumerate() {
                panel[col * width + row % width] = *weight;
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        Footprint { data_bytes: self.weights.bytes() + self.bias.bytes() + self.mask.bytes(), ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        self.weights.bytes() * tokens.div_ceil(GROUP)
    }

    fn group(&self) -> usize {
        GROUP
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let (x, tokens, cols) = (Rows::of(operands), operands.tokens(), operands.cols());
        self.panels.run(operands, |panels, output| {
            for panel in panels {
                for start in (0..tokens).step_by(TILE) {
                    let count = (tokens - start).min(TILE);
                    let tile =
                        Tile { x: &x.values()[start * x.stride()..], stride: x.stride(), count, cols, panel: self.panel(panel) };
                    self.tile(tile, panel, start, output);
                }
            }
        });
        repair_non_finite(self, &self.bias, operands);
        Ok(())
    }
}

impl<T: Floating> Packed<T> {
    /// Results of one tile.
    fn tile(&self, tile: Tile<T>, panel: usize, start: usize, output: &mut OutputRows) {
        let bias = &self.bias[panel * self.width..][..self.width];
        let tokens = start..start + tile.count;
        output.tile::<TILE, WIDEST>(self.panels.rows(panel), self.width, tokens, |results| {
            simd::dispatch(self.tier, Multiply { tile, bias, results });
        });
    }
}

/// Activations by row. Rows whose distance is a large power of two fall on the same few cache sets: those are copied apart first.
enum Rows<'a> {
    AsGiven(&'a [f32], usize),
    Spread(Scratch<f32>, usize),
}

impl<'a> Rows<'a> {
    fn of(operands: &Operands<'a>) -> Self {
        let (x, tokens, cols) = (operands.x(), operands.tokens(), operands.cols());
        if tokens < TILE || cols == 0 || cols % 512 != 0 {
            return Self::AsGiven(x, cols);
        }
        let stride = cols + Tier::Avx512.lanes();
        let mut spread = Scratch::take(tokens * stride);
        for (to, from) in spread.chunks_exact_mut(stride).zip(x.chunks_exact(cols)) {
            to[..cols].copy_from_slice(from);
        }
        Self::Spread(spread, stride)
    }

    fn values(&self) -> &[f32] {
        match self {
            Self::AsGiven(values, _) => values,
            Self::Spread(values, _) => values,
        }
    }

    fn stride(&self) -> usize {
        match self {
            Self::AsGiven(_, stride) | Self::Spread(_, stride) => *stride,
        }
    }
}

/// `count` tokens, `stride` apart, against one panel.
pub(super) struct Tile<'a, T> {
    pub(super) x: &'a [f32],
    pub(super) stride: usize,
    pub(super) count: usize,
    pub(super) cols: usize,
    pub(super) panel: &'a [T],
}

/// One tile; every token has room for as many results as the panel is wide.
pub(super) struct Multiply<'a, T> {
    pub(super) tile: Tile<'a, T>,
    pub(super) bias: &'a [f32],
    pub(super) results: Results,
}

impl<T: Floating> Kernel for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        macro_rules! tokens {
            ($count:literal) => {
                // SAFETY: the caller promises the features of `V`; `count` tokens lie in the tile.
                unsafe { self.tokens::<V, $count>() }
            };
        }
        by_tokens!(self.tile.count, tokens!)
    }
}

impl<T: Floating> Multiply<'_, T> {
    /// # Safety
    /// CPU features of `V`; `COUNT` is the tile's count.
    #[inline(always)]
    unsafe fn tokens<V: Vector, const COUNT: usize>(self) {
        let Tile { x, stride, cols, panel, .. } = self.tile;
        let width = VECTORS * V::LANES;
        assert!(panel.len() == cols * width && self.bias.len() == width && x.len() >= (COUNT - 1) * stride + cols);
        // SAFETY: the caller promises the features. Line above: `x`, `panel` and `bias` hold every value read here; every token has
        // room for `width` results (see `OutputRows::tile`).
        unsafe {
            let bias: [V; VECTORS] = std::array::from_fn(|v| V::load(self.bias.as_ptr().add(v * V::LANES)));
            let mut sums = [bias; COUNT];
            for col in 0..cols {
                ask_ahead::<COUNT, _>(panel.as_ptr().add(col * width), width);
                let weights: [V; VECTORS] = std::array::from_fn(|v| T::load(panel.as_ptr().add(col * width + v * V::LANES)));
                for (token, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*x.as_ptr().add(token * stride + col));
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = x.multiply_add(weights, *sum);
                    }
                }
            }
            for (token, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(self.results.token(token).add(v * V::LANES));
                }
            }
        }
    }
}
