//! What a run found out: the value behind `report.json`, `report.html` and the table on the terminal.
//!
//! Every figure is measured by the run that writes it. Where something was not measured the field is `None` (`null`), never zero.
//! Times are medians over repeats with their extremes, dense and result alternating.

mod chart;
mod html;
#[cfg(test)]
mod tests;
pub mod text;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The report of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// File name of the recipe.
    pub recipe: String,
    /// Every parameter with its value and where the value came from (`default`, `--set`, `import`).
    pub params: Vec<Param>,
    /// Machine, build and settings that the figures belong to.
    pub environment: Environment,
    /// Stages in the order they ran.
    pub stages: Vec<StageRecord>,
    /// The models compared: the dense one first, then every exported or required one.
    pub models: Vec<ModelRecord>,
    /// The verdict of every `require`.
    pub requires: Vec<Verdict>,
    /// What was written, or held back.
    pub exports: Vec<ExportRecord>,
    /// What the reader must know to read the figures right: how INT8 was computed, what was not measured.
    pub notes: Vec<String>,
}

/// A recipe's parameter as it stood for this run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its value as the recipe would write it.
    pub value: String,
    /// Where the value came from.
    pub origin: String,
}

/// Where the figures were measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Version of sparsec.
    pub version: String,
    /// Model name of the processor.
    pub cpu: String,
    /// Vector instructions in use: `avx512`, `avx2`, `portable`.
    pub tier: String,
    /// Threads that computed.
    pub threads: usize,
    /// Optimized build or not: `release`, `dev`.
    pub build: String,
}

/// One stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StageRecord {
    /// The binding in the recipe, `healed`, or the word itself where nothing is bound.
    pub name: String,
    /// The word: `prune`, `finetune`.
    pub word: String,
    /// Whether the result of an earlier run was used.
    pub reused: bool,
    /// Wall time, seconds; that of the first run if reused.
    pub seconds: f64,
    /// Loss terms by training step; empty for other stages.
    pub losses: Vec<Curve>,
    /// Schedules by training step: the learning rate, sparsity, weights of losses.
    pub schedules: Vec<Curve>,
    /// Per layer: what the stage did to it.
    pub layers: Vec<LayerRecord>,
    /// What the stage wants to have said: a raised damping, skipped rows.
    pub notes: Vec<String>,
}

/// A named series over training steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// `total`, `task`, `squarehead`, `rate`, …
    pub name: String,
    /// `(step, value)`, steps counted from 1.
    pub points: Vec<(u64, f64)>,
}

/// What a stage did to one linear layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Module path.
    pub path: String,
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// Share of weights that are zero by mask after the stage, 0 to 1.
    pub sparsity: f64,
    /// Relative error of the layer's output on calibration data after pruning, or of its weight after quantization:
    /// `|y - y'|^2 / |y|^2`; `None` where the method does not say.
    pub relative_error: Option<f64>,
}

/// Everything measured about one model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelRecord {
    /// The binding in the recipe.
    pub name: String,
    /// Parameters, tied ones once.
    pub parameters: usize,
    /// Parameters in prunable layers that masks keep.
    pub kept_parameters: usize,
    /// Share of zeros by mask over the masked layers, 0 to 1; 0 for a dense model.
    pub sparsity: f64,
    /// Bytes of the checkpoint's tensors on disk.
    pub bytes_on_disk: u64,
    /// Largest resident set of a process that loads this model alone and decodes, machine code included, bytes.
    pub peak_resident_bytes: Option<u64>,
    /// Scores by data set and metric.
    pub scores: Vec<Score>,
    /// Encoder latency for one window, one utterance, milliseconds.
    pub encoder_ms: Option<Timing>,
    /// Tokens per second of greedy decoding, one utterance.
    pub decode_tokens_per_second: Option<Timing>,
    /// Per layer: which kernel runs and why.
    pub kernels: Vec<KernelRecord>,
}

