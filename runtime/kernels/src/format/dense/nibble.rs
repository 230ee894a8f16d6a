//! Dense INT4 in blocks of 32 columns, a scale and 16 bytes each, as llama.cpp's `Q4_0` has them: 4.5 bits a weight, whatever the
//! groups of the matrix. Sixteen rows are interleaved, as llama.cpp interleaves rows when it loads a model, so that each has a lane of
//! its own: sixteen FP16 scales, then four vectors, byte `4 r + i` of which has the weights of row `r` in columns `i` (low half) and
//! `4 + i` of eight. Weights are larger by eight, so that they have no sign.

use std::sync::Arc;

use half::f16;

use super::Dense;
use crate::buffer::Aligned;
use crate::cpu::Tier;
use crate::element::int4::{self, LANES, PIECE, QUAD, SHIFT, STEP, Sums, TOKENS, Tile, Tokens, VECTOR};
use crate::element::{Element, Values};
use crate::error::Result;
use crate::format::{Compressed, Footprint, Format, expect_same_kind, expect_shape, repair_without_scale};
use crate::operands::Operands;
use crate::share::RowBlocks;
use crate::{KernelError, Mask, SparseMatrix};

/// Bytes of the scales of sixteen rows.
const SCALES: usize = LANES * size_of::<f16>();

/// Bytes of sixteen rows in a piece of 32 columns.
const CELL: usize = SCALES + PIECE / STEP * VECTOR;

/// *Invariant*: `cells` is `[blocks, pieces, CELL]`, values of rows and columns past the last being zero.
pub(super) struct Packed {
    mask: Arc<Mask>,
    tier: Tier,
    blocks: RowBlocks,
    cells: Aligned<u8>,
    bias: Vec<f32>,
}

/// The scale of a row.
fn scale(cell: &[u8], row: usize) -> f32 {
    f16::from_le_bytes([cell[2 * row], cell[2 * row + 1]]).to_f32()
}

/// The value of a row in a column of the piece.
fn value(cell: &[u8], row: usize, col: usize) -> i32 {
    let (byte, half) = place(row, col);
    i32::from(cell[byte] >> (4 * half) & 15) - SHIFT
}

/// Which byte of a cell, and which half of it, holds the value of a row in a column of the piece.
fn place(row: usize, col: usize) -> (usize, usize) {
    (SCALES + col / STEP * VECTOR + row * QUAD + col % QUAD, col / QUAD % 2)
}

impl Packed {
    pub(super) fn new(matrix: &SparseMatrix, bias: &[f32], tier: Tier) -> Result<Self> {
        let mask = matrix.mask().clone();
        let blocks = RowBlocks::of_height(mask.rows(), LANES, |rows| rows.len() * mask.cols());
        let cells = Aligned::zeros(blocks.len() * mask.cols().div_ceil(PIECE) * CELL);
        let mut stored = Self { tier, blocks, cells, bias: Vec::new(), mask };
        stored.set_values(matrix, bias)?;
        Ok(stored)
    }

    fn block(&self, block: usize) -> &[u8] {
        let len = self.mask.cols().div_ceil(PIECE) * CELL;
        &self.cells[block * len..][..len]
    }
}

/// Calls `visit(col, value)` for a row of a block of `cols` columns.
fn visit(block: &[u8], row: usize, cols: usize, visit: &mut dyn FnMut(usize, i32)) {
    for col in 0..cols {
        visit(col, value(&block[col / PIECE * CELL..], row, col % PIECE));
    }
}

impl Compressed for Packed {
    fn word(&self) -> &'static str {
        Dense.word()
    }

    fn element(&self) -> Element {
        Element::Int4
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let block = self.block(row / LANES);
        for col in self.mask.kept_cols(row) {
            let cell = &block[col / PIECE * CELL..];
            visit(col, value(cell, row % LANES, col % PIECE) as f32 * scale(cell, row % LANES));
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        expect_same_kind(&self.mask, Element::Int4, matrix, bias)?;
        let Values::Int4 { values, scales, group } = matrix.values() else {
            return Err(KernelError::SelfCheck("values are not of their element".into()));
        };
        self.bias = bias.to_vec();
        let (rows, cols, groups) = (matrix.rows(), matrix.cols(), matrix.cols().div_ceil(*group));
        let pieces = cols.div_ceil(PIECE);
        for (at, cell) in self.cells.chunks_exact_mut(CELL).enumerate() {
            let (first_row, first_col) = (at / pieces * LANES, at % pieces * PIECE);
            cell[SCALES..].fill((SHIFT | SHIFT << 4) as u8);
            for row in 0..LANES.min(rows - first_row) {
                let of_matrix = first_row + row;
                let scale = scales[of_matrix * groups + first_col / group];
                cell[2 * row..][..size_of::<f16>()].copy_from_slice(&scale.to_le_bytes());
                for col in 0..PIECE.min(cols - first_col) {
                    let (byte, half) = place(row, col);
                    let nibble = (i32::from(values[of_matrix * cols + first_col + col]) + SHIFT) as u8;
                    cell[byte] = cell[byte] & !(15 << (4 * half)) | nibble << (4 * half);
                }
            }
        }
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        let data_bytes = self.cells.bytes() + size_of_val(&self.bias[..]) + self.mask.bytes();
        Footprint { data_bytes, ..Footprint::default() }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        self.cells.bytes() * tokens.div_ceil(TOKENS)
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let x = Tokens::round(self.tier, operands, PIECE);
        int4::product(operands, &self.blocks, &x, &self.bias, |block, tile| sums(self.tier, self.block(block), tile));
        repair_without_scale(self, &self.bias, operands, &x.scales);
        Ok(())
    }
}

