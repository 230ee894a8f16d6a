//! What each format gives for a shape, a number of tokens and a sparsity, on generated masks and without any model.

mod compilation;
mod masks;
mod summary;

use std::time::Duration;

use serde::Serialize;

pub use compilation::{Compilation, compile};
pub use masks::Masks;
pub use summary::{Summary, summaries};

use crate::cpu::Peak;
use crate::error::Result;
use crate::format::dense::Dense;
use crate::format::{Compressed, Footprint, Format, Target, by_word};
use crate::testing::{random_values, rounded};
use crate::tune::{Race, race};
use crate::{Cpu, Element, KernelError, SparseMatrix, Tier};

/// What is multiplied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// How weights are stored.
    pub element: Element,
    /// Share of weights that are pruned, 0 to 1.
    pub sparsity: f64,
    /// Where those that are kept lie.
    pub masks: Masks,
    /// Bytes of weights that each format goes over, as many different matrices as hold them, after the caches were emptied: so weights
    /// come from memory. 0 is one matrix, which stays in the caches as far as it fits.
    pub chain_bytes: usize,
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
    /// Matrices that were multiplied in turn.
    pub chain: usize,
    /// Median milliseconds of one product.
    pub median_ms: f64,
    /// Shortest.
    pub min_ms: f64,
    /// Longest.
    pub max_ms: f64,
    /// Rate at the median, as if nothing had been skipped, in 10^9 operations per second.
    pub effective_gflops: f64,
    /// Rate at the median, of what is not skipped: the kept weights, or all of them where the format is dense.
    pub real_gflops: f64,
    /// That rate over the most multiply-adds that these threads reach in this arithmetic, 0 to 1; none where it was not measured.
    pub share_of_compute: Option<f64>,
    /// Bytes of weights, code, activations and results over the median, in 10^9 per second.
    pub gbps: f64,
    /// That rate over what these threads read from main memory at most; above 1 where caches serve.
    pub share_of_memory: f64,
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
        let mut matrices = Vec::new();
        let mut compress = |format: &dyn Format, element| {
            let (mut chain, mut bytes) = (Vec::new(), 0);
            while chain.is_empty() || bytes < case.chain_bytes {
                if chain.len() == matrices.len() {
                    matrices.push(case.matrix(chain.len() as u64)?);
                }
                let stored = format.compress(&rounded(&matrices[chain.len()], element)?, &bias, &target)?;
                bytes += stored.weight_bytes_read(1).max(1);
                chain.push(stored);
            }
            Ok(Form { is_baseline: format.is_dense() && element == Element::Fp32, chain })
        };
        let (mut forms, mut refused) = (vec![compress(&Dense, Element::Fp32)?], Vec::new());
        for format in formats {
            if case.element == Element::Fp32 && format.word() == Dense.word() {
                continue;
            }
            match compress(*format, case.element) {
                Ok(form) => forms.push(form),
                Err(KernelError::Refused(reason)) => refused.push((format.word().to_string(), reason)),
                Err(error) => return Err(error),
            }
        }
        Ok(Self { case, forms, refused })
    }

    /// Times every format in turns on the current pool, `rounds` times or more, for about `seconds` or longer. `peak` is the measured
    /// limit of the pool.
    ///
    /// # Errors
    /// None that the matrices of one case can cause.
    pub fn measure(&self, tokens: usize, rounds: usize, seconds: f64, peak: &Peak) -> Result<Report> {
        let chains: Vec<Vec<_>> = self.forms.iter().map(|form| form.chain.iter().map(|matrix| &**matrix).collect()).collect();
        let from_memory = self.case.chain_bytes > 0;
        let times =
            race(&chains, tokens, Race { rounds: rounds.max(1), at_least: Duration::from_secs_f64(seconds), from_memory })?;
        let medians: Vec<f64> = times.iter().map(|times| times[times.len() / 2]).collect();
        let dense = self.forms.iter().zip(&medians).filter_map(|(form, median)| form.is_baseline.then_some(*median));
        let best_dense = dense.fold(f64::INFINITY, f64::min);
        let measured = |(form, times): (&Form, &Vec<f64>)| self.measured(form, tokens, times, best_dense, peak);
        Ok(Report {
            case: self.case.clone(),
            tokens,
            threads: rayon::current_num_threads(),
            tier: Cpu::this().tier,
            formats: self.forms.iter().zip(&times).map(measured).collect::<Result<_>>()?,
            refused: self.refused.clone(),
        })
    }

    fn measured(&self, form: &Form, tokens: usize, times: &[f64], best_dense: f64, peak: &Peak) -> Result<Measured> {
        let Case { rows, cols, .. } = self.case;
        let (matrix, median_ms) = (&form.chain[0], times[times.len() / 2]);
        let per_ms = |amount: usize| amount as f64 / median_ms / 1e6;
        let multiplied = if by_word(matrix.word())?.is_dense() { rows * cols } else { matrix.mask().kept() };
        let real_gflops = per_ms(2 * multiplied * tokens);
        let most = if matrix.element().is_integer() { peak.int8_gops } else { Some(peak.gflops) };
        let gbps = per_ms(matrix.weight_bytes_read(tokens) + tokens * (rows + cols) * size_of::<f32>());
        Ok(Measured {
            format: matrix.word().into(),
            element: matrix.element(),
            chain: form.chain.len(),
            median_ms,
            min_ms: times[0],
            max_ms: times[times.len() - 1],
            effective_gflops: per_ms(2 * rows * cols * tokens),
            real_gflops,
            share_of_compute: most.map(|most| real_gflops / most),
            gbps,
            share_of_memory: gbps / peak.read_gbps,
            times_best_dense: best_dense / median_ms,
            footprint: matrix.footprint(),
        })
    }
}

