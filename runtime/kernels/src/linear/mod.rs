//! A linear layer whose zeros are known: stored in the formats that are fastest for the token counts it will see.

mod feed_forward;
mod preparation;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use self::feed_forward::FeedForward;
use self::preparation::Preparation;
use crate::error::Result;
use crate::format::{Compressed, Footprint, Progress};
use crate::tune::{Times, TokenRange, Tuning};
use crate::{CodeBudget, CodeCache, Cpu, Element, Epilogue, Layer, Mask, Operands, SparseMatrix, Tier};

/// How the format of a layer is chosen.
#[derive(Clone, Debug)]
pub enum Choice {
    /// Candidates are timed where the store knows no times yet, and the store learns them.
    Measure(Tuning),
    /// Only what the store knows, and a fixed rule where it knows nothing: the same choice on every run.
    Frozen(Tuning),
    /// This format for every token count, or an error where it cannot serve.
    Always(&'static str),
}

/// How a layer is prepared. Layers of one model are prepared with clones of one `Options`: they share tuning and code budget.
#[derive(Clone)]
pub struct Options {
    /// Token counts the layer will see; others work too, with the kernel of the nearest range.
    pub tokens: Vec<usize>,
    /// How formats are chosen.
    pub choice: Choice,
    /// Room for machine code.
    pub code_budget: CodeBudget,
    /// Where machine code of earlier runs is, and this one's is kept.
    pub code_cache: Option<CodeCache>,
    /// Instructions that may be used.
    pub tier: Tier,
    /// Told how far making machine code has come.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl Default for Options {
    /// One token and encoder-sized batches; measured; 256 MiB of code, kept nowhere; this CPU's widest instructions.
    fn default() -> Self {
        Self {
            tokens: vec![1, 384],
            choice: Choice::Measure(Tuning::default()),
            code_budget: CodeBudget::of_bytes(256 << 20),
            code_cache: None,
            tier: Cpu::this().tier,
            progress: None,
        }
    }
}

/// `y = x W^T + bias`, with `W: [rows, cols]` of which only some weights are kept.
pub struct SparseLinear {
    forms: Vec<Box<dyn Compressed>>,
    /// *Invariant*: not empty, by rising range; every index is inside `forms`.
    served: Vec<(TokenRange, usize)>,
    explanation: Explanation,
}

impl SparseLinear {
    /// Prepares the row-major `[rows, cols]` FP32 `weights` under `mask`; `bias: [rows]`.
    ///
    /// # Errors
    /// As [`SparseLinear::of`].
    pub fn prepare(weights: &[f32], mask: Mask, bias: Option<&[f32]>, options: &Options) -> Result<Self> {
        Self::of(&SparseMatrix::new(weights, mask)?, bias, options)
    }

    /// Prepares a matrix of any element; `bias: [rows]`, none is zeros.
    ///
    /// # Errors
    /// When a length is not what its shape says, or [`Choice::Always`] names a format that does not exist or cannot serve.
    pub fn of(matrix: &SparseMatrix, bias: Option<&[f32]>, options: &Options) -> Result<Self> {
        let zeros = vec![0.0; matrix.rows()];
        Preparation::new(matrix, bias.unwrap_or(&zeros), options).finish()
    }

    /// What [`SparseLinear::explain`] will say of a layer that is not there yet. Nothing is timed: where `options` measure and their store
    /// does not know the layer, the fixed rule says what to expect. Room for code is taken to suffice.
    ///
    /// # Errors
    /// When [`Choice::Always`] names a format that does not exist or cannot serve.
    pub fn foresee(layer: &Layer, options: &Options) -> Result<Explanation> {
        let trial = layer.trial()?;
        let options = Options { code_budget: CodeBudget::unlimited(), code_cache: None, progress: None, ..options.clone() };
        Preparation::foreseeing(*layer, &trial, &vec![0.0; trial.rows()], &options).explain().map(|(_, explanation)| explanation)
    }

    /// `x: [tokens, cols]` to `y: [tokens, rows]`, row-major, on the current thread pool.
    ///
    /// # Errors
    /// When a length is not what its shape says.
    pub fn forward(&self, x: &[f32], tokens: usize, y: &mut [f32]) -> Result<()> {
        self.forward_with(x, tokens, y, Epilogue::default())
    }

