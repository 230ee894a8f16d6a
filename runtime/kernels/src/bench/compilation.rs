//! How long making the code of many layers takes, and loading it in a later run.

use std::time::Instant;

use serde::Serialize;

use super::Case;
use crate::error::Result;
use crate::format::{Format, Target};
use crate::testing::rounded;
use crate::{CodeCache, SparseMatrix};

/// What compressing some layers took, their self-checks included and generating their masks not.
#[derive(Clone, Debug, Serialize)]
pub struct Compilation {
    /// The format.
    pub format: String,
    /// Layers.
    pub layers: usize,
    /// Their weights.
    pub weights: usize,
    /// Those that are kept.
    pub kept: usize,
    /// Bytes of the code.
    pub code_bytes: usize,
    /// Threads of the pool.
    pub threads: usize,
    /// Seconds for all layers, with nothing known from before.
    pub first_seconds: f64,
    /// Seconds for all layers, with the code from the cache.
    pub cached_seconds: f64,
}

/// Compresses a matrix of each case in `format`, each with a mask of its own, on the current pool: once with the empty `cache`, once
/// again. `told` hears how many of how many layers are done, and ends the work by an error.
///
/// # Errors
/// When the format refuses a layer, and what `told` reports.
pub fn compile<E: From<crate::KernelError>>(
    format: &dyn Format,
    cases: &[Case],
    cache: &CodeCache,
    told: &mut dyn FnMut(usize, usize) -> std::result::Result<(), E>,
) -> std::result::Result<Compilation, E> {
    let target = Target { code_cache: Some(cache), ..Target::this_cpu() };
    let mut compilation = Compilation {
        format: format.word().into(),
        layers: cases.len(),
        weights: cases.iter().map(|case| case.rows * case.cols).sum(),
        kept: 0,
        code_bytes: 0,
        threads: rayon::current_num_threads(),
        first_seconds: 0.0,
        cached_seconds: 0.0,
    };
    let matrix = |index: usize| -> Result<SparseMatrix> { rounded(&cases[index].matrix(index as u64)?, cases[index].element) };
    for index in 0..2 * cases.len() {
        told(index, 2 * cases.len())?;
        let matrix = matrix(index % cases.len())?;
        let bias = vec![0.0; matrix.rows()];
        let start = Instant::now();
        let stored = format.compress(&matrix, &bias, &target)?;
        let seconds = start.elapsed().as_secs_f64();
        if index < cases.len() {
            compilation.first_seconds += seconds;
            compilation.kept += matrix.mask().kept();
            compilation.code_bytes += stored.footprint().code_bytes;
        } else {
            compilation.cached_seconds += seconds;
        }
    }
    Ok(compilation)
}