impl Case {
    /// One of the matrices, decided by `seed`.
    fn matrix(&self, seed: u64) -> Result<SparseMatrix> {
        let mask = self.masks.mask(self.rows, self.cols, self.sparsity, seed);
        SparseMatrix::new(&random_values(self.rows * self.cols, seed), mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FORMATS;

    #[test]
    fn every_format_is_measured_or_refuses() {
        let peak = Peak { threads: 1, gflops: 2.0, int8_gops: None, read_gbps: 4.0 };
        let mut reports = Vec::new();
        for element in Element::ALL {
            for rows in [30, 20] {
                let case = Case { rows, cols: 40, element, sparsity: 0.75, masks: Masks::default(), chain_bytes: 20_000 };
                let report = Prepared::new(case, FORMATS).unwrap().measure(5, 2, 0.0, &peak).unwrap();
                let of_element = report.formats.iter().filter(|format| format.element == element);
                assert_eq!(of_element.count() + report.refused.len(), FORMATS.len());
                for format in &report.formats {
                    assert!(format.chain > 1);
                    assert!(format.min_ms <= format.median_ms && format.median_ms <= format.max_ms);
                    assert_eq!(format.share_of_memory, format.gbps / 4.0);
                    assert_eq!(format.share_of_compute, (!format.element.is_integer()).then_some(format.real_gflops / 2.0));
                }
                let dense = report.formats.iter().filter(|format| format.element == Element::Fp32);
                let dense = dense.filter(|format| by_word(&format.format).unwrap().is_dense());
                assert_eq!(dense.map(|format| format.times_best_dense).fold(0.0, f64::max), 1.0, "the best of dense is the unit");
                reports.push(report);
            }
        }
        let rows = summaries(&reports);
        assert_eq!(rows.len(), Element::ALL.len());
        for (summary, reports) in rows.iter().zip(reports.chunks(2)) {
            let ratio = |report: &Report| {
                let found = report.formats.iter().find(|format| format.format == "sell" && format.element == summary.element);
                found.map(|format| format.times_best_dense)
            };
            assert_eq!((summary.shapes, summary.tokens), (2, 5));
            let mean = ratio(&reports[0]).zip(ratio(&reports[1])).map(|(a, b)| (a * b).sqrt());
            assert_eq!(mean.is_some(), summary.formats.contains_key("sell"));
            assert!(mean.is_none_or(|mean| (mean / summary.formats["sell"] - 1.0).abs() < 1e-9));
            assert!(summary.formats.values().all(|mean| summary.best >= mean * (1.0 - 1e-9)) && summary.worst.0 <= summary.best);
        }
    }
}
