//! The shelf of stages: what a step of a plan does, and the table of them.
//!
//! A stage reads what earlier stages made through [`Work`], tells how far it is, stops when it is interrupted, and yields an
//! [`Output`]. It checks what it promised before it returns; what it did is in the record that [`Work`] carries.

mod dataset;
mod export;
mod finetune;
mod initialize;
mod load;
mod outline;
mod prune;
mod quantize;
mod take;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sparsec_compiler::{Call, Kind, Param, StepId, Word};

pub use dataset::{Data, DatasetStage};
pub use export::Export;
pub use finetune::{Finetune, Gradual, PLANS, PruningPlan};
pub use initialize::Initialize;
pub use load::Load;
pub use outline::{Memory, Outline, PlannedLayer, Size};
pub use prune::Prune;
pub use quantize::Quantize;
pub use take::Take;

use crate::dataset::Rows;
use crate::export::Provenance;
use crate::facts::Files;
use crate::report::{ExportRecord, LayerRecord, StageRecord};
use crate::run::{Event, Events, Snapshot};
use crate::shelf::{DataRef, InputPath, Item, ModelRef, OutputPath, tidy, with_params};
use crate::{Checkpoint, Fault, FaultKind, Result};

/// A stage: one file of this folder, one row of [`STAGES`].
pub trait Stage: Item {
    /// Whether what it yields is kept for the next run: no for what comes from files, which is read anew and known by its content.
    const KEPT: bool;

    /// Its word for the compiler.
    fn word() -> Word;

    /// Does it.
    ///
    /// # Errors
    /// What it reads is wrong, what it promised is not so, the disk, or an interruption.
    fn run(&self, work: &mut Work<'_>) -> Result<Output>;

    /// What it will do to the size of its model; nothing unless it says so.
    ///
    /// # Errors
    /// Data above that cannot be read.
    fn outline(&self, _: &dyn Inputs, _: &mut Outline) -> Result<()> {
        Ok(())
    }
}

/// What a stage yields.
#[derive(Clone)]
pub enum Output {
    /// A model.
    Model(Checkpoint),
    /// Rows.
    Data(Data),
    /// Files for others.
    Artifact(ExportRecord),
}

/// One row of the table.
pub struct StageRow {
    /// The word.
    pub name: &'static str,
    /// Its description for the compiler.
    pub word: fn() -> Word,
    /// Whether what it yields is kept for the next run.
    pub kept: bool,
    /// Reads a call and does what it says.
    pub run: fn(&Call, &mut Work<'_>) -> Result<Output>,
    /// Reads a call and says what it will do to the size of its model.
    pub outline: fn(&Call, &dyn Inputs, &mut Outline) -> Result<()>,
}

/// Every stage.
pub static STAGES: [StageRow; 8] = [
    row::<Load>(),
    row::<Initialize>(),
    row::<DatasetStage>(),
    row::<Take>(),
    row::<Prune>(),
    row::<Finetune>(),
    row::<Quantize>(),
    row::<Export>(),
];

impl StageRow {
    /// The stage that `call` calls.
    ///
    /// # Errors
    /// An internal fault where there is none.
    pub fn of(call: &Call) -> Result<&'static Self> {
        let row = STAGES.iter().find(|row| row.name == call.word);
        row.ok_or_else(|| Fault::internal(format!("no stage is called `{}`", call.word)))
    }

    /// Whether it writes files for others.
    pub fn yields_artifact(&self) -> bool {
        (self.word)().kind == Kind::Artifact
    }
}

const fn row<S: Stage>() -> StageRow {
    StageRow {
        name: S::NAME,
        word: S::word,
        kept: S::KEPT,
        run: |call, work| S::from_call(call)?.run(work),
        outline: |call, inputs, outline| S::from_call(call)?.outline(inputs, outline),
    }
}

/// `staged`: not a stage itself but a chain of calls of a `def`, which the compiler writes out.
pub fn staged() -> Word {
    let step = Kind::Function(vec![Kind::Model, Kind::Ratio], Box::new(Kind::Model));
    let doc = "Does the same at every element of a list, each time with the model of the time before.";
    Word::unrolled("staged", Kind::Model, ["model", "at", "step"], doc)
        .param(Param::new("model", Kind::Model, "The model to begin with.").positional())
        .param(Param::new("at", Kind::list(Kind::Ratio), "What the second parameter of `step` is, time after time."))
        .param(Param::new("step", step, "A `def` that takes a model and a ratio and yields a model."))
}

/// The word of the stage `S`, which yields `kind`.
fn word_of<S: Stage>(kind: Kind) -> Word {
    with_params(Word::stage(S::NAME, kind, tidy(S::DOC)), S::params())
}

/// What earlier stages made, and where files are.
pub trait Inputs {
    /// The model that step `step` made.
    ///
    /// # Errors
    /// When it cannot be read back from the disk.
    fn model(&self, step: StepId) -> Result<Checkpoint>;

