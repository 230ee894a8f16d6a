//! The steps of a plan, one after the other.

mod conclude;
mod listen;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use blake3::Hash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sparsec_compiler::{Call, Plan, Requirement, Step, StepId, Task};
use sparsec_kernels::Tuning;

use super::{Event, Events, Failure, Options, Outcome, State, finished, keys, read_json, scores};
use crate::dataset::{Dataset, Rows};
use crate::engine::{self, Engine};
use crate::export::{self, Provenance};
use crate::facts::{self, Files};
use crate::metric::{self, Bootstrap, Counts, Judgement, Measurement, Metric, Scores, Sees};
use crate::report::{Bar, ExportRecord, Score, StageRecord, Verdict};
use crate::shelf::{DataRef, ModelRef};
use crate::stage::{self, Inputs, Output, StageRow, Work};
use crate::{Checkpoint, Fault, Result, disk, folder};

/// A plan while it is executed.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    options: &'a Options<'a>,
    pub(super) state: State,
    /// The key of every step done.
    keys: Vec<Hash>,
    /// What every step done yielded; a model that an earlier run made is read when it is asked for.
    pub(super) outputs: RefCell<Vec<Option<Output>>>,
    records: Vec<StageRecord>,
    /// The verdict of each `require`, with its step.
    verdicts: Vec<(StepId, Verdict)>,
    exports: Vec<ExportRecord>,
    scores: Vec<(StepId, Score)>,
    /// Rows that a model was scored on.
    scored: Option<Rows>,
    /// The files of what models said that this run used: made by itself where it takes nothing from earlier ones.
    said: BTreeSet<PathBuf>,
    /// Measured times of kernels, from earlier runs and from this one, or from the file that was given.
    tuning: Tuning,
    /// The content of that file: what was computed with other kernels is not reused.
    pinned: Option<Hash>,
    /// Whether a stage ran, a score was computed or an artifact written.
    worked: bool,
}

impl<'a> Run<'a> {
    /// A run that has done nothing yet. `events` hears of measured times that cannot be read.
    pub(super) fn new(plan: &'a Plan, options: &'a Options<'a>, state: State, events: &mut dyn Events) -> Result<Self> {
        let (tuning, pinned) = match &options.tuning {
            Some(path) => (engine::read_tuning(path)?, Some(disk::content_hash(path)?)),
            None => (state.known_times(events)?, None),
        };
        Ok(Self {
            plan,
            options,
            state,
            tuning,
            pinned,
            keys: Vec::new(),
            outputs: RefCell::default(),
            records: Vec::new(),
            verdicts: Vec::new(),
            exports: Vec::new(),
            scores: Vec::new(),
            scored: None,
            said: BTreeSet::new(),
            worked: false,
        })
    }

    pub(super) fn execute(mut self, events: &mut dyn Events) -> Result<Outcome, Failure> {
        events.event(Event::Started { stages: self.plan.steps.len(), state: self.state.root() });
        for step in &self.plan.steps {
            self.destination(step).map_err(|fault| Failure { fault, span: Some(step.span) })?;
        }
        for step in &self.plan.steps {
            self.step(step, events).map_err(|fault| Failure { fault, span: Some(step.span) })?;
        }
        Ok(self.finish(events)?)
    }

    /// Checks that what `step` writes for others can be written, for nobody wants to hear that after hours.
    fn destination(&self, step: &Step) -> Result<()> {
        match step.call().and_then(written) {
            Some(to) => folder::check(&self.output(to)?, export::RECORD),
            None => Ok(()),
        }
    }

    fn step(&mut self, step: &Step, events: &mut dyn Events) -> Result<()> {
        let key = self.enter(step);
        let word = step.call().map_or("require", |call| call.word.as_str());
        events.event(Event::Stage { index: step.id.index(), name: &step.name, word });
        let began = Instant::now();
        let mut record = match &step.task {
            Task::Require(requirement) => self.require(step, requirement, events)?,
            Task::Stage { call, .. } => self.stage(step, call, key, events)?,
        };
        let yielded = self.outputs.borrow()[step.id.index()].clone();
        if let Some(Output::Data(data)) = &yielded {
            self.listen(step.id, data, events)?;
        }
        if !record.reused {
            record.seconds = began.elapsed().as_secs_f64();
        }
        events.event(Event::Done { index: step.id.index(), record: &record });
        self.records.push(record);
        Ok(())
    }

