//! What is minimized: losses, each with a weight that may change while the stage runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;
use sparsec_compiler::{Kind, Value};

use crate::loss::{LOSSES, Loss, Outputs};
use crate::model::{Model, Taps};
use crate::schedule::{Schedule, StageLength, Timeline};
use crate::shelf::{Parameter, unexpected};
use crate::{Batch, Fault, Result};

/// A weighted sum of losses as a recipe writes it.
#[derive(Clone, Debug)]
pub struct Objective {
    terms: Vec<(String, Arc<dyn Loss>, Schedule)>,
}

impl Parameter for Objective {
    fn kind() -> Kind {
        Kind::weighted("loss")
    }

    fn read(value: &Value) -> Result<Self> {
        let terms = value.as_weighted().ok_or_else(|| unexpected(&Self::kind(), value))?;
        let terms = terms.iter().map(|term| {
            let weight = Schedule::read(&Value::Schedule(term.coefficient.clone()))?;
            Ok((term.call.word.clone(), LOSSES.make(&term.call)?, weight))
        });
        Ok(Self { terms: terms.collect::<Result<_>>()? })
    }
}

impl Objective {
    /// The objective over the steps of a stage.
    pub(super) fn over(&self, length: StageLength) -> Vec<Term> {
        let terms = self.terms.iter();
        let over = |(name, loss, weight): &(String, Arc<dyn Loss>, Schedule)| Term {
            name: name.clone(),
            loss: Arc::clone(loss),
            weight: weight.over(length),
        };
        terms.map(over).collect()
    }

    /// The sum of `losses`, for tests.
    #[cfg(test)]
    pub(super) fn sum(losses: Vec<Arc<dyn Loss>>) -> Self {
        Self { terms: losses.into_iter().map(|loss| (format!("{loss:?}"), loss, Schedule::constant(1.0))).collect() }
    }

    /// Whether a term reads the teacher's outputs.
    pub fn needs_teacher(&self) -> bool {
        self.terms.iter().any(|(_, loss, _)| loss.needs_teacher())
    }
}

/// One term over the steps of a stage.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// The loss's word.
    pub(super) name: String,
    loss: Arc<dyn Loss>,
    /// Its weight.
    pub(super) weight: Timeline,
}

/// The weighted sum of `terms` once `step` steps are done, differentiable, and every term without its weight.
///
/// # Errors
/// An empty sum, which the recipe language cannot write, and whatever a loss fails with.
pub(super) fn evaluate(
    terms: &[Term],
    step: u64,
    batch: &Batch,
    student: &Outputs,
    teacher: Option<&Outputs>,
) -> Result<(Tensor, Vec<f64>)> {
    let mut total: Option<Tensor> = None;
    let mut values = Vec::with_capacity(terms.len());
    for term in terms {
        let value = term.loss.evaluate(batch, student, teacher)?;
        values.push(f64::from(value.to_scalar::<f32>()?));
        let weighted = (value * term.weight.at(step))?;
        total = Some(match total {
            Some(total) => (total + weighted)?,
            None => weighted,
        });
    }
    Ok((total.ok_or_else(|| Fault::internal("an objective without terms"))?, values))
}

/// What `model` computes for `batch`, blocks and all.
///
/// # Errors
/// As the model's forward pass.
pub(super) fn outputs(model: &dyn Model, batch: &Batch) -> Result<Outputs> {
    let mut blocks = Blocks::default();
    let logits = model.forward(batch, &mut blocks)?;
    Ok(Outputs { logits, blocks: blocks.0 })
}

/// Keeps what every block puts out.
#[derive(Default)]
struct Blocks(BTreeMap<String, Tensor>);

impl Taps for Blocks {
    fn block_output(&mut self, path: &str, hidden: &Tensor) -> Result<()> {
        self.0.insert(path.to_owned(), hidden.clone());
        Ok(())
    }
}
