//! The table, and what stages promise: whoever breaks a promise, the stage fails.

use std::path::Path;

use candle_core::{Device, Tensor};
use sparsec_compiler::StepRef;

use super::*;
use crate::pruner::{Calibration, Magnitude, Pattern, PrunedLayer, Pruner, Request, Scope};
use crate::quantizer::{Activations, Quantizer, Rtn, Scheme, W8A8};
use crate::run::Silent;
use crate::schedule::{Ratios, Schedule, StageLength};
use crate::shelf::{Layers, Ratio};
use crate::train::GradualPruning;
use crate::vocabulary::vocabulary;

/// A layer with a mask, `[64, 32]`.
const LAYER: &str = "model.encoder.layers.0.fc1";
/// A layer without, `[32, 64]`.
const OTHER: &str = "model.encoder.layers.0.fc2";

/// What breaks a promise.
type Spoil = fn(&mut Checkpoint);

#[test]
fn a_stage_is_called_like_its_file() {
    for stage in &STAGES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/stage/{}.rs", stage.name));
        assert!(file.exists(), "{}", stage.name);
        assert_eq!((stage.word)().name, stage.name);
    }
}

/// Files enter a key by what a stage makes of them, and what is kept is not made again.
#[test]
fn what_reads_files_is_not_kept() {
    let reads = |word: &Word| word.params.iter().any(|param| param.kind == Kind::InputPath);
    let readers = STAGES.iter().filter(|stage| {
        let word = (stage.word)();
        let takes =
            |method: &&Word| matches!(method.kind, Kind::Method(_)) && word.params.iter().any(|param| param.kind == method.kind);
        reads(&word) || vocabulary().words().iter().filter(takes).any(reads)
    });
    let readers: Vec<(&str, bool)> = readers.map(|stage| (stage.name, stage.kept)).collect();
    assert_eq!(readers, [("load", false), ("initialize", false), ("dataset", false)]);
}

/// What a stage finds above it: a model.
struct Above(Checkpoint);

impl Inputs for Above {
    fn model(&self, _: StepId) -> Result<Checkpoint> {
        Ok(self.0.clone())
    }

    fn data(&self, _: StepId, _: Option<&str>) -> Result<Rows> {
        Err(Fault::internal("there is no data"))
    }

    fn held_out(&self) -> Option<Rows> {
        None
    }

    fn files(&self) -> &Files {
        unreachable!("no stage here reads a file")
    }

    fn output(&self, _: &str) -> Result<PathBuf> {
        Err(Fault::internal("there is nothing to write"))
    }

    fn provenance(&self, _: StepId) -> Provenance {
        Provenance::default()
    }
}

/// A small Whisper whose layer [`LAYER`] has lost a quarter of its weights.
fn model() -> Checkpoint {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/whisper/plain");
    let mut checkpoint = Checkpoint::read(&fixture).unwrap();
    Magnitude { scope: Scope::Uniform }.prune(&mut checkpoint, &request(0.25), None, &mut |_, _| Ok(())).unwrap();
    checkpoint
}

fn request(sparsity: f64) -> Request<'static> {
    static LAYERS: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| vec![LAYER.to_owned()]);
    Request { layers: &LAYERS, sparsity, pattern: Pattern::Unstructured }
}

fn model_ref() -> ModelRef {
    ModelRef(serde_json::from_value::<StepRef>(serde_json::json!({"step": 0, "field": null})).unwrap())
}

/// The weight of [`LAYER`], changed.
fn change(checkpoint: &mut Checkpoint, change: impl FnOnce(&mut [f32])) {
    let name = crate::weight::name(LAYER);
    let parameter = &checkpoint.tensors[&name];
    let (mut values, shape) = (parameter.values().unwrap(), parameter.dims().to_vec());
    change(&mut values);
    checkpoint.tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap().into());
}

fn run(stage: &impl Stage) -> Result<Output> {
    run_in(stage, tempfile::tempdir().unwrap().path())
}