/// The sums of a block of rows.
fn sums(tier: Tier, block: &[u8], x: &Tile) -> Sums {
    #[cfg(target_arch = "x86_64")]
    if tier == Tier::Avx512 && tier.is_available() && tier.for_integers() == tier {
        macro_rules! sums {
            ($count:literal) => {
                // SAFETY: the line above checked the features; there are so many tokens.
                unsafe { x86::sums::<$count>(block, x) }
            };
        }
        return crate::format::by_count!(x.count, sums!, 1, 2, 3, 4, 5, 6, 7, 8);
    }
    let _ = tier;
    let mut sums = [[0.0; LANES]; TOKENS];
    for row in 0..LANES {
        let scale = |piece: usize| scale(&block[piece * CELL..], row);
        let of_row = x.sums_of_row(PIECE, scale, |to| visit(block, row, x.groups * PIECE, to));
        for (sums, sum) in sums.iter_mut().zip(of_row) {
            sums[row] = sum;
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{CELL, LANES, SCALES, TOKENS, VECTOR};
    use crate::element::int4::{HIGH, PIECE, STEP, Sums, Tile};
    use crate::prefetch;

    /// # Safety
    /// AVX-512 with VNNI and GFNI; `COUNT` tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,gfni")]
    pub(super) unsafe fn sums<const COUNT: usize>(block: &[u8], x: &Tile) -> Sums {
        let (cells, []) = block.as_chunks::<CELL>() else { unreachable!("whole cells") };
        let steps = const { PIECE / STEP };
        assert!(x.count == COUNT && x.groups == cells.len() && x.starts.len() == COUNT * x.groups);
        assert!(x.steps() == steps * cells.len());
        let (low, high) = (_mm512_set1_epi8(15), _mm512_set1_epi64(HIGH));
        let mut totals = [_mm512_setzero_ps(); COUNT];
        for (piece, cell) in cells.iter().enumerate() {
            for line in (0..CELL).step_by(64) {
                prefetch::ask_ahead::<COUNT, _>(&raw const cell[line]);
            }
            // Of low halves, of high halves.
            let mut lanes = [[_mm512_setzero_si512(); COUNT]; 2];
            lanes[0] = std::array::from_fn(|token| _mm512_set1_epi32(x.starts[piece * COUNT + token]));
            // What is written out here the compiler keeps in registers, which it does not with a loop over steps.
            macro_rules! step {
                ($step:expr) => {
                    // SAFETY: a cell has a vector for each step.
                    let bytes = unsafe { _mm512_loadu_si512(cell.as_ptr().add(SCALES + $step * VECTOR).cast()) };
                    let quads = x.quads.as_ptr().wrapping_add((piece * steps + $step) * 2 * COUNT);
                    let weights = _mm512_and_si512(bytes, low);
                    for token in 0..COUNT {
                        // SAFETY: the assertion: two quads of each token for each step of each cell.
                        let x = _mm512_set1_epi32(unsafe { *quads.add(token) });
                        lanes[0][token] = _mm512_dpbusd_epi32(lanes[0][token], weights, x);
                    }
                    let weights = _mm512_gf2p8affine_epi64_epi8::<0>(bytes, high);
                    for token in 0..COUNT {
                        // SAFETY: as above.
                        let x = _mm512_set1_epi32(unsafe { *quads.add(COUNT + token) });
                        lanes[1][token] = _mm512_dpbusd_epi32(lanes[1][token], weights, x);
                    }
                };
            }
            step!(0);
            step!(1);
            step!(2);
            step!(3);
            // SAFETY: a cell begins with sixteen scales.
            let scales = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(cell.as_ptr().cast()) });
            for (token, total) in totals.iter_mut().enumerate() {
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(lanes[0][token], lanes[1][token]));
                *total = _mm512_fmadd_ps(sum, scales, *total);
            }
        }
        let mut sums = [[0.0; LANES]; TOKENS];
        for (sums, total) in sums.iter_mut().zip(totals) {
            // SAFETY: room for sixteen sums.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) };
        }
        sums
    }
}
