//! `rowblock`: the mask is the code. For a few rows at a time, a straight-line function adds up the products of their kept weights;
//! zeros are not there, and neither are indices. Values stay an array that the code reads in order, so they may change.
//!
//! A function keeps one sum per row for as many tokens as a vector has lanes. Activations are packed in panels,
//! `[tile][col][lanes]`; a function runs over all tiles before the next one starts, so that its instructions stay near.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::{Compressed, Footprint, Format, Target, expect_same_kind, expect_shape};
use crate::buffer::{Aligned, Scratch};
use crate::cpu::Tier;
use crate::element::{Element, Values};
use crate::error::{Result, expect_length};
use crate::jit::{self, Block, Code, Cut, Grant};
use crate::operands::{Operands, OutputRows};
use crate::panel;
use crate::share::RowBlocks;
use crate::testing::{first_difference, random_values};
use crate::{Cpu, KernelError, Mask, SparseMatrix};

/// Tokens of a group at least: for fewer, reading the code takes longer than running it.
const FEWEST_TOKENS: usize = 64;

/// Tiles over which the prefetch of the next function is spread.
const PREFETCH_TILES: usize = 4;

/// The word `rowblock`.
pub struct RowBlock;

impl Format for RowBlock {
    fn word(&self) -> &'static str {
        "rowblock"
    }

    fn about(&self) -> &'static str {
        "machine code made for the mask, and the kept weights in the order it reads them"
    }

    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], target: &Target) -> Result<Box<dyn Compressed>> {
        expect_length("biases", bias.len(), matrix.rows())?;
        if matrix.element().is_integer() {
            return Err(KernelError::Refused(format!("its code multiplies fp32, not {}", matrix.element())));
        }
        let mut cuts: Vec<_> =
            jit::accumulators(target.tier).iter().map(|sums| Cut::of(matrix.mask(), *sums, jit::Core::this())).collect();
        cuts.dedup();
        // Where the registers do not suffice for a cut, they may for a lower one.
        let mut stored = Err(KernelError::Refused("there is nothing to cut".into()));
        for cut in cuts {
            stored = Compiled::new(matrix, cut, target);
            if !matches!(stored, Err(KernelError::Refused(_))) {
                break;
            }
        }
        let mut stored = stored?;
        stored.set_values(matrix, bias)?;
        Ok(Box::new(stored))
    }
}

/// *Invariant*: `blocks` holds `cut.pieces` blocks for each of `heights`, left to right; function `i` of `code` is that of block `i`
/// and reads `values[value_starts[i]..value_starts[i + 1]]`.
struct Compiled {
    mask: Arc<Mask>,
    element: Element,
    tier: Tier,
    cut: Cut,
    heights: RowBlocks,
    blocks: Vec<Block>,
    code: Code,
    values: Aligned<f32>,
    value_starts: Vec<usize>,
    compile_seconds: f64,
    _grant: Option<Grant>,
}

impl Compressed for Compiled {
    fn word(&self) -> &'static str {
        RowBlock.word()
    }

    fn element(&self) -> Element {
        self.element
    }

    fn mask(&self) -> &Mask {
        &self.mask
    }

    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32)) {
        let first = row / self.cut.height * self.cut.pieces;
        for index in first..first + self.cut.pieces {
            let block = &self.blocks[index];
            let mut values = self.weights(index).iter();
            block.visit_kept(&self.mask, |block_row, col| {
                let value = values.next();
                if block.rows.start + block_row == row {
                    visit(block.cols.start + col, value.copied().unwrap_or_default());
                }
            });
        }
    }

    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
        expect_same_kind(&self.mask, self.element, matrix, bias)?;
        self.copy_values(matrix, bias);
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            data_bytes: self.values.bytes() + self.mask.bytes() + self.blocks.len() * size_of::<Block>(),
            code_bytes: self.code.bytes(),
            compile_seconds: self.compile_seconds,
        }
    }

    fn weight_bytes_read(&self, tokens: usize) -> usize {
        (self.values.bytes() + self.code.bytes()) * tokens.div_ceil(self.group())
    }

    /// As many as stay in half of the second-level cache: 1,500 tokens in one go take longer than in parts, although the code is then read
    /// again for every part.
    fn group(&self) -> usize {
        let near = Cpu::this().caches.second_level() / 2 / (self.mask.cols() * size_of::<f32>()).max(1);
        (near / self.tier.lanes() * self.tier.lanes()).max(FEWEST_TOKENS)
    }

    fn product_of_group(&self, operands: &mut Operands) -> Result<()> {
        expect_shape(&self.mask, operands)?;
        let (tokens, cols, lanes) = (operands.tokens(), operands.cols(), self.tier.lanes());
        let mut panels = Scratch::take(tokens.div_ceil(lanes) * cols * lanes);
        panel::pack(self.tier, operands.x(), tokens, cols, &mut panels);
        self.heights.run(operands, |heights, output| self.rows(heights, &panels, tokens, output));
        Ok(())
    }
}

