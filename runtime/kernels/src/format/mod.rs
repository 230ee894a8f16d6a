//! The shelf of formats: how a sparse matrix is stored, and the product that belongs to it.
//!
//! One file per format, named like its word, and one row in [`FORMATS`]. The contract tests below run over the table: what is
//! compressed expands to the same matrix, and every product agrees with [`SparseMatrix::product`] on every tier, also for
//! activations that are NaN or infinite.

/// Calls `$call!(count)` with `$count` as the one literal of the list that it is: a number of tokens that the compiler knows keeps
/// their sums in registers.
macro_rules! by_count {
    ($count:expr, $call:ident!, $($each:literal),*) => {
        match $count {
            $($each => $call!($each),)*
            count => unreachable!("a tile of {count} tokens"),
        }
    };
}
use by_count;

pub mod bitmask;
#[cfg(target_arch = "x86_64")]
pub mod block;
pub mod dense;
pub mod gemm;
#[cfg(target_arch = "x86_64")]
pub mod rowblock;
#[cfg(target_arch = "x86_64")]
pub mod rowset;
pub mod sell;

use crate::element::{Element, Stored};
use crate::error::{Result, expect_length};
use crate::jit::{CodeBudget, CodeCache};
use crate::simd::{self, Kernel, Vector};
use crate::{Cpu, KernelError, Mask, Operands, SparseMatrix, Tier};

/// Every format, in the order of explanations.
pub const FORMATS: &[&dyn Format] = &[
    &dense::Dense,
    &gemm::Gemm,
    &bitmask::Bitmask,
    &sell::Sell,
    #[cfg(target_arch = "x86_64")]
    &block::Block,
    #[cfg(target_arch = "x86_64")]
    &rowblock::RowBlock,
    #[cfg(target_arch = "x86_64")]
    &rowset::RowSet,
];

/// The format called `word`.
///
/// # Errors
/// When there is none; the message lists those there are.
pub fn by_word(word: &str) -> Result<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.word() == word).ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|format| format.word()).collect();
        KernelError::Refused(format!("no format is called {word}; there are {}", known.join(", ")))
    })
}

/// A way to store a matrix.
pub trait Format: Sync {
    /// Its name, in files and explanations.
    fn word(&self) -> &'static str;

    /// What it is, in one sentence.
    fn about(&self) -> &'static str;

    /// Whether its products take the same time whatever the mask.
    fn is_dense(&self) -> bool {
        false
    }

    /// Stores `matrix`, and makes whatever code it needs. `bias: [rows]` is added to every token's results.
    ///
    /// # Errors
    /// [`KernelError::Refused`] when this format cannot serve here; another one can.
    fn compress(&self, matrix: &SparseMatrix, bias: &[f32], target: &Target) -> Result<Box<dyn Compressed>>;
}

/// What a matrix is compressed for.
pub struct Target<'a> {
    /// Instructions that may be used; must be available on this CPU.
    pub tier: Tier,
    /// Room for machine code, shared by the layers of a model.
    pub code_budget: CodeBudget,
    /// Where code of earlier runs is, and this one's is kept.
    pub code_cache: Option<&'a CodeCache>,
    /// Told how far making code for the current layer has come.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

impl Target<'_> {
    /// This CPU, without a limit on code, silent.
    pub fn this_cpu() -> Self {
        Self { tier: Cpu::this().tier, code_budget: CodeBudget::unlimited(), code_cache: None, progress: &|_| {} }
    }
}

/// How much of one layer's code is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Functions made.
    pub done: usize,
    /// Functions in all.
    pub total: usize,
}

/// Tokens of a group, unless a format wants another number.
const GROUP: usize = 64;

/// A stored matrix that multiplies.
pub trait Compressed: Send + Sync {
    /// The format's name.
    fn word(&self) -> &'static str;

    /// How the weights are stored.
    fn element(&self) -> Element;

    /// Which weights are kept.
    fn mask(&self) -> &Mask;

    /// Calls `visit(col, weight)` for the kept weights of one row, left to right, scales multiplied in.
    fn visit_kept(&self, row: usize, visit: &mut dyn FnMut(usize, f32));

    /// The matrix it came from, `[rows, cols]` row-major, zeros where pruned.
    fn expand(&self) -> Vec<f32> {
        let (rows, cols) = (self.mask().rows(), self.mask().cols());
        let mut weights = vec![0.0; rows * cols];
        for row in 0..rows {
            self.visit_kept(row, &mut |col, weight| weights[row * cols + col] = weight);
        }
        weights
    }

    /// Replaces weights and bias under the same mask; no code is made again.
    ///
    /// # Errors
    /// When a length is not what its shape says, or the new weights are of another element.
    fn set_values(&mut self, matrix: &SparseMatrix, bias: &[f32]) -> Result<()>;

    /// Memory that serving needs.
    fn footprint(&self) -> Footprint;

