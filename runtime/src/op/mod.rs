//! Differentiable operations with a fused forward and backward pass of their own.
//!
//! candle's fast CPU kernels for layer norm and softmax have no backward pass, and compositions of its elementwise operations are
//! several times slower than the matrix products between them. Each file here is one operation: a plain `reference` made of candle
//! operations (which is also what runs on other devices than the CPU), the fused version, a test that both agree, and a test of
//! every gradient by finite differences.
//!
//! They are differentiated by [`differentiate`] and not by candle, which would lose much of the time that they save; the file `tape.rs`
//! says how. All take and give contiguous FP32. On the CPU they run on rayon's current pool, work is split by rows in an order that only the
//! number of threads decides, and sums are added up in that order: the same thread count gives the same bits.

use std::ops::Deref;

use candle_core::{CpuStorage, Result, Storage, StorageRef, Tensor, bail};

mod activation;
mod add;
mod append;
mod attention;
mod columns;
mod conv1d;
mod cross_entropy;
mod embedding;
mod in_place;
mod kl;
mod last;
mod layer_norm;
mod linear;
mod matrix;
mod multiply;
mod normalized_mse;
mod parallel;
mod positions;
mod relative_bias;
mod reorder;
mod rms_norm;
mod scale;
mod tape;
mod vector;
mod workspace;

#[cfg(test)]
mod check;

pub use activation::activate;
pub use add::add;
pub use append::append;
pub use attention::{Scope, attention};
pub use columns::columns;
pub use conv1d::conv1d;
pub use cross_entropy::cross_entropy;
pub use embedding::embedding;
pub use in_place::{Slot, in_place};
pub use kl::kl;
pub use last::last;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use multiply::multiply;
pub use normalized_mse::normalized_mse;
pub(crate) use parallel::sum_of_squares;
pub use positions::add_positions;
pub use relative_bias::relative_bias;
pub use reorder::reorder;
pub use rms_norm::rms_norm;
pub use scale::scale;
pub(crate) use tape::filled;
pub use tape::{Gradients, differentiate};
pub use workspace::Workspace;

/// The values of a contiguous FP32 tensor on the CPU, locked for reading.
///
/// *Invariant*: `storage` is FP32 on the CPU, and `start..end` lies inside.
pub(crate) struct Values<'a> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
}

impl<'a> Values<'a> {
    /// Locks the values of `tensor`.
    ///
    /// # Errors
    /// When it is not FP32, not contiguous or not on the CPU.
    pub(crate) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cpu(cpu) = &*storage else { bail!("an operation of the CPU was given a tensor of another device") };
        let (start, end) = match (cpu, layout.contiguous_offsets()) {
            (CpuStorage::F32(_), Some(range)) => range,
            (CpuStorage::F32(_), None) => bail!("an operation was given a tensor that is not contiguous"),
            _ => bail!("an operation was given {:?} values instead of FP32", tensor.dtype()),
        };
        Ok(Self { storage, start, end })
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.start..self.end],
            _ => unreachable!("checked when the values were locked"),
        }
    }
}
