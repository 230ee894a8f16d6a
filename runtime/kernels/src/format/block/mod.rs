//! `block`: weights that are kept or pruned in blocks of one row and four columns, or of four or sixteen rows and one column.
//!
//! Tokens lie in the lanes of vectors. A block is a place and its weights: each weight is broadcast once and multiplied with the
//! activations of up to [`most_tiles`] vectors of tokens, whose sums stay in registers. So one place serves a whole block, and no lane
//! is spent on a zero.
//!
//! With INT8, the four weights of a 1x4 block fill one 32-bit lane, which one instruction multiplies and adds up.

mod activations;
mod lanes;
mod multiply;
mod packed;
mod runs;

use half::bf16;

use self::packed::Packed;
use super::{Compressed, Format, Target};
use crate::cpu::Tier;
use crate::element::Element;
use crate::error::{Result, expect_length};
use crate::{KernelError, Mask, Pattern, SparseMatrix};

/// The word `block`.
pub struct Block;

impl Format for Block {
    fn word(&self) -> &'static str {
        "block"
    }

    fn about(&self) -> &'static str {
        "blocks of 1x4, 4x1 or 16x1 weights, tokens in the lanes of vectors"
    }

    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], target: &Target) -> Result<Box<dyn Compressed>> {
        expect_length("biases", bias.len(), matrix.rows())?;
        let shape = Shape::of(matrix.mask())?;
        Ok(match matrix.element() {
            Element::Fp32 => Box::new(Packed::<f32>::new(matrix, bias, shape, target.tier)?),
            Element::Bf16 => Box::new(Packed::<bf16>::new(matrix, bias, shape, target.tier)?),
            Element::Int8 if shape == Shape::Wide => {
                Box::new(Packed::<i8>::new(matrix, bias, shape, target.tier.for_integers())?)
            }
            element => return Err(KernelError::Refused(format!("it multiplies no {element} in such blocks"))),
        })
    }
}

/// The blocks that kernels know. Blocks of sixteen rows are four of four rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One row, four columns.
    Wide,
    /// Four rows, one column.
    High,
}

impl Shape {
    /// The blocks of a mask.
    fn of(mask: &Mask) -> Result<Self> {
        match Pattern::of(mask) {
            Pattern::Block { rows: 4.., cols: 1 } => Ok(Self::High),
            Pattern::Block { rows: 1, cols: 4 } => Ok(Self::Wide),
            _ => Err(KernelError::Refused("weights are not kept in blocks of 1x4, 4x1 or 16x1".into())),
        }
    }

    /// Rows of a block.
    const fn rows(self) -> usize {
        match self {
            Self::Wide => 1,
            Self::High => 4,
        }
    }

    /// Where the weights of a row for one of `each` multiplications with a block are: `[block][multiplication][row]`.
    const fn place(self, each: usize, block: usize, multiplication: usize, row: usize) -> usize {
        (block * each + multiplication) * self.rows() + row % self.rows()
    }

    /// Columns of a block.
    const fn cols(self) -> usize {
        match self {
            Self::Wide => 4,
            Self::High => 1,
        }
    }
}

/// Vectors of tokens that are computed together at most: their sums, one for each row of a block, with what is multiplied, fill the
/// registers.
const fn most_tiles(shape: Shape, tier: Tier) -> usize {
    match (shape, tier) {
        (Shape::Wide, Tier::Avx512) => 8,
        (Shape::High, Tier::Avx512) => 6,
        (Shape::Wide, _) => 6,
        (Shape::High, _) => 2,
    }
}

/// Calls `$call!(count)` with the number of tiles as a literal.
macro_rules! by_tiles {
    ($count:expr, $call:ident!) => {
        $crate::format::by_count!($count, $call!, 1, 2, 3, 4, 5, 6, 7, 8)
    };
}
use by_tiles;