    /// Comes to `step`, which is then to be done; its key.
    pub(super) fn enter(&mut self, step: &Step) -> Hash {
        // The steps whose values it uses; bars only delay it.
        let used = |id: &&StepId| self.plan.step(**id).is_some_and(|step| step.requirement().is_none());
        let above = step.after.iter().filter(used).filter_map(|id| self.keys.get(id.index()).copied()).collect::<Vec<_>>();
        let key = keys::key(step, &above);
        self.keys.push(key);
        self.outputs.borrow_mut().push(None);
        key
    }

    pub(super) fn stage(&mut self, step: &Step, call: &Call, key: Hash, events: &mut dyn Events) -> Result<StageRecord> {
        let row = StageRow::of(call)?;
        if row.yields_artifact() {
            return self.export(step, call, row, key, events);
        }
        let folder = self.state.stage(&key);
        if row.kept && !self.options.fresh {
            match finished::read(&folder) {
                Ok(None) => {}
                Ok(Some(record)) => {
                    self.forget(&key)?;
                    return Ok(StageRecord { reused: true, name: step.name.clone(), ..record });
                }
                Err(fault) => {
                    events.event(Event::Note(&format!("what an earlier run kept is damaged, and made again ({fault})")));
                }
            }
        }
        let (output, record) = self.work(step, call, row, key, events)?;
        match &output {
            Output::Model(checkpoint) if row.kept => {
                finished::keep(&folder, checkpoint, &record)?;
                self.forget(&key)?;
                self.worked = true;
            }
            Output::Model(checkpoint) => self.keys[step.id.index()] = keys::with_content(&key, &checkpoint.content_hash()?),
            Output::Data(data) => {
                data.whole.hash_files(&mut |done, total| self.tell(events, done, total, "files"))?;
                self.keys[step.id.index()] = keys::with_content(&key, &data.content_hash()?);
            }
            Output::Artifact(_) => {}
        }
        self.outputs.borrow_mut()[step.id.index()] = Some(output);
        Ok(record)
    }