/// Runs a stage that keeps its state in `folder`.
fn run_in(stage: &impl Stage, folder: &Path) -> Result<Output> {
    let (above, unfinished) = (Above(model()), folder.join("unfinished"));
    stage.run(&mut Work {
        inputs: &above,
        events: &mut Silent,
        interrupted: &AtomicBool::new(false),
        save_every: crate::run::SAVE_EVERY,
        unfinished,
        record: StageRecord::default(),
    })
}

fn broken(stage: &impl Stage) -> String {
    let Err(fault) = run(stage) else { panic!("a broken promise went unnoticed") };
    assert_eq!(fault.kind, FaultKind::Running, "{fault}");
    fault.message
}

/// A pruner that does as it is told, and then something to the model.
struct Spoiled(Spoil);

impl std::fmt::Debug for Spoiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("spoiled")
    }
}

impl Pruner for Spoiled {
    fn needs_calibration(&self) -> bool {
        false
    }

    fn prune(
        &self,
        checkpoint: &mut Checkpoint,
        request: &Request<'_>,
        calibration: Option<&mut dyn Calibration>,
        done: &mut dyn FnMut(&Checkpoint, &[PrunedLayer]) -> Result<()>,
    ) -> Result<()> {
        Magnitude { scope: Scope::Uniform }.prune(checkpoint, request, calibration, done)?;
        (self.0)(checkpoint);
        Ok(())
    }
}

/// A pruner that takes its time for a layer, and is killed in the next.
#[derive(Debug)]
struct Slow;

impl Pruner for Slow {
    fn needs_calibration(&self) -> bool {
        false
    }

    fn prune(
        &self,
        checkpoint: &mut Checkpoint,
        request: &Request<'_>,
        _: Option<&mut dyn Calibration>,
        done: &mut dyn FnMut(&Checkpoint, &[PrunedLayer]) -> Result<()>,
    ) -> Result<()> {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let (path, notes) = (request.layers[0].clone(), vec!["slowly".to_owned()]);
        done(checkpoint, &[PrunedLayer { path, sparsity: 0.25, relative_error: Some(0.25), notes }])?;
        Err(Fault::running("killed"))
    }
}

#[test]
fn what_took_long_to_prune_is_saved_at_once_with_all_that_was_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let prune = Prune {
        model: model_ref(),
        layers: Layers(vec![LAYER.to_owned(), OTHER.to_owned()]),
        method: std::sync::Arc::new(Slow),
        calibration: None,
        pattern: Pattern::Unstructured,
        sparsity: Ratio(0.25),
    };
    assert!(run_in(&prune, folder.path()).is_err_and(|fault| fault.message == "killed"));
    let saved = Snapshot::read(&folder.path().join("unfinished")).expect("a state");
    let layer = &saved.progress[LAYER];
    assert_eq!((layer["relative_error"].as_f64(), layer["notes"][0].as_str()), (Some(0.25), Some("slowly")));
    assert!(saved.progress.get(OTHER).is_none());
}

#[test]
fn pruning_promises_sparsity_masks_and_finite_numbers() {
    let prune = |sparsity: f64, spoil: Spoil| Prune {
        model: model_ref(),
        layers: Layers(vec![LAYER.to_owned()]),
        method: std::sync::Arc::new(Spoiled(spoil)),
        calibration: None,
        pattern: Pattern::Unstructured,
        sparsity: Ratio(sparsity),
    };
    let cases: [(f64, Spoil, &str); 6] = [
        (0.5, |checkpoint| *checkpoint = model(), "were to be removed"),
        (0.5, |checkpoint| checkpoint.masks.clear(), "was to be pruned and has no mask"),
        (0.5, |checkpoint| change(checkpoint, |values| values.fill(1.0)), "are not zero"),
        (0.5, |checkpoint| change(checkpoint, |values| *kept(values) = f32::NAN), "values that are not finite"),
        (0.25, |_| {}, "changed no tensor"),
        (
            0.25,
            |checkpoint| drop(checkpoint.masks.insert(LAYER.to_owned(), crate::Mask::from_fn(64, 32, |row, _| row >= 16))),
            "came back",
        ),
    ];
    for (sparsity, spoil, message) in cases {
        let found = broken(&prune(sparsity, spoil));
        assert!(found.contains(message), "{found} instead of {message}");
    }
    run(&prune(0.5, |_| {})).expect("nothing is spoiled");
}

