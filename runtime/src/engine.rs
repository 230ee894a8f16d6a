//! A model on the CPU engine: every pruned or quantized layer runs the kernel that is fastest for it on this machine, dense included.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use serde::Serialize;
use sparsec_kernels::{Choice, Explanation, KernelError, Mask, Options, Pattern, SparseLinear, SparseMatrix, Tuning, Values};

use crate::linear::{Compiled, Linear};
use crate::model::{self, Model, Source};
use crate::report::KernelRecord;
use crate::source::Plain;
use crate::stage::{Outline, PlannedLayer};
use crate::weight::Weight;
use crate::{Checkpoint, Fault, Result};

/// Token counts that layers are prepared for: decoding, one window of a small encoder, long inputs.
const TOKENS: [usize; 3] = [1, 128, 384];

/// Kernels by measurement: candidates whose times `tuning` does not know are timed on this machine, dense included, and it learns
/// them.
pub fn measured(tuning: Tuning) -> Options {
    Options { tokens: TOKENS.to_vec(), choice: Choice::Measure(tuning), ..Options::default() }
}

/// Kernels by what `tuning` knows, and by a fixed rule where it knows nothing: nothing is timed, and every run makes the same choice.
pub fn frozen(tuning: Tuning) -> Options {
    Options { choice: Choice::Frozen(tuning.clone()), ..measured(tuning) }
}

/// Reads measured times of kernels.
///
/// # Errors
/// A file that is missing or was not written by this version.
pub fn read_tuning(path: &Path) -> Result<Tuning> {
    Tuning::load(path).map_err(|error| Fault::input(error.to_string()).at(path))
}

/// Writes measured times of kernels, with the folders above them.
///
/// # Errors
/// A full or read-only disk.
pub fn write_tuning(tuning: &Tuning, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Fault::writing(folder, &error))?;
    }
    tuning.save(path).map_err(|error| Fault::environment(error.to_string()).at(path))
}

/// Layers of a model that is not there yet which are alike: the same kernels will run in all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Alike {
    /// How many they are.
    pub layers: usize,
    /// Whether their sparsity is the mean of many layers, among which each finds its own.
    pub is_mean: bool,
    /// How the kept weights lie.
    pub pattern: Pattern,
    /// What they are, which kernels they get, and why.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// The kernels that the pruned and quantized layers of the model `outline` will run, in the order of the forward pass: what
/// [`Checkpoint::compiled`] would choose without measuring anything.
///
/// # Errors
/// A format that `options` ask for and that cannot serve.
pub fn foresee(outline: &Outline, options: &Options) -> Result<Vec<Alike>> {
    let mut found: Vec<(PlannedLayer, usize)> = Vec::new();
    for layer in outline.layers() {
        match found.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, layers)) => *layers += 1,
            None => found.push((layer, 1)),
        }
    }
    let explained = found.into_iter().map(|(PlannedLayer { layer, is_mean }, layers)| {
        let explanation = SparseLinear::foresee(&layer, options)?;
        Ok(Alike { layers, is_mean, pattern: layer.pattern, explanation })
    });
    explained.collect::<Result<_, KernelError>>().map_err(|error| Fault::input(error.to_string()))
}

/// A model whose pruned and quantized layers are compiled, and what runs in them.
pub struct Engine {
    /// The model.
    pub model: Box<dyn Model>,
    /// The kernels of those layers, in the order of the forward pass.
    pub kernels: Vec<KernelRecord>,
}

impl Checkpoint {
    /// Prepares the model for inference on this CPU. A model without masks and integers runs as [`Checkpoint::model`] does.
    ///
    /// # Errors
    /// When the configuration and the parameters do not belong together.
    pub fn compiled(&self, options: &Options) -> Result<Engine> {
        self.compiled_telling(options, &mut |_, _| Ok(()))
    }

    /// As [`Checkpoint::compiled`]; `told` hears how many of how many layers are ready, and its fault ends the work at once.
    ///
    /// # Errors
    /// As [`Checkpoint::compiled`], and those of `told`.
    pub fn compiled_telling(&self, options: &Options, told: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<Engine> {
        let mut source = Compiling { checkpoint: self, plain: Plain(self), options, kernels: Vec::new(), ready: 0, told };
        let model = model::family(&self.config)?.build(&self.config, &mut source)?;
        Ok(Engine { model, kernels: source.kernels })
    }
}

/// Parameters of a checkpoint; masked and quantized layers are compiled while the model is built.
struct Compiling<'a> {
    checkpoint: &'a Checkpoint,
    plain: Plain<'a>,
    options: &'a Options,
    kernels: Vec<KernelRecord>,
    /// Layers that are compiled.
    ready: usize,
    told: &'a mut dyn FnMut(usize, usize) -> Result<()>,
}

