//! `finetune`: a model learns, from labels and from a teacher.

use std::sync::Arc;

use sparsec_compiler::{Duration, Kind, Value, Word};

use super::{Inputs, Outline, Output, Stage, Work, word_of};
use crate::augmentation::Augmentations;
use crate::optimizer::Optimizer;
use crate::pruner::{Pattern, Pruner};
use crate::schedule::{Ratios, Span, StageLength};
use crate::shelf::{DataRef, Layers, ModelRef, Parameter, Rows, Shelf, unexpected};
use crate::train::{GradualPruning, Objective, Settings, train};
use crate::{Checkpoint, Fault, Result, postcondition, row, shelved, word};

word! {
    /// Trains a model. What masks removed stays removed.
    pub struct Finetune = "finetune"(
        /// The model to train.
        model: ModelRef,
    ) {
        /// The model that the student is compared with; needed by losses that compare.
        teacher: Option<ModelRef>,
        /// The rows to learn from.
        data: DataRef,
        /// What is minimized.
        loss: Objective,
        /// How weights follow their gradients.
        optimizer: Arc<dyn Optimizer>,
        /// How long.
        r#for: Length,
        /// Rows of one forward pass.
        batch: Rows where "1 row..65536 rows" = Rows(16),
        /// Forward passes of one optimizer step.
        accumulate: usize where "1..65536" = 1,
        /// The largest norm of all gradients together; larger ones are scaled down to it.
        clip: Option<f64> where "0..1000000000",
        /// Pruning while the model learns.
        prune: Option<Arc<dyn PruningPlan>>,
        /// How examples are changed each time they are learned from.
        augment: Augmentations,
        /// Decides the order of rows and what augmentations draw.
        seed: u64 = 0,
    }
}

/// How long a stage trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Length(pub Duration);

impl Parameter for Length {
    fn kind() -> Kind {
        Kind::Duration
    }

    fn read(value: &Value) -> Result<Self> {
        value.as_duration().map(Self).ok_or_else(|| unexpected(&Self::kind(), value))
    }
}

/// A way to prune while a model learns.
pub trait PruningPlan: std::fmt::Debug + Send + Sync {
    /// Which weights go when.
    ///
    /// # Errors
    /// As [`Span::of`].
    fn pruning(&self, length: StageLength) -> Result<GradualPruning>;
}

/// Every way to prune while a model learns.
pub static PLANS: Shelf<dyn PruningPlan> = Shelf::new("pruning plan", &[row!(dyn PruningPlan, Gradual)]);
shelved! { dyn PruningPlan, PLANS }

word! {
    /// Prunes a little more at every so many steps, along a schedule (arXiv 1710.01878).
    pub struct Gradual = "gradual"(
        /// The layers to prune.
        layers: Layers,
    ) {
        /// Which weights go.
        method: Arc<dyn Pruner>,
        /// The share of weights that is gone, over the stage.
        sparsity: Ratios,
        /// How often.
        every: Length,
    }
}

impl PruningPlan for Gradual {
    fn pruning(&self, length: StageLength) -> Result<GradualPruning> {
        let every = length.steps_of(Span::of(self.every.0)?).unwrap_or(1).max(1);
        Ok(GradualPruning {
            layers: self.layers.0.clone(),
            method: Arc::clone(&self.method),
            sparsity: self.sparsity.clone(),
            every,
        })
    }
}

impl Finetune {
    /// Rows that one optimizer step learns from; the last step of an epoch may see fewer.
    pub fn rows_per_step(batch: Rows, accumulate: usize) -> u64 {
        (batch.0 * accumulate as u64).max(1)
    }

    fn settings(&self, rows: u64) -> Result<Settings> {
        let steps_per_epoch = rows.div_ceil(Self::rows_per_step(self.batch, self.accumulate)).max(1);
        let epoch = StageLength { steps: steps_per_epoch, steps_per_epoch };
        let steps = epoch.steps_of(Span::of(self.r#for.0)?).filter(|&steps| steps > 0);
        let steps = steps.ok_or_else(|| Fault::input(format!("training for {} is no step at all", self.r#for.0)))?;
        let length = StageLength { steps, steps_per_epoch };
        Ok(Settings {
            objective: self.loss.clone(),
            optimizer: Arc::clone(&self.optimizer),
            length,
            batch: self.batch.0 as usize,
            accumulate: self.accumulate,
            clip: self.clip,
            seed: self.seed,
            pruning: self.prune.as_ref().map(|plan| plan.pruning(length)).transpose()?,
            augmentations: self.augment.clone(),
        })
    }
}

impl Stage for Finetune {
    const KEPT: bool = true;

    fn word() -> Word {
        word_of::<Self>(Kind::Model).layers_of("model")
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        let before = work.model(&self.model)?;
        let teacher = self.teacher.as_ref().map(|teacher| work.model(teacher)).transpose()?;
        let rows = work.data(&self.data)?;
        let settings = self.settings(crate::dataset::Dataset::len(&rows) as u64)?;
        let after = train(&before, teacher.as_ref(), rows, &settings, work)?;
        Self::check(&before, &after, settings.pruning.as_ref(), settings.length)?;
        for (path, mask) in &after.masks {
            work.layer(&after, path, [mask.rows(), mask.cols()], None);
        }
        Ok(Output::Model(after))
    }

    fn outline(&self, inputs: &dyn Inputs, outline: &mut Outline) -> Result<()> {
        let rows = inputs.data(self.data.0.step, self.data.0.field.as_deref())?;
        let settings = self.settings(crate::dataset::Dataset::len(&rows) as u64)?;
        outline.train(settings.optimizer.moments() as u64, settings.objective.needs_teacher());
        if let Some(pruning) = &settings.pruning {
            let (share, scope) = (pruning.highest(settings.length), pruning.method.scope());
            outline.prune(&pruning.layers, share, Pattern::Unstructured, scope);
        }
        Ok(())
    }
}

impl Finetune {
    /// What a training over `length` promises.
    pub(super) fn check(
        before: &Checkpoint,
        after: &Checkpoint,
        pruning: Option<&GradualPruning>,
        length: StageLength,
    ) -> Result<()> {
        postcondition::masks_kept(before, after)?;
        postcondition::all_finite(after)?;
        postcondition::something_changed(before, after)?;
        match pruning {
            Some(pruning) => {
                let highest = pruning.highest(length);
                postcondition::sparsity_reached(before, after, &pruning.layers, highest, pruning.method.scope())
            }
            None => Ok(()),
        }
    }
}