/// A metric on a data set with its confidence interval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Score {
    /// `wer`.
    pub metric: String,
    /// The data as the recipe names it: `speech.test`.
    pub data: String,
    /// What the value is.
    #[serde(default)]
    pub unit: Unit,
    /// Value; a share is 0 to 1.
    pub value: f64,
    /// 95 % bootstrap interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Utterances or rows scored.
    pub rows: usize,
    /// Reference words, for a word error rate.
    pub words: Option<usize>,
}

/// What the value of a metric is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share, said in percent.
    #[default]
    Share,
    /// A number of its own kind.
    Number,
}

impl Score {
    /// The value with its interval, as a table says it.
    pub fn text(&self) -> String {
        let one = |value: f64| match self.unit {
            Unit::Share => text::percent(value),
            Unit::Number => format!("{value:.2}"),
        };
        format!("{} ({} … {})", one(self.value), one(self.low), one(self.high))
    }
}

/// A median with its extremes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// Median.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Repeats.
    pub repeats: usize,
}

/// The kernel of one layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelRecord {
    /// Module path.
    pub path: String,
    /// `[out, in]`.
    pub shape: [usize; 2],
    /// Share of zeros.
    pub sparsity: f64,
    /// Tokens of the products timed: 1 for decoding, the window's positions for the encoder.
    pub tokens: usize,
    /// The kernel chosen: `dense`, `bitmask`, `sell`, `rowset`, `rowblock`.
    pub kernel: String,
    /// Why, in words.
    pub reason: String,
    /// Microseconds by candidate, `dense` among them.
    pub micros: BTreeMap<String, f64>,
    /// Kernels that could not serve this layer, with the reason.
    pub refused: BTreeMap<String, String>,
    /// Those of them whose machine code failed its own check; none unless this program has a bug.
    pub miscompiled: BTreeSet<String>,
}

impl KernelRecord {
    /// Why this kernel runs and others do not, in words.
    pub fn why(&self) -> String {
        let refused = self.refused.iter().map(|(kernel, reason)| format!("; no {kernel}: {reason}"));
        std::iter::once(self.reason.clone()).chain(refused).collect()
    }
}

/// What must be said loudly about `kernels`: machine code that failed its own check. Nothing where there is none.
pub fn miscompilation(kernels: &[KernelRecord]) -> Option<String> {
    let broken = |record: &&KernelRecord| !record.miscompiled.is_empty();
    let layers: BTreeSet<&str> = kernels.iter().filter(broken).map(|record| record.path.as_str()).collect();
    let first = kernels.iter().find(broken)?;
    let kernel = first.miscompiled.first()?;
    let reason = first.refused.get(kernel).map_or("no reason is known", String::as_str);
    Some(format!(
        "MISCOMPILED: machine code failed its own check in {} layers and does not run there; first the {kernel} kernel of `{}`: {reason}. \
         This is a bug in sparsec; please report it",
        layers.len(),
        first.path
    ))
}

/// What became of a `require`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The bar as the recipe writes it.
    pub text: String,
    /// Measured left side.
    pub measured: f64,
    /// The bar: the right side's value.
    pub bar: f64,
    /// 95 % interval of `measured - bar`, by paired bootstrap where both sides are scores on the same rows.
    pub difference: Option<(f64, f64)>,
    /// Met, missed, or not decided by this much data.
    pub outcome: Bar,
}

/// Whether a bar is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bar {
    /// Met, the whole interval on the right side.
    Met,
    /// Missed, the whole interval on the wrong side.
    Missed,
    /// The interval straddles the bar: a warning.
    Undecided,
}

/// An export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportRecord {
    /// The model's binding.
    pub model: String,
    /// The folder.
    pub to: String,
    /// Why nothing was written; `None` when it was written, read back and compared.
    pub held_back: Option<String>,
    /// Bytes of all files.
    pub bytes: u64,
}