    /// As [`SparseLinear::forward`], with `epilogue` done to the results while they are in the caches.
    ///
    /// # Errors
    /// When a length is not what its shape says.
    pub fn forward_with(&self, x: &[f32], tokens: usize, y: &mut [f32], epilogue: Epilogue) -> Result<()> {
        let mut operands = Operands::new(x, y, tokens, self.rows(), self.cols())?.then(epilogue)?;
        // Nothing bounds the tokens of a matrix without rows and columns, and nothing is to be computed.
        if self.rows() == 0 { Ok(()) } else { self.form(tokens).product(&mut operands) }
    }

    /// Bytes of weights, masks, indices and code that one product reads.
    pub fn weight_bytes_read(&self, tokens: usize) -> usize {
        self.form(tokens).weight_bytes_read(tokens)
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.mask().rows()
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.mask().cols()
    }

    /// Which weights are kept.
    pub fn mask(&self) -> &Mask {
        self.forms[self.served[0].1].mask()
    }

    /// New values of the same element under the same mask; `bias: [rows]`. No code is made again.
    ///
    /// # Errors
    /// When mask, element or a length is not that of this layer.
    pub fn set_values(&mut self, matrix: &SparseMatrix, bias: Option<&[f32]>) -> Result<()> {
        let zeros = vec![0.0; matrix.rows()];
        self.forms.iter_mut().try_for_each(|form| form.set_values(matrix, bias.unwrap_or(&zeros)))
    }

    /// The matrix that is computed with, scales multiplied in: `[rows, cols]` row-major, zeros where pruned.
    pub fn expand(&self) -> Vec<f32> {
        self.form(1).expand()
    }

    /// Memory of every stored form, code included.
    pub fn footprint(&self) -> Footprint {
        self.forms.iter().map(|form| form.footprint()).fold(Footprint::default(), |sum, form| Footprint {
            data_bytes: sum.data_bytes + form.data_bytes,
            code_bytes: sum.code_bytes + form.code_bytes,
            compile_seconds: sum.compile_seconds + form.compile_seconds,
        })
    }

    /// Which kernel runs when, and why.
    pub fn explain(&self) -> &Explanation {
        &self.explanation
    }

    /// The form for `tokens`: that of the last range that starts no later, or else the first.
    fn form(&self, tokens: usize) -> &dyn Compressed {
        let (_, form) = self.served.iter().rfind(|(range, _)| range.first <= tokens).unwrap_or(&self.served[0]);
        &*self.forms[*form]
    }
}

/// Why a layer runs the kernels it runs.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// How the weights are stored.
    pub element: Element,
    /// Share of weights that are pruned, 0 to 1.
    pub sparsity: f64,
    /// One choice per range of token counts, rising.
    pub choices: Vec<Chosen>,
    /// Formats that could not serve, with the reason.
    pub refused: BTreeMap<String, String>,
    /// Those of them whose machine code failed its own check: a fault of this crate that somebody must hear of.
    pub miscompiled: BTreeSet<String>,
}