    /// Removes what an unfinished stage left to go on from.
    fn forget(&self, key: &Hash) -> Result<()> {
        let unfinished = self.state.work(key);
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::writing(&unfinished, &error)),
            _ => Ok(()),
        }
    }

    /// Runs a stage.
    fn work(
        &self,
        step: &Step,
        call: &Call,
        row: &StageRow,
        key: Hash,
        events: &mut dyn Events,
    ) -> Result<(Output, StageRecord)> {
        let mut work = Work {
            inputs: self,
            events,
            interrupted: self.options.interrupted,
            save_every: self.options.save_every,
            unfinished: self.state.work(&key),
            record: StageRecord { name: step.name.clone(), word: call.word.clone(), reused: false, ..StageRecord::default() },
        };
        work.go_on()?;
        if self.options.fresh {
            self.forget(&key)?;
        }
        let began = Instant::now();
        let output = (row.run)(call, &mut work)?;
        let mut record = work.record;
        record.seconds = began.elapsed().as_secs_f64();
        Ok((output, record))
    }

    /// Writes an artifact, unless a bar above was missed or it is there already.
    fn export(&mut self, step: &Step, call: &Call, row: &StageRow, key: Hash, events: &mut dyn Events) -> Result<StageRecord> {
        let missed = |(id, verdict): &&(StepId, Verdict)| step.after.contains(id) && verdict.outcome == Bar::Missed;
        let missed = self.verdicts.iter().find(missed).map(|(_, verdict)| verdict.text.clone());
        let to = written(call).unwrap_or_default().to_owned();
        let model = call.arguments.iter().find_map(|argument| argument.value.as_step());
        let model = model.and_then(|model| self.plan.step(model.step)).map_or_else(String::new, |step| step.name.clone());
        let mut record = StageRecord { name: step.name.clone(), word: call.word.clone(), reused: true, ..StageRecord::default() };
        if let (Some(bar), false) = (&missed, self.options.despite_bars) {
            let held_back = Some(format!("the bar `{bar}` was missed"));
            self.exports.push(ExportRecord { model, to, held_back, bytes: 0 });
            return Ok(record);
        }
        let folder = self.output(&to)?;
        let receipt = self.state.receipt(&keys::part(&key, &folder.to_string_lossy()));
        let stored: Option<Receipt> = read_json(&receipt).ok();
        if let Some(stored) = stored.filter(|_| !self.options.fresh)
            && disk::content_hash(&folder).is_ok_and(|content| content.to_hex().as_str() == stored.content)
        {
            self.exports.push(ExportRecord { model, to, held_back: None, bytes: stored.bytes });
            return Ok(record);
        }
        let (output, worked) = self.work(step, call, row, key, events)?;
        record = worked;
        if let Output::Artifact(export) = output {
            let content = disk::content_hash(&folder)?.to_hex().to_string();
            disk::write_json(&receipt, &Receipt { content, bytes: export.bytes })?;
            self.exports.push(ExportRecord { model, ..export });
        }
        if let Some(bar) = missed {
            record.notes.push(format!("written although the bar `{bar}` was missed"));
        }
        self.worked = true;
        Ok(record)
    }

    /// Judges a bar.
    fn require(&mut self, step: &Step, requirement: &Requirement, events: &mut dyn Events) -> Result<StageRecord> {
        let text = self.text(step, requirement);
        let bootstrap = Bootstrap::default();
        let mut reused = true;
        let judgement = Judgement::new(requirement, |call| {
            let (scores, kept) = self.score(call, &bootstrap, events)?;
            reused &= kept;
            Ok(Measurement::Rate(scores))
        })?;
        let verdict = Verdict { text, ..judgement.verdict(&bootstrap)? };
        self.verdicts.push((step.id, verdict));
        self.worked |= !reused;
        Ok(StageRecord { name: step.name.clone(), word: "require".to_owned(), reused, ..StageRecord::default() })
    }

    /// The bar as the recipe writes it.
    fn text(&self, step: &Step, requirement: &Requirement) -> String {
        let written = self.options.sources.slice(step.span).trim();
        let written = written.strip_prefix("require").unwrap_or(written).split_whitespace().collect::<Vec<_>>().join(" ");
        if written.is_empty() { requirement.to_string() } else { written }
    }

    /// The rows that `metric` scores a model on, and the file of what it says to them or how likely it finds them.
    pub(super) fn scored_on(&self, metric: &dyn Metric) -> Result<(Rows, PathBuf)> {
        let (ModelRef(model), DataRef(data)) = (metric.model(), metric.data());
        let rows = self.data(data.step, data.field.as_deref())?;
        let part = keys::part(&self.keys[data.step.index()], data.field.as_deref().unwrap_or_default());
        let part = match metric.sees() {
            Sees::Text(_) => part,
            Sees::Likelihood => keys::part(&part, "likelihood"),
        };
        let key = keys::hash([&self.keys[model.step.index()], &part].into_iter().chain(&self.pinned));
        Ok((rows, self.state.score(&key)))
    }

    /// Scores a model on rows, and whether what it says was known before.
    fn score(&mut self, call: &Call, bootstrap: &Bootstrap, events: &mut dyn Events) -> Result<(Scores, bool)> {
        let called = metric::make(call)?;
        let metric = &*called.metric;
        let (ModelRef(model), DataRef(data)) = (metric.model(), metric.data());
        let (rows, path) = self.scored_on(metric)?;
        if self.options.fresh && self.said.insert(path.clone()) && path.exists() {
            std::fs::remove_file(&path).map_err(|error| Fault::writing(&path, &error))?;
        }
        let (counts, kept): (Vec<Counts>, bool) = match metric.sees() {
            Sees::Text(count) => {
                let (texts, kept) = self.looked_at(model.step, &rows, &path, scores::transcripts, events)?;
                (texts.iter().enumerate().map(|(index, said)| count(rows.text(index), said)).collect(), kept)
            }
            Sees::Likelihood => self.looked_at(model.step, &rows, &path, scores::likelihoods, events)?,
        };
        let references = (0..rows.len()).map(|index| rows.text(index));
        let scores = called.scores(counts, references)?;
        let name = self.plan.step(data.step).map_or_else(String::new, |step| match &data.field {
            Some(field) => format!("{}.{field}", step.name),
            None => step.name.clone(),
        });
        let word = called.name();
        let same = |(step, known): &(StepId, Score)| *step == model.step && (&known.metric, &known.data) == (&word, &name);
        if !self.scores.iter().any(same) {
            self.scores.push((model.step, called.record(&scores, &name, bootstrap)));
        }
        self.scored = Some(rows);
        Ok((scores, kept))
    }

    /// What the model of step `model` makes of every one of `rows`, and whether all of it was kept at `path` before.
    fn looked_at<T: Serialize + DeserializeOwned>(
        &self,
        model: StepId,
        rows: &Rows,
        path: &Path,
        look: scores::Look<T>,
        events: &mut dyn Events,
    ) -> Result<(Vec<T>, bool)> {
        let mut found = scores::read(path, rows.len());
        if found.len() == rows.len() {
            return Ok((found, true));
        }
        let checkpoint = self.model(model)?;
        let engine = self.engine(&checkpoint, events)?;
        look(&checkpoint, &*engine.model, rows, &mut found, &mut |found| {
            disk::write_json(path, &found)?;
            self.tell(events, found.len(), rows.len(), "rows")
        })?;
        Ok((found, false))
    }

    /// The model of `checkpoint` as it is scored and timed: pruned layers compiled, with the kernels that the tuning chooses.
    fn engine(&self, checkpoint: &Checkpoint, events: &mut dyn Events) -> Result<Engine> {
        let mut told = |done: usize, total: usize| self.tell(events, done, total, "layers compiled");
        checkpoint.compiled_telling(&self.kernels(), &mut told)
    }

    /// How kernels are chosen.
    pub(super) fn kernels(&self) -> sparsec_kernels::Options {
        let chosen = if self.pinned.is_some() { engine::frozen } else { engine::measured };
        sparsec_kernels::Options { code_cache: self.options.code_cache.clone(), ..chosen(self.tuning.clone()) }
    }

    /// Tells how far some work is, and ends it if the user wants so.
    fn tell(&self, events: &mut dyn Events, done: usize, total: usize, unit: &str) -> Result<()> {
        events.event(Event::Progress { done: done as u64, total: total as u64, unit });
        if self.options.interrupted.load(Ordering::Relaxed) { Err(stage::interruption()) } else { Ok(()) }
    }
}

