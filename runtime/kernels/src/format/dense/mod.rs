//! `dense`: every weight stored, packed for vectors. The kernel that zeros have to beat, and the one that is always possible.
//!
//! Rows are packed in panels of two vectors, so that one output vector is a run of rows: results are written as they are, and
//! activations read as they are (one broadcast serves two multiply-adds). A tile is up to [`TILE`] tokens by one panel:
//! `2 * TILE` accumulators, two weight vectors and a broadcast fill the 32 registers of AVX-512.

mod float;
mod integer;
mod nibble;
mod panels;

use half::bf16;

pub use panels::Panels;

use super::{Compressed, Format, Target};
use crate::SparseMatrix;
use crate::cpu::Tier;
use crate::element::Element;
use crate::error::{Result, expect_length};

/// Tokens per tile at most.
const TILE: usize = 12;

/// Tokens that go over the weights of a panel one after the other.
const GROUP: usize = 32 * TILE;

/// Vectors per panel.
const VECTORS: usize = 2;

/// Results per token of a panel on the widest tier.
const WIDEST: usize = VECTORS * Tier::Avx512.lanes();

/// Asks for the `count` weights some time after those at `at`, for a tile of some tokens. The first tiles of many tokens read the weights
/// that the next ones find near; and for few, which wait for memory alone, the hardware reads ahead, faster than when it is asked.
#[inline(always)]
fn ask_ahead<const TOKENS: usize, T>(at: *const T, count: usize) {
    #[cfg(target_arch = "x86_64")]
    if const { 6 < TOKENS && TOKENS < TILE } {
        for line in (0..count * size_of::<T>()).step_by(64) {
            crate::prefetch::ask_ahead::<TOKENS, _>(at.wrapping_byte_add(line));
        }
    }
    let _ = (at, count);
}

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
        Ok(match matrix.element() {
            Element::Fp32 => Box::new(float::Packed::<f32>::new(matrix, bias, target.tier)?),
            Element::Bf16 => Box::new(float::Packed::<bf16>::new(matrix, bias, target.tier)?),
            Element::Int8 => Box::new(integer::Packed::new(matrix, bias, target.tier)?),
            Element::Int4 => Box::new(nibble::Packed::new(matrix, bias, target.tier)?),
        })
    }
}

/// Calls `$call!(count)` with the number of tokens of a tile as a literal.
macro_rules! by_tokens {
    ($count:expr, $call:ident!) => {
        $crate::format::by_count!($count, $call!, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    };
}
use by_tokens;
