//! From a matrix to the forms that serve it: which formats can, and which of them is chosen for each range of token counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Choice, Chosen, Explanation, Options, SparseLinear};
use crate::error::Result;
use crate::format::{Compressed, FORMATS, Target, by_word};
use crate::tune::{Key, Layer, Race, Times, TokenRange, race, rule};
use crate::{KernelError, SparseMatrix};

/// How long the candidates of one layer and range are compared.
const RACE: Race = Race { rounds: 5, at_least: Duration::from_millis(20), from_memory: false };

/// Sparsity below which no sparse format is timed: making code for so many weights takes long, and it has never won.
const WORTH_TRYING: f64 = 0.3;

/// A layer between its matrix and its kernels: forms are made when first needed, and dropped if they are not chosen.
pub(super) struct Preparation<'a> {
    /// What the layer is; `matrix` is smaller where it is only foreseen.
    layer: Layer,
    matrix: &'a SparseMatrix,
    bias: &'a [f32],
    options: &'a Options,
    forms: BTreeMap<&'static str, Box<dyn Compressed>>,
    refused: BTreeMap<String, String>,
    miscompiled: BTreeSet<String>,
    /// Whether candidates that no time is known of may be timed.
    may_measure: bool,
}

impl<'a> Preparation<'a> {
    pub(super) fn new(matrix: &'a SparseMatrix, bias: &'a [f32], options: &'a Options) -> Self {
        let may_measure = matches!(options.choice, Choice::Measure(_));
        Self { may_measure, ..Self::foreseeing(Layer::of(matrix), matrix, bias, options) }
    }

    /// For `layer`, which is not there yet, with `trial`, a small matrix of its kind, to ask formats whether they serve such.
    pub(super) fn foreseeing(layer: Layer, trial: &'a SparseMatrix, bias: &'a [f32], options: &'a Options) -> Self {
        Self {
            layer,
            matrix: trial,
            bias,
            options,
            forms: BTreeMap::new(),
            refused: BTreeMap::new(),
            miscompiled: BTreeSet::new(),
            may_measure: false,
        }
    }

    /// The kernel of each range of token counts, and why.
    pub(super) fn explain(&mut self) -> Result<(Vec<TokenRange>, Explanation)> {
        let mut ranges: Vec<_> = self.options.tokens.iter().map(|tokens| TokenRange::of(*tokens)).collect();
        ranges.push(TokenRange::of(self.options.tokens.first().copied().unwrap_or(1)));
        ranges.sort();
        ranges.dedup();
        let choices = ranges.iter().map(|range| self.choose(*range)).collect::<Result<Vec<_>>>()?;
        let Layer { rows, cols, element, sparsity, .. } = self.layer;
        let (refused, miscompiled) = (self.refused.clone(), self.miscompiled.clone());
        Ok((ranges, Explanation { rows, cols, element, sparsity, choices, refused, miscompiled }))
    }

    pub(super) fn finish(mut self) -> Result<SparseLinear> {
        let (ranges, explanation) = self.explain()?;
        let mut linear = SparseLinear { forms: Vec::new(), served: Vec::new(), explanation };
        for (range, choice) in ranges.iter().zip(&linear.explanation.choices) {
            let index = match linear.forms.iter().position(|form| form.word() == choice.format) {
                Some(index) => index,
                None => {
                    linear.forms.extend(self.forms.remove(choice.format.as_str()));
                    linear.forms.len() - 1
                }
            };
            linear.served.push((*range, index));
        }
        Ok(linear)
    }

    fn choose(&mut self, range: TokenRange) -> Result<Chosen> {
        let chosen = |format: &str, reason: &str, milliseconds: Times| Chosen {
            first_tokens: range.first,
            timed_tokens: range.sample,
            format: format.into(),
            reason: reason.into(),
            milliseconds,
        };
        let key = Key::here(&self.layer, self.options.tier, range);
        let (tuning, otherwise) = match &self.options.choice {
            Choice::Always(word) => {
                return match self.form(word)? {
                    true => Ok(chosen(word, "asked for", Times::new())),
                    false => Err(KernelError::Refused(format!("no {word}: {}", self.refused[*word]))),
                };
            }
            Choice::Measure(tuning) => (tuning, "by rule; not measured yet: will be timed when it first runs"),
            Choice::Frozen(tuning) => (tuning, "by rule, as the tuning file does not know this layer"),
        };
        if let Some(times) = tuning.find(&key) {
            let mut order: Vec<_> = times.iter().collect();
            order.sort_by(|a, b| a.1.total_cmp(b.1));
            for (word, _) in order {
                if self.form(word)? {
                    return Ok(chosen(word, "fastest in the tuning file", times.clone()));
                }
            }
        }
        if self.may_measure {
            let times = self.measure(range.sample)?;
            tuning.record(key, times.clone());
            let fastest = times.iter().min_by(|a, b| a.1.total_cmp(b.1)).map_or("dense", |(word, _)| word.as_str());
            return Ok(chosen(fastest, "fastest when measured", times.clone()));
        }
        for word in rule(&self.layer, range) {
            if self.form(word)? {
                return Ok(chosen(word, otherwise, Times::new()));
            }
        }
        Err(KernelError::SelfCheck("the dense format refused a matrix".into()))
    }

    fn measure(&mut self, tokens: usize) -> Result<Times> {
        let sparsity = self.matrix.mask().sparsity();
        let mut words = Vec::new();
        for format in FORMATS {
            if sparsity < WORTH_TRYING && !format.is_dense() {
                let reason = format!("not tried: below {:.0} % sparsity, dense is faster", WORTH_TRYING * 100.0);
                self.refused.insert(format.word().into(), reason);
            } else if self.form(format.word())? {
                words.push(format.word());
            }
        }
        let forms: Vec<_> = words.iter().filter_map(|word| self.forms.get(word)).map(|form| vec![&**form]).collect();
        let medians = race(&forms, tokens, RACE)?.into_iter().map(|times| times[times.len() / 2]);
        Ok(words.iter().map(|word| word.to_string()).zip(medians).collect())
    }

    /// Makes the form called `word` unless it is there; `false` when the format refuses.
    fn form(&mut self, word: &str) -> Result<bool> {
        let format = by_word(word)?;
        if self.forms.contains_key(format.word()) || self.refused.contains_key(format.word()) {
            return Ok(self.forms.contains_key(format.word()));
        }
        let silent = |_| {};
        let target = Target {
            tier: self.options.tier,
            code_budget: self.options.code_budget.clone(),
            code_cache: self.options.code_cache.as_ref(),
            progress: match &self.options.progress {
                Some(progress) => &**progress,
                None => &silent,
            },
        };
        match format.compress(self.matrix, self.bias, &target) {
            Ok(form) => {
                self.forms.insert(format.word(), form);
                Ok(true)
            }
            Err(error) => self.refuse(format.word(), error).map(|()| false),
        }
    }

    /// Leaves the format `word` out, if `error` is one that another format can make good.
    pub(super) fn refuse(&mut self, word: &str, error: KernelError) -> Result<()> {
        let reason = match error {
            KernelError::Refused(reason) => reason,
            KernelError::SelfCheck(reason) => {
                self.miscompiled.insert(word.into());
                reason
            }
            error => return Err(error),
        };
        self.refused.insert(word.into(), reason);
        Ok(())
    }
}
