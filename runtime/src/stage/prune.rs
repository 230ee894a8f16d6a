//! `prune`: weights go, in one shot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sparsec_compiler::{Kind, Word};

use super::{Inputs, Outline, Output, Stage, Work, word_of};
use crate::checkpoint::Parameter;
use crate::pruner::{Calibration, Pattern, PrunedLayer, Pruner, Request, RowCalibration, Scope};
use crate::run::Snapshot;
use crate::shelf::{DataRef, Layers, ModelRef, Ratio};
use crate::train::Examples;
use crate::{Checkpoint, Fault, Result, postcondition, word};

/// What took longer is saved at once, for a kill would cost as much again.
const WORTH_SAVING: Duration = Duration::from_secs(1);

word! {
    /// Removes weights of linear layers, in one shot.
    pub struct Prune = "prune"(
        /// The model.
        model: ModelRef,
    ) {
        /// The layers to prune.
        layers: Layers,
        /// Which weights go, and what happens to the others.
        method: Arc<dyn Pruner>,
        /// Rows that the method may watch the model on.
        calibration: Option<DataRef>,
        /// How the zeros must lie.
        pattern: Pattern = Pattern::Unstructured,
        /// The share of weights that is zero afterwards; what is zero already counts.
        sparsity: Ratio where "0%..100%",
    }
}

impl Stage for Prune {
    const KEPT: bool = true;

    fn word() -> Word {
        word_of::<Self>(Kind::Model).layers_of("model")
    }

    fn run(&self, work: &mut Work<'_>) -> Result<Output> {
        self.pattern.check(self.sparsity.0)?;
        let before = work.model(&self.model)?;
        let mut checkpoint = before.clone();
        let mut finished: BTreeMap<String, PrunedLayer> = BTreeMap::new();
        if let Some(snapshot) = work.saved() {
            finished = serde_json::from_value(snapshot.progress)
                .map_err(|_| Fault::internal("the saved state of this stage is not that of a pruning"))?;
            checkpoint = Checkpoint { config: before.config.clone(), ..snapshot.checkpoint };
            work.record.notes.extend(finished.values().flat_map(notes));
            work.note(format!("going on behind the {} layers that were pruned before", finished.len()));
        }
        let left: Vec<String> = self.layers.0.iter().filter(|layer| !finished.contains_key(*layer)).cloned().collect();
        let request = Request { layers: &left, sparsity: self.sparsity.0, pattern: self.pattern };
        let mut examples = match (&self.calibration, self.method.needs_calibration()) {
            (Some(rows), true) => Some(Examples::new(&before, work.data(rows)?)?),
            (None, true) => {
                return Err(Fault::input("this pruner watches the model on data, and the recipe gives it none")
                    .help("add `calibration: take(<data>.train, 128 rows)`"));
            }
            (_, false) => None,
        };
        if let Some(examples) = &mut examples {
            examples.read_all(|done, rows| {
                work.progress(done, rows, "rows");
                work.go_on()
            })?;
        }
        let interrupted = work.interrupted;
        let build = |checkpoint: &Checkpoint| checkpoint.model();
        let rows = examples.as_ref().map_or(0, Examples::len);
        let mut batch = |row: usize| {
            if interrupted.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(super::interruption());
            }
            examples.as_mut().ok_or_else(|| Fault::internal("calibration without rows"))?.batch(&[row])
        };
        let mut calibration = RowCalibration { build: &build, rows, batch: &mut batch };
        let calibration: Option<&mut dyn Calibration> = if rows > 0 { Some(&mut calibration) } else { None };
        let (mut saved, mut began) = (Instant::now(), Instant::now());
        let mut done = |checkpoint: &Checkpoint, layers: &[PrunedLayer]| {
            for layer in layers {
                finished.insert(layer.path.clone(), layer.clone());
                notes(layer).for_each(|note| work.note(note));
            }
            work.progress(finished.len(), self.layers.0.len(), "layers");
            // Layers that compete with each other are pruned together or not at all; and what saves time is not to write down a
            // model that is left in its files.
            let is_left = checkpoint.tensors.values().any(Parameter::is_stored);
            let resumable = self.method.scope() == Scope::Uniform && !is_left;
            let is_due = work.is_interrupted() || began.elapsed() > WORTH_SAVING || saved.elapsed() > work.save_every;
            if resumable && is_due {
                Snapshot { progress: json!(finished), ..Snapshot::of(checkpoint.clone()) }.write(&work.unfinished)?;
                saved = Instant::now();
            }
            began = Instant::now();
            work.go_on()
        };
        self.method.prune(&mut checkpoint, &request, calibration, &mut done)?;

        if self.pattern == Pattern::Unstructured {
            postcondition::sparsity_reached(&before, &checkpoint, &self.layers.0, self.sparsity.0, self.method.scope())?;
        }
        postcondition::pattern_held(&checkpoint, &self.layers.0, self.pattern)?;
        postcondition::others_untouched(&before, &checkpoint, &self.layers.0)?;
        postcondition::masks_kept(&before, &checkpoint)?;
        postcondition::all_finite(&checkpoint)?;
        postcondition::something_changed(&before, &checkpoint)?;
        for path in &self.layers.0 {
            let shape = checkpoint.masks.get(path).map_or([0, 0], |mask| [mask.rows(), mask.cols()]);
            work.layer(&checkpoint, path, shape, finished.get(path).and_then(|layer| layer.relative_error));
        }
        Ok(Output::Model(checkpoint))
    }

    fn outline(&self, _: &dyn Inputs, outline: &mut Outline) -> Result<()> {
        self.pattern.check(self.sparsity.0)?;
        outline.prune(&self.layers.0, self.sparsity.0, self.pattern, self.method.scope());
        if self.method.needs_calibration() {
            outline.calibrate(&self.layers.0);
        }
        Ok(())
    }
}

/// What the user should know about a layer.
fn notes(layer: &PrunedLayer) -> impl Iterator<Item = String> {
    layer.notes.iter().map(|note| format!("{}: {note}", layer.path))
}