impl Compiled {
    /// The code for a mask, and room for its values.
    fn new(matrix: &SparseMatrix, cut: Cut, target: &Target) -> Result<Self> {
        let (mask, start) = (matrix.mask(), Instant::now());
        let count = mask.rows().div_ceil(cut.height) * cut.pieces;
        let mut grant = target.code_budget.take(jit::estimate_bytes(mask, count, cut, target.tier))?;
        let blocks: Vec<Block> = (0..mask.rows())
            .step_by(cut.height)
            .flat_map(|first| cut.blocks(first..(first + cut.height).min(mask.rows()), mask.cols()))
            .collect();
        let accept = |code| Self::of(matrix, cut, blocks.clone(), code, target.tier);
        let mut stored = jit::compile(RowBlock.word(), mask, &blocks, target, accept)?;
        grant.shrink_to(stored.code.bytes());
        stored._grant = Some(grant);
        stored.compile_seconds = start.elapsed().as_secs_f64();
        Ok(stored)
    }

    /// With `code` that computes right.
    fn of(matrix: &SparseMatrix, cut: Cut, blocks: Vec<Block>, code: Code, tier: Tier) -> Result<Self> {
        let mask = matrix.mask();
        let mut value_starts = vec![0];
        for (index, block) in blocks.iter().enumerate() {
            value_starts.push(value_starts[index] + block.value_count(mask));
        }
        let mut stored = Self {
            mask: mask.clone(),
            element: matrix.element(),
            tier,
            cut,
            heights: RowBlocks::of_height(mask.rows(), cut.height, |rows| rows.map(|row| mask.kept_in_row(row) + 1).sum()),
            values: Aligned::zeros(value_starts[blocks.len()]),
            value_starts,
            blocks,
            code,
            compile_seconds: 0.0,
            _grant: None,
        };
        stored.check()?;
        Ok(stored)
    }

    /// Results of some heights for so many tokens.
    fn rows(&self, heights: Range<usize>, panels: &[f32], tokens: usize, output: &mut OutputRows) {
        let lanes = self.tier.lanes();
        let (tiles, pieces) = (tokens.div_ceil(lanes), self.cut.pieces);
        let last = heights.end * pieces;
        // With one piece the sums of a tile are final at once; else those of all tiles wait for the next piece.
        let tile_sums = self.cut.height * lanes;
        let mut sums = Scratch::take(if pieces == 1 { tile_sums } else { tiles * tile_sums });
        for function in heights.start * pieces..last {
            let Block { rows, cols } = &self.blocks[function];
            for tile in 0..tiles {
                if tile < PREFETCH_TILES && function + 1 < last {
                    self.code.prefetch(function + 1, self.values(function + 1), tile, tiles.min(PREFETCH_TILES));
                }
                let x = &panels[(tile * self.mask.cols() + cols.start) * lanes..];
                let sums = if pieces == 1 { &mut sums[..] } else { &mut sums[tile * tile_sums..][..tile_sums] };
                self.code.run(function, x, self.values(function), sums);
                if cols.end == self.mask.cols() {
                    let first = tile * lanes;
                    panel::unpack(self.tier, sums, rows.clone(), first..(first + lanes).min(tokens), output);
                }
            }
        }
    }

    /// Puts bias and weights where the code reads them, widened.
    fn copy_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) {
        for (index, block) in self.blocks.iter().enumerate() {
            let mut at = self.value_starts[index];
            if block.starts_from_bias() {
                self.values[at..at + block.rows.len()].copy_from_slice(&bias[block.rows.clone()]);
                at += block.rows.len();
            }
            block.visit_kept(&self.mask, |row, col| {
                self.values[at] = matrix.weight(block.rows.start + row, block.cols.start + col);
                at += 1;
            });
        }
    }

    /// All a function reads: its bias, if it starts from one, then its weights.
    fn values(&self, function: usize) -> &[f32] {
        &self.values[self.value_starts[function]..self.value_starts[function + 1]]
    }

    fn weights(&self, function: usize) -> &[f32] {
        let block = &self.blocks[function];
        &self.values(function)[if block.starts_from_bias() { block.rows.len() } else { 0 }..]
    }

    /// Runs the code once on random weights and activations, whole and ragged tiles, against the plain product. Code does not depend
    /// on values, so what holds for these holds for all.
    fn check(&mut self) -> Result<()> {
        let (rows, cols, tokens) = (self.mask.rows(), self.mask.cols(), self.tier.lanes() + 3);
        let trial = SparseMatrix::of(Values::Fp32(random_values(rows * cols, 1)), self.mask.clone())?;
        let (bias, x) = (random_values(rows, 2), random_values(tokens * cols, 3));
        let (mut expected, mut found) = (vec![0.0; tokens * rows], vec![0.0; tokens * rows]);
        expected
            .par_chunks_exact_mut(rows.max(1))
            .enumerate()
            .try_for_each(|(token, y)| trial.product(&x[token * cols..][..cols], 1, &bias, y))?;
        self.copy_values(&trial, &bias);
        self.product(&mut Operands::new(&x, &mut found, tokens, rows, cols)?)?;
        match first_difference(&found, &expected, cols) {
            None => Ok(()),
            Some((at, found, expected)) => {
                Err(KernelError::SelfCheck(format!("compiled code gives {found} for {expected} at {at}")))
            }
        }
    }
}