impl Compiling<'_> {
    /// The weight of a layer that is to be compiled; none where there is nothing to gain.
    fn matrix(&self, path: &str, out: usize, inputs: usize) -> Result<Option<SparseMatrix>> {
        let (mask, quantized) = (self.checkpoint.masks.get(path), self.checkpoint.quantized.get(path));
        let values = match (mask, quantized) {
            (None, None) => return Ok(None),
            (_, Some(weight)) => Values::Int8 { values: weight.values.to_vec(), scales: weight.scales.to_vec() },
            (Some(_), None) => Values::Fp32(Weight::read(self.checkpoint, path)?.values),
        };
        let mask = mask.cloned().unwrap_or_else(|| Mask::from_fn(out, inputs, |_, _| true));
        if (mask.rows(), mask.cols()) != (out, inputs) {
            return Err(Fault::input(format!("the mask of `{path}` is not [{out}, {inputs}]")));
        }
        let matrix = SparseMatrix::of(values, mask);
        Ok(Some(matrix.map_err(|error| Fault::input(format!("`{path}` cannot be compiled: {error}")))?))
    }

    /// How many layers there are to compile.
    fn total(&self) -> usize {
        let Checkpoint { masks, quantized, .. } = self.checkpoint;
        masks.len() + quantized.keys().filter(|path| !masks.contains_key(*path)).count()
    }
}

impl Source for Compiling<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.plain.tensor(name, shape)
    }

    fn linear(&mut self, path: &str, out: usize, inputs: usize, bias: bool) -> Result<Linear> {
        let Some(matrix) = self.matrix(path, out, inputs)? else { return self.plain.linear(path, out, inputs, bias) };
        let bias =
            bias.then(|| self.tensor(&format!("{path}.bias"), &[out])?.to_vec1::<f32>().map_err(Fault::from)).transpose()?;
        let kernel = SparseLinear::of(&matrix, bias.as_deref(), self.options)
            .map_err(|error| Fault::input(format!("`{path}` cannot be compiled: {error}")))?;
        self.kernels.extend(records(path, kernel.explain()));
        self.ready += 1;
        let total = self.total();
        (self.told)(self.ready, total)?;
        Ok(Linear::new(path, Arc::new(Compiled::new(kernel))))
    }
}

/// One record for each range of token counts.
fn records(path: &str, explanation: &Explanation) -> impl Iterator<Item = KernelRecord> {
    explanation.choices.iter().map(move |choice| KernelRecord {
        path: path.to_owned(),
        shape: [explanation.rows, explanation.cols],
        sparsity: explanation.sparsity,
        tokens: choice.timed_tokens,
        kernel: choice.format.clone(),
        reason: choice.reason.clone(),
        micros: choice.milliseconds.iter().map(|(format, time)| (format.clone(), 1e3 * time)).collect::<BTreeMap<_, _>>(),
        refused: explanation.refused.clone(),
        miscompiled: explanation.miscompiled.clone(),
    })
}

#[cfg(test)]
mod tests {
    use sparsec_kernels::Mask;

    use super::*;
    use crate::report::miscompilation;

    #[test]
    fn what_a_layer_refused_reaches_its_records() {
        let weights: Vec<f32> = (0..64 * 64).map(|at| if at % 4 == 0 { 1.0 } else { 0.0 }).collect();
        let options = Options { code_budget: sparsec_kernels::CodeBudget::of_bytes(1), ..measured(Tuning::default()) };
        let layer = SparseLinear::prepare(&weights, Mask::of_nonzeros(&weights, 64, 64), None, &options).unwrap();
        let mut explanation = layer.explain().clone();
        let told: Vec<KernelRecord> = records("fc1", &explanation).collect();
        assert!(told.iter().all(|record| record.refused == explanation.refused));
        assert!(miscompilation(&told).is_none(), "a refusal is no bug");
        explanation.refused.insert("rowblock".into(), "an index register".into());
        explanation.miscompiled.insert("rowblock".into());
        let told: Vec<KernelRecord> = records("fc1", &explanation).collect();
        assert!(told[0].why().ends_with("; no rowblock: an index register"), "{}", told[0].why());
        let note = miscompilation(&told).unwrap();
        assert!(note.contains("in 1 layers") && note.contains("`fc1`: an index register"), "{note}");
    }
}