    /// The rows that step `step` found: all, or the part `field`.
    ///
    /// # Errors
    /// When there is no such part.
    fn data(&self, step: StepId, field: Option<&str>) -> Result<Rows>;

    /// Rows that no stage learned from, as far as one can tell: those that a bar scored, else the last part of a data set, else all
    /// of one.
    fn held_out(&self) -> Option<Rows>;

    /// The files that the recipe may read.
    fn files(&self) -> &Files;

    /// The file or folder that a recipe wants written at `path`.
    ///
    /// # Errors
    /// When it leaves the folder that recipes may write.
    fn output(&self, path: &str) -> Result<PathBuf>;

    /// Where the model that step `step` made comes from, for whoever finds it later.
    fn provenance(&self, step: StepId) -> Provenance;
}

/// One stage at work.
pub struct Work<'a> {
    /// What earlier stages made.
    pub inputs: &'a dyn Inputs,
    /// Who listens.
    pub events: &'a mut dyn Events,
    /// Set when the user wants the run to stop.
    pub interrupted: &'a AtomicBool,
    /// How old the state saved in `unfinished` may become.
    pub save_every: Duration,
    /// Where this stage keeps what it needs to go on after an interruption; there if it did before.
    pub unfinished: PathBuf,
    /// What the stage did.
    pub record: StageRecord,
}

impl Work<'_> {
    /// The model of an argument.
    ///
    /// # Errors
    /// As [`Inputs::model`].
    pub fn model(&self, model: &ModelRef) -> Result<Checkpoint> {
        self.inputs.model(model.0.step)
    }

    /// The rows of an argument.
    ///
    /// # Errors
    /// As [`Inputs::data`].
    pub fn data(&self, data: &DataRef) -> Result<Rows> {
        self.inputs.data(data.0.step, data.0.field.as_deref())
    }

    /// The file of an argument that is read.
    ///
    /// # Errors
    /// As [`Files::find`].
    pub fn input(&self, path: &InputPath) -> Result<PathBuf> {
        self.inputs.files().find(&path.0)
    }

    /// The file of an argument that is written.
    ///
    /// # Errors
    /// As [`Inputs::output`].
    pub fn output(&self, path: &OutputPath) -> Result<PathBuf> {
        self.inputs.output(&path.0)
    }

    /// Whether the user wants the run to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Stops if the user wants so.
    ///
    /// # Errors
    /// An interruption.
    pub fn go_on(&self) -> Result<()> {
        if self.is_interrupted() { Err(interruption()) } else { Ok(()) }
    }

    /// The state that an earlier run of this stage saved; none if there is none, or if it is damaged, which is said.
    pub fn saved(&mut self) -> Option<Snapshot> {
        if !self.unfinished.exists() {
            return None;
        }
        let damaged = |fault: &Fault| format!("what an interrupted run saved is damaged, and this stage begins anew ({fault})");
        Snapshot::read(&self.unfinished).map_err(|fault| self.note(damaged(&fault))).ok()
    }

    /// Tells how far the stage is.
    pub fn progress(&mut self, done: usize, total: usize, unit: &str) {
        self.events.event(Event::Progress { done: done as u64, total: total as u64, unit });
    }

    /// Has something said, now and in the report.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        self.events.event(Event::Note(&note));
        self.record.notes.push(note);
    }

    /// Records what was done to the linear layer at `path`.
    pub fn layer(&mut self, checkpoint: &Checkpoint, path: &str, shape: [usize; 2], relative_error: Option<f64>) {
        let sparsity = checkpoint.masks.get(path).map_or(0.0, crate::Mask::sparsity);
        self.record.layers.push(LayerRecord { path: path.to_owned(), shape, sparsity, relative_error });
    }
}

/// The fault of a run that the user stopped.
pub fn interruption() -> Fault {
    Fault::new(FaultKind::Interrupted, "the run was interrupted; what is finished is kept")
        .help("run the same command again to go on from here")
}

#[cfg(test)]
mod tests;
