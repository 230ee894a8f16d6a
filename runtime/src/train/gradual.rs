//! Pruning while the student learns: at every so many steps, up to what the schedule says (Zhu & Gupta, arXiv 1710.01878).

use std::sync::Arc;

use super::Training;
use crate::pruner::{Pattern, Pruner, Request};
use crate::schedule::{Ratios, StageLength};
use crate::stage::Work;
use crate::{Fault, Result, weight};

/// Which weights go when.
#[derive(Clone, Debug)]
pub struct GradualPruning {
    /// Module paths of the layers, in the order of the forward pass.
    pub layers: Vec<String>,
    /// How weights are chosen; one that watches no data.
    pub method: Arc<dyn Pruner>,
    /// The share of weights that is gone, over the stage.
    pub sparsity: Ratios,
    /// Steps from one pruning to the next.
    pub every: u64,
}

impl GradualPruning {
    /// The largest share that is asked for over a stage; what is gone does not come back where the schedule falls.
    pub fn highest(&self, length: StageLength) -> f64 {
        let timeline = self.sparsity.0.over(length);
        let asked = (0..length.steps).step_by(self.every.max(1) as usize).map(|step| timeline.at(step));
        asked.fold(timeline.end(), f64::max)
    }
}

impl Training<'_> {
    /// Prunes before this step, if it is one of those.
    pub(super) fn prune_if_due(&mut self, work: &mut Work<'_>) -> Result<()> {
        match (&self.settings.pruning, &self.sparsity) {
            (Some(pruning), Some(sparsity)) if self.step.is_multiple_of(pruning.every.max(1)) => {
                self.prune(pruning, sparsity.at(self.step), work)
            }
            _ => Ok(()),
        }
    }

    /// Prunes to the schedule's last value, where the last pruning did not meet it.
    pub(super) fn prune_at_the_end(&mut self, work: &mut Work<'_>) -> Result<()> {
        match (&self.settings.pruning, &self.sparsity) {
            (Some(pruning), Some(sparsity)) => self.prune(pruning, sparsity.end(), work),
            _ => Ok(()),
        }
    }

    fn prune(&mut self, pruning: &GradualPruning, sparsity: f64, work: &mut Work<'_>) -> Result<()> {
        if pruning.method.needs_calibration() {
            return Err(Fault::input("while a model learns, only a pruner that watches no data can prune it")
                .help("write `method: magnitude`, or prune in a stage of its own"));
        }
        let mut pruned = self.student.checkpoint(&self.base)?;
        let request = Request { layers: &pruning.layers, sparsity, pattern: Pattern::Unstructured };
        pruning.method.prune(&mut pruned, &request, None, &mut |_, _| work.go_on())?;
        for path in &pruning.layers {
            let name = weight::name(path);
            let tensor = pruned.tensors.get(&name).ok_or_else(|| Fault::internal(format!("`{name}` was lost")))?;
            self.student.set(&name, tensor.values()?)?;
        }
        self.base.masks = pruned.masks;
        Ok(())
    }
}
