//! What bars are measured on is listened to before anything is trained.

use std::collections::BTreeSet;

use sparsec_compiler::{Measured, Step, StepId};

use super::Run;
use crate::dataset::Dataset;
use crate::run::Events;
use crate::stage::{Data, Output};
use crate::{Result, disk, metric, model};

/// The sample rate of most models that hear.
const SAMPLE_RATE: u32 = 16_000;

impl Run<'_> {
    /// Listens once to the rows of `data`, the value of step `id`, that a bar is measured on: what is wrong with them is found now, and
    /// not when everything has been trained.
    pub(super) fn listen(&self, id: StepId, data: &Data, events: &mut dyn Events) -> Result<()> {
        let requirements = self.plan.steps.iter().filter_map(Step::requirement);
        let measured = requirements.flat_map(|requirement| [&requirement.left, &requirement.right]).flat_map(Measured::metrics);
        let metrics = measured.map(metric::make).collect::<Result<Vec<_>>>()?;
        let parts: BTreeSet<Option<&str>> = metrics
            .iter()
            .map(|called| &called.metric.data().0)
            .filter(|data| data.step == id)
            .map(|data| data.field.as_deref())
            .collect();
        for part in parts {
            let rows = data.part(part)?;
            let heard = self.state.heard(&rows.content_hash()?);
            if heard.is_file() && !self.options.fresh {
                continue;
            }
            let rate = self.sample_rate()?;
            rows.each(|index| rows.sound(index, rate), |index, _| self.tell(events, index + 1, rows.len(), "rows heard"))?;
            disk::write_json(&heard, &rows.len())?;
        }
        Ok(())
    }

    /// The rate at which the models of this plan hear, as far as one is known: sound that is decoded at it is kept for them.
    fn sample_rate(&self) -> Result<u32> {
        let outputs = self.outputs.borrow();
        let model = outputs.iter().find_map(|output| match output {
            Some(Output::Model(checkpoint)) => Some(checkpoint),
            _ => None,
        });
        let Some(checkpoint) = model else { return Ok(SAMPLE_RATE) };
        Ok(model::family(&checkpoint.config)?.processor(checkpoint)?.sample_rate().unwrap_or(SAMPLE_RATE))
    }
}