impl Inputs for Run<'_> {
    fn model(&self, step: StepId) -> Result<Checkpoint> {
        let known = match self.outputs.borrow().get(step.index()) {
            Some(Some(Output::Model(checkpoint))) => Some(checkpoint.clone()),
            _ => None,
        };
        if let Some(checkpoint) = known {
            return Ok(checkpoint);
        }
        let key = self.keys.get(step.index()).ok_or_else(|| Fault::internal(format!("step {step} has not run yet")))?;
        let checkpoint = Checkpoint::read(&self.state.stage(key))
            .map_err(|fault| fault.help("run again with `--fresh`: what an earlier run stored is damaged"))?;
        self.outputs.borrow_mut()[step.index()] = Some(Output::Model(checkpoint.clone()));
        Ok(checkpoint)
    }

    fn data(&self, step: StepId, field: Option<&str>) -> Result<Rows> {
        match self.outputs.borrow().get(step.index()) {
            Some(Some(Output::Data(data))) => data.part(field).cloned(),
            _ => Err(Fault::internal(format!("step {step} yields no rows"))),
        }
    }

    fn held_out(&self) -> Option<Rows> {
        let outputs = self.outputs.borrow();
        let mut data = outputs.iter().rev().flatten().filter_map(|output| match output {
            Output::Data(data) => Some(data),
            Output::Model(_) | Output::Artifact(_) => None,
        });
        let parts = data.clone().find_map(|data| data.parts.last().map(|(_, rows)| rows));
        self.scored.as_ref().or(parts).or_else(|| data.next_back().map(|data| &data.whole)).cloned()
    }

    fn files(&self) -> &Files {
        &self.options.files
    }

    fn output(&self, path: &str) -> Result<PathBuf> {
        facts::output(&self.options.directory, path, self.options.anywhere)
    }

    fn provenance(&self, step: StepId) -> Provenance {
        let sources = self.options.sources;
        let missed = self.verdicts.iter().filter(|(_, verdict)| verdict.outcome == Bar::Missed);
        Provenance {
            recipe: sources.text(sources.root()).to_owned(),
            plan: self.plan.to_string(),
            metrics: self.scores.iter().filter(|(of, _)| *of == step).map(|(_, score)| score.clone()).collect(),
            missed_bars: missed.map(|(_, verdict)| verdict.text.clone()).collect(),
        }
    }
}

/// The folder that `call` writes for others.
pub(super) fn written(call: &Call) -> Option<&str> {
    call.arguments.iter().find_map(|argument| argument.value.as_output_path())
}

/// What was exported, to see whether it is still there.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Receipt {
    pub(super) content: String,
    bytes: u64,
}
