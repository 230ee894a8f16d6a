//! What a run would do, without doing it: which steps an earlier run finished, how large the models become, and which kernels will run
//! in those that it scores or exports.
//!
//! What a stage reads from files is read, for that decides what is cached; nothing is written, locked or trained.

use std::collections::BTreeMap;

use blake3::Hash;
use serde::Serialize;
use sparsec_compiler::{Call, Plan, Requirement, Step, StepId, Task};

use super::execute::{Receipt, Run, written};
use super::{Events, Failure, Options, Silent, State, finished, keys, read_json, scores};
use crate::checkpoint::Header;
use crate::dataset::Dataset;
use crate::engine::{self, Alike};
use crate::metric;
use crate::model::Module;
use crate::report::StageRecord;
use crate::shelf::Item;
use crate::stage::{Inputs, Load, Memory, Outline, Output, STAGES, Size, StageRow, Take};
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
    /// The memory that making it takes.
    pub memory: Option<Memory>,
    /// The kernels of that model's pruned and quantized layers, if the run scores or exports it.
    pub kernels: Vec<Alike>,
}

/// What a run of `plan` would find, step by step. `events` hears of measured times that cannot be read.
///
/// # Errors
/// A checkpoint or a data set that cannot be read, with the call that names it.
pub fn foresee(plan: &Plan, options: &Options<'_>, events: &mut dyn Events) -> Result<Vec<Foreseen>, Failure> {
    let run = Run::new(plan, options, State::look(&options.directory), events)?;
    let mut sight = Sight { run, outlines: BTreeMap::new(), is_incomplete: false, models: 0, cached: Vec::new() };
    let failed = |step: &Step, fault| Failure { fault, span: Some(step.span) };
    let mut foreseen: Vec<_> =
        plan.steps.iter().map(|step| sight.step(step).map_err(|fault| failed(step, fault))).collect::<Result<_, _>>()?;
    for step in &plan.steps {
        for model in engine_models(step).map_err(|fault| failed(step, fault))? {
            if let (Some(outline), Some(foreseen)) = (sight.outlines.get(&model.index()), foreseen.get_mut(model.index())) {
                foreseen.kernels = engine::foresee(outline, &sight.run.kernels()).map_err(|fault| failed(step, fault))?;
            }
        }
    }
    Ok(foreseen)
}

/// The models that `step` runs on the engine, or has reported: those of a bar, and what is exported.
fn engine_models(step: &Step) -> Result<Vec<StepId>> {
    match &step.task {
        Task::Require(requirement) => {
            let calls = requirement.left.metrics().into_iter().chain(requirement.right.metrics());
            calls.map(|call| Ok(metric::make(call)?.metric.model().0.step)).collect()
        }
        Task::Stage { call, .. } if StageRow::of(call)?.yields_artifact() => {
            Ok(call.arguments.iter().filter_map(|argument| argument.value.as_step()).map(|model| model.step).collect())
        }
        Task::Stage { .. } => Ok(Vec::new()),
    }
}

struct Sight<'a> {
    run: Run<'a>,
    outlines: BTreeMap<usize, Outline>,
    /// Whether the weights of a model are still to come.
    is_incomplete: bool,
    /// Bytes of the models of every step seen.
    models: u64,
    /// Of every step seen, whether its work is done or has to be done in every run.
    cached: Vec<bool>,
}

impl Sight<'_> {
    fn step(&mut self, step: &Step) -> Result<Foreseen> {
        let key = self.run.enter(step);
        let mut record = None;
        let (cached, why) = match &step.task {
            Task::Require(requirement) => self.requirement(requirement)?,
            Task::Stage { call, .. } => {
                let row = StageRow::of(call)?;
                if row.yields_artifact() {
                    self.artifact(call, key)?
                } else if row.kept {
                    match self.kept(step, key) {
                        Ok(finished) => {
                            let seconds = crate::report::text::seconds(finished.seconds);
                            record = Some(finished);
                            (true, format!("finished before, in {seconds}"))
                        }
                        Err(why) => (false, why),
                    }
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
        let before = self.models;
        let outline = self.outline(step, record.as_ref())?;
        let (model, memory) = (outline.map(Outline::size), outline.map(|outline| outline.memory(before)));
        self.models = memory.map_or(before, |memory| memory.models);
        Ok(Foreseen { cached, why, model, memory, kernels: Vec::new() })
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

    /// What the stage `step` did, or why it is not finished.
    fn kept(&self, step: &Step, key: Hash) -> Result<StageRecord, String> {
        let state = &self.run.state;
        match finished::read(&state.stage(&key)) {
            Ok(Some(record)) => return Ok(record),
            Err(fault) => return Err(format!("what was kept is damaged: {fault}")),
            Ok(None) => {}
        }
        if state.work(&key).is_file() {
            return Err("was interrupted, and goes on from its saved state".to_owned());
        }
        let open = step.after.iter().filter(|id| self.cached.get(id.index()) == Some(&false));
        let open = open.filter_map(|id| self.run.plan.step(*id)).find(|step| step.requirement().is_none());
        if let Some(above) = open {
            return Err(format!("`{}` above it is not cached", above.name));
        }
        let other = finished::all(&state.stages()).any(|record| record.name == step.name);
        Err(if other { "was finished with other arguments or inputs" } else { "was never finished here" }.to_owned())
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

    /// The outline of the model that `step` yields, with what `record` says was done if it is finished.
    fn outline(&mut self, step: &Step, record: Option<&StageRecord>) -> Result<Option<&Outline>> {
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
                base.begin();
                (StageRow::of(call)?.outline)(call, &self.run, &mut base)?;
                base.pruned(record.map_or(&[], |record| &record.layers));
                base
            }
        };
        Ok(Some(self.outlines.entry(step.id.index()).or_insert(outline)))
    }
}
