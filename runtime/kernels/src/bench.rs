//! What each format gives for a shape, a number of tokens and a sparsity, on generated masks and without any model.

use std::time::Duration;

use serde::Serialize;

use crate::error::Result;
use crate::format::dense::Dense;
use crate::format::{Compressed, Footprint, Format, Target};
use crate::testing::{patterned_matrix, rounded};
use crate::tune::{Race, race};
use crate::{Cpu, Element, KernelError, Pattern, Tier};

/// What is multiplied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// How weights are stored.
    pub element: Element,
    /// How the kept weights lie.
    pub pattern: Pattern,
    /// Share of weights that are pruned at random, 0 to 1, where the pattern leaves it open.
    pub sparsity: f64,
    /// Different matrices that are multiplied in turn; as many as exceed the caches show what weights from memory cost.
    pub chain: usize,
}

/// What came out: one entry per format.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was multiplied.
    pub case: Case,
    /// Rows of the activations.
    pub tokens: usize,
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
    /// How its weights are stored.
    pub element: Element,
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
    /// Bytes of weights, code, activations and results over the median, in 10^9 per second.
    pub gbps: f64,
    /// The fastest median of a dense FP32 format over this one.
    pub times_best_dense: f64,
    /// Memory, and the time that making code took.
    pub footprint: Footprint,
}

/// The matrices of a case in every format that does not refuse, ready to be timed.
pub struct Prepared {
    case: Case,
    forms: Vec<Form>,
    refused: Vec<(String, String)>,
}

/// One format's chain of matrices. *Invariant*: not empty.
struct Form {
    /// Whether it is one of those that the others are compared with.
    is_baseline: bool,
    chain: Vec<Box<dyn Compressed>>,
}

impl Prepared {
    /// Generates the matrices and compresses them in `formats`, on the current pool; dense FP32 is always there to compare with.
    ///
    /// # Errors
    /// When a compiled format fails its own check.
    pub fn new(case: Case, formats: &[&dyn Format]) -> Result<Self> {
        let (target, bias) = (Target::this_cpu(), vec![0.0; case.rows]);
        let seeds = 0..case.chain.max(1) as u64;
        let matrix = |seed| patterned_matrix(case.pattern, case.rows, case.cols, 1.0 - case.sparsity, seed);
        let matrices: Vec<_> = seeds.map(matrix).collect();
        let compress = |format: &dyn Format, element| {
            let chain = matrices.iter().map(|matrix| format.compress(&rounded(matrix, element)?, &bias, &target));
            let is_baseline = format.is_dense() && element == Element::Fp32;
            Ok(Form { is_baseline, chain: chain.collect::<Result<_>>()? })
        };
        let (mut forms, mut refused) = (Vec::new(), Vec::new());
        if case.element != Element::Fp32 {
            forms.push(compress(&Dense, Element::Fp32)?);
        }
        for format in formats {
            match compress(*format, case.element) {
                Ok(form) => forms.push(form),
                Err(KernelError::Refused(reason)) => refused.push((format.word().to_string(), reason)),
                Err(error) => return Err(error),
            }
        }
        Ok(Self { case, forms, refused })
    }

    /// Times every format in turns on the current pool, for about `seconds`.
    ///
    /// # Errors
    /// None that the matrices of one case can cause.
    pub fn measure(&self, tokens: usize, seconds: f64) -> Result<Report> {
        let chains: Vec<Vec<_>> = self.forms.iter().map(|form| form.chain.iter().map(|matrix| &**matrix).collect()).collect();
        let times = race(&chains, tokens, Race { rounds: 5, at_least: Duration::from_secs_f64(seconds) })?;
        let medians: Vec<f64> = times.iter().map(|times| times[times.len() / 2]).collect();
        let dense = self.forms.iter().zip(&medians).filter_map(|(form, median)| form.is_baseline.then_some(*median));
        let best_dense = dense.fold(f64::INFINITY, f64::min);
        let formats = self.forms.iter().zip(&times).map(|(form, times)| self.measured(form, tokens, times, best_dense)).collect();
        Ok(Report {
            case: self.case.clone(),
            tokens,
            threads: rayon::current_num_threads(),
            tier: Cpu::this().tier,
            formats,
            refused: self.refused.clone(),
        })
    }

    fn measured(&self, form: &Form, tokens: usize, times: &[f64], best_dense: f64) -> Measured {
        let Case { rows, cols, .. } = self.case;
        let (matrix, median_ms) = (&form.chain[0], times[times.len() / 2]);
        let per_ms = |amount: usize| amount as f64 / median_ms / 1e6;
        Measured {
            format: matrix.word().into(),
            element: matrix.element(),
            median_ms,
            min_ms: times[0],
            max_ms: times[times.len() - 1],
            effective_gflops: per_ms(2 * rows * cols * tokens),
            kept_gflops: per_ms(2 * matrix.mask().kept() * tokens),
            gbps: per_ms(matrix.weight_bytes_read(tokens) + tokens * (rows + cols) * size_of::<f32>()),
            times_best_dense: best_dense / median_ms,
            footprint: matrix.footprint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FORMATS;

    #[test]
    fn every_format_is_measured_or_refuses() {
        for element in Element::ALL {
            let prepared =
                Prepared::new(Case { rows: 30, cols: 40, element, pattern: Pattern::Uniform, sparsity: 0.75, chain: 2 }, FORMATS)
                    .unwrap();
            let report = prepared.measure(5, 0.0).unwrap();
            let of_element = report.formats.iter().filter(|format| format.element == element);
            assert_eq!(of_element.count() + report.refused.len(), FORMATS.len());
            assert!(report.formats.iter().all(|format| format.min_ms <= format.median_ms && format.median_ms <= format.max_ms));
            let dense = report.formats.iter().filter(|format| format.element == Element::Fp32 && format.format != "bitmask");
            assert!(dense.map(|format| format.times_best_dense).fold(0.0, f64::max) >= 1.0);
        }
    }
}
