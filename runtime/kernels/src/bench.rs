//! What each format gives for a shape, a number of tokens and a sparsity, on generated masks and without any model.

use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::format::{Compressed, FORMATS, Footprint, Target};
use crate::testing::random_matrix;
use crate::tune::{Race, race};
use crate::{KernelError, Tier};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Rows of the activations.
    pub tokens: usize,
    /// Share of weights that are pruned, uniformly at random, 0 to 1.
    pub sparsity: f64,
    /// Different matrices that are multiplied in turn; as many as exceed the caches show what weights from memory cost.
    pub chain: usize,
}

/// What came out: one entry per format.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was measured.
    pub case: Case,
    /// Threads of the pool.
    pub threads: usize,
    /// Instructions in use.
    pub tier: Tier,
    /// Formats that served.
    pub formats: Vec<Measured>,
    /// Formats that refused, with the reason.
    pub refused: Vec<(String, String)>,
}

/// One format's times. Rates count the work of the dense product, `2 * rows * cols * tokens` operations, whatever was skipped.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The format.
    pub format: String,
    /// Median milliseconds of one product.
    pub median_ms: f64,
    /// Shortest.
    pub min_ms: f64,
    /// Longest.
    pub max_ms: f64,
    /// Rate at the median, as if nothing had been skipped, in 10^9 operations per second.
    pub effective_gflops: f64,
    /// Rate at the median, of the kept weights alone.
    pub kept_gflops: f64,
    /// Bytes of weights, code and activations over the median, in 10^9 per second.
    pub gbps: f64,
    /// The faster median of `dense` and `gemm` over this one.
    pub times_best_dense: f64,
    /// Memory, and the time that making code took.
    pub footprint: Footprint,
}

/// Measures every format in turns on the current pool, for about `seconds`.
///
/// # Errors
/// When a compiled format fails its own check.
pub fn measure(case: &Case, seconds: f64) -> Result<Report> {
    let target = Target::this_cpu();
    let matrices: Vec<_> =
        (0..case.chain.max(1) as u64).map(|seed| random_matrix(case.rows, case.cols, 1.0 - case.sparsity, seed)).collect();
    let bias = vec![0.0; case.rows];
    let mut chains: Vec<Vec<Box<dyn Compressed>>> = Vec::new();
    let mut refused = Vec::new();
    for format in FORMATS {
        match matrices.iter().map(|matrix| format.compress(matrix, &bias, &target)).collect::<Result<_>>() {
            Ok(chain) => chains.push(chain),
            Err(KernelError::Refused(reason)) => refused.push((format.word().to_string(), reason)),
            Err(error) => return Err(error),
        }
    }
    let candidates: Vec<Vec<_>> = chains.iter().map(|chain| chain.iter().map(|matrix| &**matrix).collect()).collect();
    let times = race(&candidates, case.tokens, Race { rounds: 5, at_least: Duration::from_secs_f64(seconds) })?;
    let medians: Vec<f64> = times.iter().map(|times| times[times.len() / 2]).collect();
    let is_dense = |chain: &[Box<dyn Compressed>]| matches!(chain[0].word(), "dense" | "gemm");
    let best_dense =
        chains.iter().zip(&medians).filter(|(chain, _)| is_dense(chain)).map(|(_, ms)| *ms).fold(f64::INFINITY, f64::min);
    let formats = chains.iter().zip(&times).zip(&medians).map(|((chain, times), &median_ms)| {
        let footprint = chain[0].footprint();
        let per_ms = |amount: usize| amount as f64 / median_ms / 1e6;
        let activations = case.tokens * (case.rows + case.cols) * size_of::<f32>();
        Measured {
            format: chain[0].word().into(),
            median_ms,
            min_ms: times[0],
            max_ms: times[times.len() - 1],
            effective_gflops: per_ms(2 * case.rows * case.cols * case.tokens),
            kept_gflops: per_ms(2 * matrices[0].mask().kept() * case.tokens),
            gbps: per_ms(footprint.bytes() + activations),
            times_best_dense: best_dense / median_ms,
            footprint,
        }
    });
    Ok(Report {
        case: case.clone(),
        threads: rayon::current_num_threads(),
        tier: target.tier,
        formats: formats.collect(),
        refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_measured_or_refuses() {
        let case = Case { rows: 30, cols: 40, tokens: 5, sparsity: 0.75, chain: 2 };
        let report = measure(&case, 0.0).unwrap();
        assert_eq!(report.formats.len() + report.refused.len(), FORMATS.len());
        assert!(report.formats.iter().all(|format| format.min_ms <= format.median_ms && format.median_ms <= format.max_ms));
        let best = report.formats.iter().filter(|format| format.format == "dense" || format.format == "gemm");
        assert_eq!(best.map(|format| format.times_best_dense).fold(0.0, f64::max), 1.0);
    }
}