/// The kernel for one range of token counts.
#[derive(Clone, Debug, Serialize)]
pub struct Chosen {
    /// Fewest tokens.
    pub first_tokens: usize,
    /// Tokens when it was timed.
    pub timed_tokens: usize,
    /// The format that serves.
    pub format: String,
    /// Why.
    pub reason: String,
    /// Median milliseconds of each candidate, where they were measured.
    pub milliseconds: Times,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "[{}, {}] {} at {:.0} % sparsity", self.rows, self.cols, self.element, self.sparsity * 100.0)?;
        for choice in &self.choices {
            write!(f, "  from {:>3} tokens: {} ({})", choice.first_tokens, choice.format, choice.reason)?;
            for (word, time) in &choice.milliseconds {
                write!(f, ", {word} {time:.3} ms")?;
            }
            writeln!(f)?;
        }
        for (word, reason) in &self.refused {
            writeln!(f, "  no {word}: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KernelError;
    use crate::testing::{assert_close, random_matrix, random_values, rounded};

    fn prepare(choice: Choice, element: Element) -> Result<SparseLinear> {
        let matrix = rounded(&random_matrix(40, 96, 0.25, 3), element).unwrap();
        let options = Options { tokens: vec![1, 8, 64], choice, ..Options::default() };
        SparseLinear::of(&matrix, Some(&random_values(40, 1)), &options)
    }

    #[test]
    fn every_token_count_is_served_and_explained() {
        for element in Element::ALL {
            let matrix = rounded(&random_matrix(40, 96, 0.25, 3), element).unwrap();
            let tuning = Tuning::default();
            for choice in [Choice::Measure(tuning.clone()), Choice::Frozen(tuning), Choice::Frozen(Tuning::default())] {
                let linear = prepare(choice, element).unwrap();
                assert_eq!(linear.explain().choices.len(), 3);
                assert!(linear.explain().to_string().contains(element.word()));
                assert_eq!(linear.expand(), matrix.expand());
                for tokens in [0, 1, 3, 20, 64, 70] {
                    let x = random_values(tokens * 96, 2);
                    let (mut y, mut expected) = (vec![0.0; tokens * 40], vec![0.0; tokens * 40]);
                    linear.forward(&x, tokens, &mut y).unwrap();
                    matrix.product(&x, tokens, &random_values(40, 1), &mut expected).unwrap();
                    assert_close(&y, &expected, 96, &linear.explain().to_string());
                }
            }
        }
    }

    #[test]
    fn a_frozen_choice_repeats_what_was_measured_for_its_element() {
        let tuning = Tuning::default();
        let words = |linear: SparseLinear| linear.explanation.choices.into_iter().map(|choice| choice.format).collect::<Vec<_>>();
        for element in Element::ALL {
            let measured = words(prepare(Choice::Measure(tuning.clone()), element).unwrap());
            let frozen = prepare(Choice::Frozen(tuning.clone()), element).unwrap();
            assert!(frozen.explain().choices.iter().all(|choice| choice.reason.contains("tuning file")));
            assert_eq!(words(frozen), measured);
        }
    }

    #[test]
    fn code_past_the_budget_is_not_made_and_that_is_said() {
        let matrix = random_matrix(40, 96, 0.25, 3);
        let options = Options { code_budget: CodeBudget::of_bytes(100), tokens: vec![64], ..Options::default() };
        let linear = SparseLinear::of(&matrix, None, &options).unwrap();
        assert_eq!(linear.footprint().code_bytes, 0);
        if options.tier > Tier::Portable {
            assert!(linear.explain().to_string().contains("no rowblock: its code would take about"), "{}", linear.explain());
        }
        let few_zeros = random_matrix(40, 96, 0.9, 3);
        let linear = SparseLinear::of(&few_zeros, None, &Options::default()).unwrap();
        assert!(linear.explain().refused["bitmask"].contains("below 30 % sparsity"));
    }

    #[test]
    fn code_that_fails_its_check_does_not_run_and_is_told_apart() {
        let matrix = random_matrix(40, 96, 0.25, 3);
        let (options, bias) = (Options { tokens: vec![1, 64], ..Options::default() }, [0.0; 40]);
        let mut preparation = Preparation::new(&matrix, &bias, &options);
        preparation.refuse("rowblock", KernelError::SelfCheck("an index register".into())).unwrap();
        preparation.refuse("bitmask", KernelError::Refused("no room".into())).unwrap();
        assert!(preparation.refuse("dense", KernelError::Shape("too long".into())).is_err());
        let linear = preparation.finish().unwrap();
        let Explanation { choices, refused, miscompiled, .. } = linear.explain();
        assert!(choices.iter().all(|choice| !["rowblock", "bitmask"].contains(&choice.format.as_str())), "{choices:?}");
        assert_eq!((refused["rowblock"].as_str(), refused["bitmask"].as_str()), ("an index register", "no room"));
        assert_eq!(miscompiled.iter().collect::<Vec<_>>(), ["rowblock"]);
    }

    #[test]
    fn a_format_can_be_asked_for_and_values_can_change() {
        let mut linear = prepare(Choice::Always("dense"), Element::Int8).unwrap();
        assert!(linear.explain().choices.iter().all(|choice| choice.format == "dense"));
        assert!(linear.footprint().data_bytes > 40 * 96);
        assert!(prepare(Choice::Always("nothing"), Element::Int8).is_err());
        assert!(linear.forward(&[0.0; 95], 1, &mut [0.0; 40]).is_err());
        let other = SparseMatrix::new(&random_values(40 * 96, 9), linear.mask().clone()).unwrap();
        let error = linear.set_values(&other, None).unwrap_err();
        assert_eq!(error.to_string(), "the new weights are fp32 where int8 was compressed");
        let other = rounded(&other, Element::Int8).unwrap();
        linear.set_values(&other, None).unwrap();
        assert_eq!(linear.expand(), other.expand());
    }
}
