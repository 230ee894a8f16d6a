//! `dense`: every weight stored, packed for vectors. The kernel that zeros have to beat, and the one that is always possible.
//!
//! Rows are packed in panels of two vectors, `[panel][col][2 * lanes]`, so that one output vector is a run of rows: activations
//! are read as they are (one broadcast serves two multiply-adds) and results are written as they are. A tile is up to
//! [`TILE`] tokens by one panel: `2 * TILE` accumulators, two weight vectors and a broadcast fill the 32 registers of AVX-512.

use std::sync::Arc;

use super::{Compressed, Footprint, Format, Target, expect_same_mask, expect_shape, repair_non_finite};
use crate::buffer::{Aligned, Scratch};
use crate::cpu::Tier;
use crate::error::{Result, expect_length};
use crate::operands::{Operands, OutputRows, RowBlocks};
use crate::simd::{self, Kernel, Vector};
use crate::{Mask, SparseMatrix};

/// Tokens per tile at most.
const TILE: usize = 12;

/// Vectors per panel.
const VECTORS: usize = 2;

/// Values per panel column on the widest tier.
const WIDEST: usize = VECTORS * Tier::Avx512.lanes();

/// The word `dense`.
pub struct Dense;

impl Format for Dense {
    fn word(&self) -> &'static str {
        "dense"
    }

    fn about(&self) -> &'static str {
        "every weight stored, packed in panels of two vectors"
    }

    fn is_dense(&self) -> bool {
        true
    }

    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], target: &Target) -> Result<Box<dyn Compressed>> {
        expect_length("biases", bias.len(), matrix.rows())?;
        let width = VECTORS * target.tier.lanes();
        let panels = RowBlocks::of_height(matrix.rows(), width, |_| width * matrix.cols());
        let mut stored = Packed {
            mask: matrix.mask().clone(),
            tier: target.tier,
            width,
            weights: Aligned::zeros(panels.len() * width * matrix.cols()),
            bias: Aligned::zeros(panels.len() * width),
            panels,
        };
        stored.set_values(matrix, bias)?;
        Ok(Box::new(stored))
    }
}

/// *Invariant*: `weights` is `[panels, cols, width]` and `bias` is `[panels * width]`, zero past the last row.
struct Packed {
    mask: Arc<Mask>,
    tier: Tier,
    width: usize,
    panels: RowBlocks,
    weights: Aligned,
    bias: Aligned,
}

impl Compressed for Packed {
    fn word(&self) -> &'static str {
        Dense.word()
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let panel = self.panel(row / self.width);
        for col in self.mask.kept_cols(row) {
            visit(col, panel[col * self.width + row % self.width]);
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        expect_same_mask(&self.mask, matrix, bias)?;
        self.bias[..bias.len()].copy_from_slice(bias);
        let (width, cols) = (self.width, matrix.cols());
        for (row, weights) in matrix.weights().chunks_exact(cols.max(1)).enumerate() {
            let panel = &mut self.weights[row / width * width * cols..][..width * cols];
            for (col, weight) in weights.iter().enumerate() {
                panel[col * width + row % width] = *weight;
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let values = self.weights.len() + self.bias.len();
        Footprint { data_bytes: values * size_of::<f32>() + self.mask.bytes(), ..Footprint::default() }
    }

    fn product(&self, operands: &mut Operands) -> Result<()> {
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

impl Packed {
    fn panel(&self, panel: usize) -> &[f32] {
        let len = self.width * self.mask.cols();
        &self.weights[panel * len..][..len]
    }

    /// Results of one tile, through a small buffer where the panel reaches past the last row.
    fn tile(&self, tile: Tile, panel: usize, start: usize, output: &mut OutputRows) {
        let (rows, bias) = (self.panels.rows(panel), &self.bias[panel * self.width..][..self.width]);
        let count = tile.count;
        let mut padded = [[0.0; WIDEST]; TILE];
        let whole = rows.len() == self.width;
        let places: [*mut f32; TILE] = std::array::from_fn(|t| match whole && t < count {
            true => output.token_mut(start + t, rows.clone()).as_mut_ptr(),
            false => padded[t].as_mut_ptr(),
        });
        simd::dispatch(self.tier, Multiply { tile, bias, places });
        if !whole {
            for (t, padded) in padded.iter().enumerate().take(count) {
                output.token_mut(start + t, rows.clone()).copy_from_slice(&padded[..rows.len()]);
            }
        }
    }
}

/// Activations by row. Rows whose distance is a large power of two fall on the same few cache sets: those are copied apart first.
enum Rows<'a> {
    AsGiven(&'a [f32], usize),
    Spread(Scratch, usize),
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
struct Tile<'a> {
    x: &'a [f32],
    stride: usize,
    count: usize,
    cols: usize,
    panel: &'a [f32],
}

/// One tile; `places[t]` has room for the panel's width.
struct Multiply<'a> {
    tile: Tile<'a>,
    bias: &'a [f32],
    places: [*mut f32; TILE],
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        macro_rules! by_count {
            ($($count:literal),*) => {
                match self.tile.count {
                    // SAFETY: the caller promises the features of `V`; `count` tokens lie in the tile.
                    $($count => unsafe { self.tokens::<V, $count>() },)*
                    _ => unreachable!("a tile has 1 to {TILE} tokens"),
                }
            };
        }
        by_count!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    }
}

impl Multiply<'_> {
    /// # Safety
    /// CPU features of `V`; `COUNT` is the tile's count.
    #[inline(always)]
    unsafe fn tokens<V: Vector, const COUNT: usize>(self) {
        let Tile { x, stride, cols, panel, .. } = self.tile;
        let width = VECTORS * V::LANES;
        assert!(panel.len() == cols * width && self.bias.len() == width && x.len() >= (COUNT - 1) * stride + cols);
        // SAFETY: the caller promises the features. Line above: `x`, `panel` and `bias` hold every value read here; every place has
        // room for `width` results (see `Packed::tile`).
        unsafe {
            let bias: [V; VECTORS] = std::array::from_fn(|v| V::load(self.bias.as_ptr().add(v * V::LANES)));
            let mut sums = [bias; COUNT];
            for col in 0..cols {
                let weights: [V; VECTORS] = std::array::from_fn(|v| V::load(panel.as_ptr().add(col * width + v * V::LANES)));
                for (token, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*x.as_ptr().add(token * stride + col));
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = x.multiply_add(weights, *sum);
                    }
                }
            }
            for (place, sums) in self.places.iter().zip(sums) {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(place.add(v * V::LANES));
                }
            }
        }
    }
}