/// A weight that is not zero.
fn kept(values: &mut [f32]) -> &mut f32 {
    values.iter_mut().find(|value| **value != 0.0).expect("not all are removed")
}

/// A scheme that does as it is told, and then something to the model.
struct SpoiledScheme(Spoil);

impl std::fmt::Debug for SpoiledScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("spoiled")
    }
}

impl Scheme for SpoiledScheme {
    fn apply(
        &self,
        checkpoint: &mut Checkpoint,
        layers: &[String],
        quantizer: &dyn Quantizer,
        done: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        W8A8 { activations: Activations::Dynamic }.apply(checkpoint, layers, quantizer, done)?;
        (self.0)(checkpoint);
        Ok(())
    }
}

#[test]
fn quantizing_promises_masks_finite_scales_and_every_layer() {
    let quantize = |spoil: Spoil| Quantize {
        model: model_ref(),
        layers: Layers(vec![LAYER.to_owned(), OTHER.to_owned()]),
        scheme: std::sync::Arc::new(SpoiledScheme(spoil)),
        method: std::sync::Arc::new(Rtn {}),
    };
    let cases: [(Spoil, &str); 5] = [
        (|checkpoint| weight(checkpoint, LAYER).values = vec![1; 64 * 32].into(), "are not zero"),
        (|checkpoint| checkpoint.masks.clear(), "came back"),
        (|checkpoint| weight(checkpoint, OTHER).scales = vec![f32::INFINITY; 32].into(), "are not finite"),
        (|checkpoint| *checkpoint = model(), "changed no tensor"),
        (|checkpoint| drop(checkpoint.quantized.remove(OTHER)), "was to be quantized and was not"),
    ];
    for (spoil, message) in cases {
        let found = broken(&quantize(spoil));
        assert!(found.contains(message), "{found} instead of {message}");
    }
    run(&quantize(|_| {})).expect("nothing is spoiled");
}

fn weight<'a>(checkpoint: &'a mut Checkpoint, path: &str) -> &'a mut crate::checkpoint::QuantizedWeight {
    checkpoint.quantized.get_mut(path).expect("it was quantized")
}

#[test]
fn training_promises_masks_finite_numbers_and_the_sparsity_of_its_schedule() {
    let length = StageLength { steps: 4, steps_per_epoch: 4 };
    let pruning = GradualPruning {
        layers: vec![LAYER.to_owned()],
        method: std::sync::Arc::new(Magnitude { scope: Scope::Uniform }),
        sparsity: Ratios(Schedule::constant(0.25)),
        every: 1,
    };
    let trained = |spoil: Spoil| {
        let mut after = model();
        change(&mut after, |values| *kept(values) += 1.0);
        spoil(&mut after);
        Finetune::check(&model(), &after, Some(&pruning), length)
    };
    let cases: [(Spoil, &str); 4] = [
        (|checkpoint| checkpoint.masks.clear(), "came back"),
        (|checkpoint| change(checkpoint, |values| values.fill(1.0)), "are not zero"),
        (|checkpoint| change(checkpoint, |values| *kept(values) = f32::NAN), "values that are not finite"),
        (|checkpoint| *checkpoint = model(), "changed no tensor"),
    ];
    for (spoil, message) in cases {
        let found = trained(spoil).unwrap_err().message;
        assert!(found.contains(message), "{found} instead of {message}");
    }
    trained(|_| {}).expect("nothing is spoiled");
    let more = GradualPruning { sparsity: Ratios(Schedule::constant(0.5)), ..pruning.clone() };
    let mut after = model();
    change(&mut after, |values| *kept(values) += 1.0);
    assert!(Finetune::check(&model(), &after, Some(&more), length).unwrap_err().message.contains("were to be removed"));
}