    /// The cost model of products that wait for memory: bytes of weights, masks, indices and code that one product reads, as often
    /// as it goes over them.
    fn weight_bytes_read(&self, tokens: usize) -> usize;

    /// The most tokens that [`Compressed::product_of_group`] takes, and as many as it likes to take.
    fn group(&self) -> usize {
        GROUP
    }

    /// `y = x W^T + bias` for a group of tokens, then what `operands` say that follows: each strip of results goes through
    /// `OutputRows::finish` once. A pruned weight contributes nothing, also where the activation is NaN or infinite.
    ///
    /// # Errors
    /// When `operands` have another shape than the matrix.
    fn product_of_group(&self, operands: &mut Operands) -> Result<()>;

    /// The same for any number of tokens, in groups that the threads of the current pool share: what a group needs then stays in the
    /// caches of its thread.
    ///
    /// # Errors
    /// As [`Compressed::product_of_group`].
    fn product(&self, operands: &mut Operands) -> Result<()> {
        operands.in_groups(self.group(), &|group: &mut Operands| self.product_of_group(group))
    }
}

/// What a compressed matrix occupies, and what making it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Footprint {
    /// Bytes of values, masks and indices.
    pub data_bytes: usize,
    /// Bytes of machine code.
    pub code_bytes: usize,
    /// Seconds spent making machine code, over all threads' wall time.
    pub compile_seconds: f64,
}

impl Footprint {
    /// Data and code together.
    pub fn bytes(&self) -> usize {
        self.data_bytes + self.code_bytes
    }
}

/// Fails unless the operands have the shape of the matrix.
fn expect_shape(mask: &Mask, operands: &Operands) -> Result<()> {
    expect_length("rows", operands.rows(), mask.rows())?;
    expect_length("columns", operands.cols(), mask.cols())
}

/// The new values and their scales, if they fit where values of `T` under `mask` were compressed.
fn values_of_same_kind<'a, T: Stored>(mask: &Mask, matrix: &'a SparseMatrix, bias: &[f32]) -> Result<(&'a [T], &'a [f32])> {
    expect_same_kind(mask, T::ELEMENT, matrix, bias)?;
    T::of(matrix.values()).ok_or_else(|| KernelError::SelfCheck("values are not of their element".into()))
}

/// Fails unless new values are of the element and fit under the mask that a format was made for.
fn expect_same_kind(mask: &Mask, element: Element, matrix: &SparseMatrix, bias: &[f32]) -> Result<()> {
    expect_length("biases", bias.len(), mask.rows())?;
    if matrix.element() != element {
        return Err(KernelError::Shape(format!("the new weights are {} where {element} was compressed", matrix.element())));
    }
    if **matrix.mask() != *mask {
        return Err(KernelError::Shape("the new weights have another mask; compress them anew".into()));
    }
    Ok(())
}

/// Computes again, by kept weights alone, every token that has a NaN or infinite activation: a kernel that multiplies zeros made
/// NaN of it.
fn repair_non_finite(stored: &dyn Compressed, bias: &[f32], operands: &mut Operands) {
    for token in 0..operands.tokens() {
        if !is_finite(operands.token(token)) {
            repair(stored, bias, operands, token);
        }
    }
}

/// Computes, by kept weights alone, every token whose scale tells that it has no integers.
fn repair_without_scale(stored: &dyn Compressed, bias: &[f32], operands: &mut Operands, scales: &[f32]) {
    for (token, scale) in scales.iter().enumerate() {
        if scale.is_nan() {
            repair(stored, bias, operands, token);
        }
    }
}

/// Computes one token by kept weights alone.
fn repair(stored: &dyn Compressed, bias: &[f32], operands: &mut Operands, token: usize) {
    let x = stored.element().round_token(operands.token(token));
    let rows = operands.rows();
    for (row, result) in operands.y()[token * rows..][..rows].iter_mut().enumerate() {
        let mut sum = f64::from(bias[row]);
        stored.visit_kept(row, &mut |col, weight| sum += f64::from(weight) * f64::from(x[col]));
        *result = sum as f32;
    }
    operands.output().finish(0..rows, token..token + 1);
}

/// Whether no value is NaN or infinite.
fn is_finite(values: &[f32]) -> bool {
    struct AnyNonFinite<'a>(&'a [f32]);

    impl Kernel for AnyNonFinite<'_> {
        type Output = bool;

        #[inline(always)]
        unsafe fn run<V: Vector>(self) -> bool {
            const EXPONENT: u32 = 0x7f80_0000;
            let all =
                |values: &[f32]| values.iter().fold(0, |found, value| found | u32::from(value.to_bits() & EXPONENT == EXPONENT));
            self.0.chunks(1024).any(|values| all(values) != 0)
        }
    }

    !simd::dispatch(Cpu::this().tier, AnyNonFinite(values))
}

#[cfg(test)]
mod tests;
