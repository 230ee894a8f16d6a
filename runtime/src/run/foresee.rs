//! What a run would do, without doing it: which steps an earlier run finished, and how large the models become.
//!
//! What a stage reads from files is read, for that decides what is cached; nothing is written, locked or trained.

use std::collections::BTreeMap;

use blake3::Hash;
use serde::Serialize;
use sparsec_compiler::{Call, Plan, Requirement, Step, StepId, Task};
use sparsec_kernels::Tuning;

use super::execute::{Receipt, Run, written};
use super::{Failure, Options, Silent, State, finished, keys, read_json, scores};
use crate::checkpoint::Header;
use crate::dataset::Dataset;
use crate::metric;
use crate::model::Module;
use crate::shelf::Item;
use crate::stage::{Inputs, Load, Outline, Output, STAGES, Size, StageRow, Take};
use crate::{Result, disk};

/// One step, as a run would meet it now.
#[derive(Clone, Debug, Serialize)]
pub struct Foreseen {
    /// Whether its work is done already.
    pub cached: bool,
    /// Why, or why not.
    pub why: String,
    /// The size of the model that it yields.
    pub model: Option<Size>,
}

/// What a run of `plan` would find, step by step.
///
/// # Errors
/// A checkpoint or a data set that cannot be read, with the call that names it.
pub fn foresee(plan: &Plan, options: &Options<'_>) -> Result<Vec<Foreseen>, Failure> {
    let run = Run::with(plan, options, State::look(&options.directory), Tuning::default())?;
    let mut sight = Sight { run, outlines: BTreeMap::new(), is_incomplete: false, cached: Vec::new() };
    let failed = |step: &Step, fault| Failure { fault, span: Some(step.span) };
    plan.steps.iter().map(|step| sight.step(step).map_err(|fault| failed(step, fault))).collect()
}

struct Sight<'a> {
    run: Run<'a>,
    outlines: BTreeMap<usize, Outline>,
    /// Whether the weights of a model are still to come.
    is_incomplete: bool,
    /// Of every step seen, whether its work is done or has to be done in every run.
    cached: Vec<bool>,
}

impl Sight<'_> {
    fn step(&mut self, step: &Step) -> Result<Foreseen> {
        let key = self.run.enter(step);
        let (cached, why) = match &step.task {
            Task::Require(requirement) => self.requirement(requirement)?,
            Task::Stage { call, .. } => {
                let row = StageRow::of(call)?;
                if row.yields_artifact() {
                    self.artifact(call, key)?
                } else if row.kept {
                    self.kept(step, key)
                } else if let Some(modules) = self.without_weights(call)? {
                    self.outlines.insert(step.id.index(), Outline::dense(modules));
                    self.is_incomplete = true;
                    (false, "its weights are not here yet: only `config.json` was read".to_owned())
                } else {
                    match self.run.stage(step, call, key, &mut Silent) {
                        Ok(_) => (false, "comes from its files in every run".to_owned()),
                        // Where weights are still to come, so may be the data.
                        Err(fault) if self.is_incomplete && call.word == Take::NAME => (false, fault.message),
                        Err(fault) => return Err(fault),
                    }
                }
            }
        };
        self.cached.push(cached || step.call().is_some_and(|call| STAGES.iter().any(|row| row.name == call.word && !row.kept)));
        let model = self.outline(step)?.map(|outline| outline.size());
        Ok(Foreseen { cached, why, model })
    }

    /// The modules of the model that `call` loads, if its weights are still to come.
    fn without_weights(&self, call: &Call) -> Result<Option<Vec<Module>>> {
        if call.word != Load::NAME {
            return Ok(None);
        }
        let load = Load::from_call(call)?;
        let (folder, _) = self.run.files().checkpoint(&load.checkpoint.0)?;
        Header::is_without_weights(&folder).then(|| load.modules(&folder)).transpose()
    }

    /// Whether the stage `step` is finished.
    fn kept(&self, step: &Step, key: Hash) -> (bool, String) {
        let state = &self.run.state;
        match finished::read(&state.stage(&key)) {
            Ok(Some(record)) => return (true, format!("finished before, in {}", crate::report::text::seconds(record.seconds))),
            Err(fault) => return (false, format!("what was kept is damaged: {fault}")),
            Ok(None) => {}
        }
        if state.work(&key).is_file() {
            return (false, "was interrupted, and goes on from its saved state".to_owned());
        }
        let open = step.after.iter().filter(|id| self.cached.get(id.index()) == Some(&false));
        let open = open.filter_map(|id| self.run.plan.step(*id)).find(|step| step.requirement().is_none());
        if let Some(above) = open {
            return (false, format!("`{}` above it is not cached", above.name));
        }
        let other = finished::all(&state.stages()).any(|record| record.name == step.name);
        (false, if other { "was finished with other arguments or inputs" } else { "was never finished here" }.to_owned())
    }

    fn requirement(&self, requirement: &Requirement) -> Result<(bool, String)> {
        let (mut done, mut all) = (0, 0);
        for call in requirement.left.metrics().into_iter().chain(requirement.right.metrics()) {
            let (rows, path) = self.run.scored_on(&*metric::make(call)?.metric)?;
            done += scores::read::<serde_json::Value>(&path, rows.len()).len();
            all += rows.len();
        }
        let why = if done == all { "everything is scored".to_owned() } else { format!("{done} of {all} rows are scored") };
        Ok((done == all, why))
    }

    fn artifact(&self, call: &Call, key: Hash) -> Result<(bool, String)> {
        let folder = self.run.output(written(call).unwrap_or_default())?;
        let receipt: Option<Receipt> = read_json(&self.run.state.receipt(&keys::part(&key, &folder.to_string_lossy()))).ok();
        let Some(receipt) = receipt else { return Ok((false, "was never written".to_owned())) };
        let is_there = disk::content_hash(&folder).is_ok_and(|content| content.to_hex().as_str() == receipt.content);
        Ok((is_there, if is_there { "is there as it was written" } else { "was changed or removed since" }.to_owned()))
    }

    /// The outline of the model that `step` yields.
    fn outline(&mut self, step: &Step) -> Result<Option<&Outline>> {
        let Some(call) = step.call() else { return Ok(None) };
        let made = match self.run.outputs.borrow().get(step.id.index()) {
            Some(Some(Output::Model(checkpoint))) => Some(Outline::of(checkpoint)?),
            _ => None,
        };
        let above = |id: StepId| self.outlines.get(&id.index()).cloned();
        let base = call.arguments.iter().find_map(|argument| argument.value.as_step()).and_then(|model| above(model.step));
        let outline = match (made, base) {
            (Some(made), _) => made,
            (None, None) => return Ok(self.outlines.get(&step.id.index())),
            (None, Some(mut base)) => {
                (StageRow::of(call)?.outline)(call, &self.run, &mut base)?;
                base
            }
        };
        Ok(Some(self.outlines.entry(step.id.index()).or_insert(outline)))
    }
}
