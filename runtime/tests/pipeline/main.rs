//! The whole way from a recipe to an artifact, on a tiny random Whisper and a few tones, in seconds.

#[path = "../support/mod.rs"]
mod support;

mod inputs;
mod kernels;
mod mpt;
mod scores;
mod translation;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sparsec_compiler::{Color, Compilation, SourceSet, compile};
use sparsec_runtime::facts::{FileFacts, Files};
use sparsec_runtime::report::Bar;
use sparsec_runtime::run::{Event, Events, Failure, Foreseen, Options, Outcome, SAVE_EVERY, Silent, execute, foresee};
use sparsec_runtime::vocabulary::vocabulary;
use sparsec_runtime::{Checkpoint, FaultKind};

use support::{recipe, tone};

/// A working directory with a model, sounds and a recipe.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self::furnished(support::furnish)
    }

    fn furnished(furnish: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        furnish(folder.path());
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn compile(&self, recipe: &str) -> Compilation {
        let path = self.path().join("tiny.sq");
        let facts = FileFacts::new(Files::of(&path, false));
        let sources = SourceSet::new("tiny.sq", recipe);
        let compilation = compile(sources, vocabulary(), &facts, &sparsec_compiler::Options::default());
        assert!(!compilation.has_errors(), "{}", compilation.rendered(Color::Off));
        compilation
    }

    fn run(&self, recipe: &str, change: impl FnOnce(&mut Options<'_>), events: &mut dyn Events) -> Result<Outcome, Failure> {
        let compilation = self.compile(recipe);
        let interrupted = AtomicBool::new(false);
        let mut options = self.options(&compilation, &interrupted);
        change(&mut options);
        execute(&compilation.plan, &options, events)
    }

    /// Runs the recipe until something happens, and then interrupts it.
    fn stop(&self, recipe: &str, at: impl Fn(Event<'_>) -> bool) {
        let compilation = self.compile(recipe);
        let flag = AtomicBool::new(false);
        let mut listen = |event: Event<'_>| flag.store(flag.load(Ordering::SeqCst) || at(event), Ordering::SeqCst);
        let failure = execute(&compilation.plan, &self.options(&compilation, &flag), &mut listen).unwrap_err();
        assert_eq!(failure.fault.kind, FaultKind::Interrupted, "{}", failure.fault);
        assert!(failure.span.is_some());
        assert!(!self.artifact().exists());
    }

    fn options<'a>(&self, compilation: &'a Compilation, interrupted: &'a AtomicBool) -> Options<'a> {
        Options {
            sources: &compilation.sources,
            files: Files::of(&self.path().join("tiny.sq"), false),
            directory: self.path().join("work"),
            anywhere: false,
            fresh: false,
            despite_bars: false,
            save_every: SAVE_EVERY,
            code_cache: None,
            tuning: None,
            interrupted,
            peak_memory: &|_, _| None,
        }
    }

    fn artifact(&self) -> PathBuf {
        self.path().join("work/out/tiny")
    }

    /// Every file of the artifact.
    fn artifact_bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.artifact()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect()
    }
}

#[test]
fn a_recipe_becomes_an_artifact_and_a_report_and_then_there_is_nothing_to_do() {
    let place = Place::new();
    let text = recipe("sparsegpt", "75%", "900");
    let mut seen = Vec::new();
    let mut listen = |event: Event<'_>| {
        if let Event::Done { record, .. } = event {
            seen.push((record.name.clone(), record.reused));
        }
    };
    let outcome = place.run(&text, |_| {}, &mut listen).unwrap();
    assert!(!outcome.nothing_to_do && !outcome.is_bar_missed());
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert!(["dense", "speech", "pruned", "healed", "int8"].iter().all(|name| names.contains(name)), "{names:?}");

    let report = &outcome.report;
    let models: Vec<&str> = report.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(models, ["dense", "int8"]);
    assert!(report.models[0].sparsity == 0.0 && (report.models[1].sparsity - 0.75).abs() < 0.01);
    assert!(report.models[1].bytes_on_disk > 0 && report.models.iter().all(|model| model.encoder_ms.is_some()));
    assert_eq!(report.models[1].scores[0].data, "speech.test");
    assert_eq!(report.requires[0].text, "wer(int8, speech.test) <= wer(dense, speech.test) + 900 points");
    let healed = report.stages.iter().find(|stage| stage.name == "healed").unwrap();
    let curves: Vec<&str> = healed.losses.iter().map(|curve| curve.name.as_str()).collect();
    assert_eq!(curves, ["kl", "squarehead", "task", "total"]);
    assert_eq!(healed.losses[0].points.len(), 6);
    assert!(outcome.files.iter().all(|file| file.is_file()));

    let artifact = Checkpoint::read(&place.artifact()).unwrap();
    assert!(artifact.quantized.len() >= 8 && artifact.masks.len() == artifact.quantized.len());

    let commented = format!("// a remark\n{text}");
    let again = place.run(&commented, |_| {}, &mut Silent).unwrap();
    assert!(again.nothing_to_do);
    assert_eq!(again.report.stages.len(), report.stages.len());

    fs::remove_file(place.artifact().join("config.json")).unwrap();
    let mended = place.run(&text, |_| {}, &mut Silent).unwrap();
    assert!(!mended.nothing_to_do && place.artifact().join("config.json").is_file());
    let reused: Vec<&str> = mended.report.stages.iter().filter(|stage| stage.reused).map(|stage| stage.name.as_str()).collect();
    assert!(["pruned", "healed", "int8"].iter().all(|name| reused.contains(name)), "{reused:?}");
}

/// Whatever takes long says how far it is: files, layers, steps, rows, and what the report measures.
#[test]
fn all_that_takes_long_tells_how_far_it_is() {
    let place = Place::new();
    let mut told: Vec<(String, String)> = Vec::new();
    let mut doing = String::new();
    let mut listen = |event: Event<'_>| match event {
        Event::Stage { name, .. } => doing = name.to_owned(),
        Event::Measuring => doing = "report".to_owned(),
        Event::Progress { done, total, unit } => {
            assert!(done <= total);
            told.push((doing.clone(), unit.to_owned()));
        }
        _ => {}
    };
    let outcome = place.run(&recipe("sparsegpt", "75%", "900"), |_| {}, &mut listen).unwrap();
    let bar = outcome.report.stages.iter().find(|stage| stage.word == "require").unwrap().name.clone();
    let expected = [
        ("speech", "files"),
        ("pruned", "layers"),
        ("healed", "steps"),
        ("int8", "layers"),
        (bar.as_str(), "layers compiled"),
        (bar.as_str(), "rows"),
        ("report", "models"),
        ("report", "layers compiled"),
        ("report", "runs"),
    ];
    for (stage, unit) in expected {
        assert!(told.iter().any(|(told, of)| told == stage && of == unit), "{stage} says nothing about {unit}: {told:?}");
    }
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bits() {
    let text = recipe("magnitude(scope: global)", "60%", "900");
    let (straight, stopped) = (Place::new(), Place::new());
    straight.run(&text, |_| {}, &mut Silent).unwrap();

    for stop_at in [2, 5] {
        stopped.stop(&text, |event| matches!(event, Event::Losses { step, .. } if step == stop_at));
    }
    let mut steps = Vec::new();
    let mut listen = |event: Event<'_>| {
        if let Event::Losses { step, .. } = event {
            steps.push(step);
        }
    };
    let outcome = stopped.run(&text, |_| {}, &mut listen).unwrap();
    assert_eq!(steps, [6], "it goes on behind the last step that was done");
    assert_eq!(stopped.artifact_bytes(), straight.artifact_bytes());
    let healed = outcome.report.stages.iter().find(|stage| stage.name == "healed").unwrap();
    assert_eq!(healed.losses[0].points.len(), 6, "losses before the interruption are kept");
    assert!(!stopped.path().join("work/.sparsec/work").read_dir().unwrap().any(|_| true), "nothing unfinished is left");
}

#[test]
fn an_interrupted_pruning_goes_on_behind_the_last_block() {
    let text = recipe("sparsegpt", "60%", "90000");
    let (straight, stopped) = (Place::new(), Place::new());
    let errors = |outcome: &Outcome| {
        let pruned = outcome.report.stages.iter().find(|stage| stage.name == "pruned").unwrap();
        pruned.layers.iter().map(|layer| format!("{} {:.6e}", layer.path, layer.relative_error.unwrap())).collect::<Vec<_>>()
    };
    let expected = errors(&straight.run(&text, |_| {}, &mut Silent).unwrap());
    let mut done_first = 0;
    stopped.stop(&text, |event| matches!(event, Event::Progress { unit: "layers", .. }));
    let mut listen = |event: Event<'_>| {
        if let Event::Progress { done, unit: "layers", .. } = event
            && done_first == 0
        {
            done_first = done;
        }
    };
    let outcome = stopped.run(&text, |_| {}, &mut listen).unwrap();
    assert_eq!(done_first as usize, expected.len(), "only the second of two blocks is left");
    assert_eq!(stopped.artifact_bytes(), straight.artifact_bytes());
    assert_eq!(errors(&outcome), expected, "what was found out about the first block is kept");
    let pruned = outcome.report.stages.iter().find(|stage| stage.name == "pruned").unwrap();
    assert!(pruned.notes.iter().any(|note| note.starts_with("going on behind the 6 layers")), "{:?}", pruned.notes);
}

#[test]
fn a_model_that_begins_anew_is_known_by_what_is_read_of_its_folder() {
    let place = Place::new();
    let text = "edition 2026\nfresh = initialize(\"model\", seed: 3)\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
        tuned = finetune(fresh, data: speech, loss: task, optimizer: adamw(rate: 1e-3), for: 2 steps)\n\
        export(tuned, to: \"out/tiny\", format: safetensors)\n";
    place.run(text, |_| {}, &mut Silent).unwrap();
    let model = place.path().join("model");
    fs::remove_file(model.join("model.safetensors")).unwrap();
    fs::write(model.join("notes.txt"), "not read").unwrap();
    assert!(place.run(text, |_| {}, &mut Silent).unwrap().nothing_to_do);
    fs::rename(&model, place.path().join("moved")).unwrap();
    assert!(place.run(&text.replace("\"model\"", "\"moved\""), |_| {}, &mut Silent).unwrap().nothing_to_do);
    fs::rename(place.path().join("moved"), &model).unwrap();
    let generation = fs::read_to_string(model.join("generation_config.json")).unwrap();
    fs::write(model.join("generation_config.json"), generation + "\n").unwrap();
    assert!(!place.run(text, |_| {}, &mut Silent).unwrap().nothing_to_do);
}

#[test]
fn an_artifact_is_compared_by_its_logits_where_there_are_rows() {
    let place = Place::new();
    let pruned = "edition 2026\ndense = load(\"model\")\n\
        pruned = prune(dense, layers: linear in encoder, method: magnitude, sparsity: 50%)\n\
        export(pruned, to: \"out/tiny\", format: safetensors)\n";
    let notes = |recipe: &str| {
        let report = place.run(recipe, |options| options.fresh = true, &mut Silent).unwrap().report;
        report.stages.iter().find(|stage| stage.word == "export").unwrap().notes.len()
    };
    assert_eq!(notes(pruned), 1, "that there are none is said");
    let with_rows = pruned
        .replace("dense =", "speech = dataset(jsonl(\"manifest.jsonl\"))\ndense =")
        .replace("method: magnitude", "method: sparsegpt, calibration: take(speech, 2 rows)");
    assert_eq!(notes(&with_rows), 0);
}

/// Cuts a file to half its length.
fn cut_short(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn what_is_damaged_is_made_again_and_that_is_said() {
    let place = Place::new();
    let text = recipe("sparsegpt", "60%", "90000");
    place.run(&text, |_| {}, &mut Silent).unwrap();
    let artifact = place.artifact_bytes();
    let stages = fs::read_dir(place.path().join("work/.sparsec/stages")).unwrap();
    let stages: Vec<PathBuf> = stages.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(stages.len(), 3);
    for file in ["model.safetensors", "sparsec.masks.safetensors", "tokenizer.json", "record.json"] {
        stages.iter().for_each(|stage| cut_short(&stage.join(file)));
        let mut notes = Vec::new();
        let mut listen = |event: Event<'_>| {
            if let Event::Note(note) = event {
                notes.extend(note.contains("is damaged, and made again").then(|| note.contains(file)));
            }
        };
        let outcome = place.run(&text, |_| {}, &mut listen).unwrap();
        assert_eq!(notes, [true, true, true], "{file}");
        assert!(!outcome.nothing_to_do);
        assert_eq!(place.artifact_bytes(), artifact);
    }
    fs::remove_file(stages[0].join("record.json")).unwrap();
    assert!(!place.run(&text, |_| {}, &mut Silent).unwrap().nothing_to_do);
    assert!(place.run(&text, |_| {}, &mut Silent).unwrap().nothing_to_do);
}

/// Bytes of the numbers in a safetensors file.
fn bytes_of_tensors(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes.len() as u64 - 8 - header
}

#[test]
fn a_plan_says_what_is_finished_why_and_how_large_it_becomes() {
    let place = Place::new();
    let look = |text: &str| -> BTreeMap<String, Foreseen> {
        let compilation = place.compile(text);
        let flag = AtomicBool::new(false);
        let foreseen = foresee(&compilation.plan, &place.options(&compilation, &flag), &mut Silent).unwrap();
        assert_eq!(foreseen.len(), compilation.plan.steps.len());
        compilation.plan.steps.iter().map(|step| step.call().map_or("bar", |call| &call.word).to_owned()).zip(foreseen).collect()
    };
    let text = recipe("sparsegpt", "75%", "900");
    let before = look(&text);
    assert!(!place.path().join("work").exists(), "looking makes nothing");
    assert!(before["prune"].why.contains("never finished") && before["finetune"].why.contains("`pruned` above it"));
    assert!(before.values().all(|step| !step.cached), "{before:?}");

    place.run(&text, |_| {}, &mut Silent).unwrap();
    let after = look(&text);
    for step in ["prune", "finetune", "quantize", "bar", "export"] {
        assert!(after[step].cached, "{step}: {}", after[step].why);
    }
    assert!(after["load"].why.contains("every run") && !after["load"].cached);
    let files = ["model.safetensors", "sparsec.masks.safetensors"].map(|file| bytes_of_tensors(&place.artifact().join(file)));
    let (dense, small) = (before["load"].model.unwrap(), before["export"].model.unwrap());
    assert_eq!(small.bytes, files.iter().sum::<u64>(), "bytes are known before anything runs");
    assert_eq!(dense.bytes, bytes_of_tensors(&place.path().join("model/model.safetensors")));
    assert!(dense.parameters == small.parameters && small.kept < dense.kept);
    // Weights and two moments of each parameter, and copies of them while the state is saved.
    let memory = |step: &str| before[step].memory.unwrap();
    assert_eq!((memory("load").models, memory("finetune").work), (dense.bytes, 24 * dense.parameters));
    assert!(memory("finetune").per_token > 0 && memory("prune").work > 0 && memory("export").work == 0);
    assert!(
        memory("finetune").models > memory("prune").models + dense.bytes && memory("quantize").models > memory("finetune").models
    );
    let kernels = |foreseen: &BTreeMap<String, Foreseen>, step: &str| {
        foreseen[step].kernels.iter().map(|alike| alike.layers).sum::<usize>()
    };
    assert!(kernels(&before, "quantize") > 0 && kernels(&before, "quantize") == kernels(&after, "quantize"));
    assert_eq!((kernels(&after, "load"), kernels(&after, "finetune")), (0, 0), "what is dense, or nobody scores or exports");

    let changed = look(&recipe("sparsegpt", "60%", "900"));
    assert!(changed["prune"].why.contains("other arguments") && changed["finetune"].why.contains("`pruned`"));
    fs::remove_file(place.artifact().join("config.json")).unwrap();
    assert!(look(&text)["export"].why.contains("changed or removed"));
}

#[test]
fn a_saved_state_that_is_damaged_is_not_gone_on_from() {
    let text = recipe("sparsegpt", "60%", "900");
    let (straight, stopped) = (Place::new(), Place::new());
    straight.run(&text, |_| {}, &mut Silent).unwrap();
    let in_pruning = |event: Event<'_>| matches!(event, Event::Progress { unit: "layers", .. });
    let in_training = |event: Event<'_>| matches!(event, Event::Losses { step: 2, .. });
    for (stage, at) in [("pruned", &in_pruning as &dyn Fn(Event<'_>) -> bool), ("healed", &in_training)] {
        stopped.stop(&text, at);
        let saved = fs::read_dir(stopped.path().join("work/.sparsec/work")).unwrap().next().expect("a state").unwrap().path();
        cut_short(&saved);
        let mut began_anew = false;
        let mut doing = String::new();
        let mut listen = |event: Event<'_>| match event {
            Event::Stage { name, .. } => doing = name.to_owned(),
            Event::Note(note) => began_anew |= doing == stage && note.contains("begins anew"),
            _ => {}
        };
        let flag = AtomicBool::new(false);
        let mut until = |event: Event<'_>| {
            listen(event);
            let is_done = matches!(event, Event::Done { record, .. } if record.name == "pruned");
            flag.fetch_or(stage == "pruned" && is_done, Ordering::SeqCst);
        };
        let compilation = stopped.compile(&text);
        let ended = execute(&compilation.plan, &stopped.options(&compilation, &flag), &mut until);
        assert!(began_anew && ended.is_ok() == (stage == "healed"), "{stage}");
    }
    assert_eq!(stopped.artifact_bytes(), straight.artifact_bytes());
}

#[test]
fn a_report_is_whole_again_after_the_next_run() {
    let place = Place::new();
    let text = recipe("magnitude", "50%", "900");
    let outcome = place.run(&text, |_| {}, &mut Silent).unwrap();
    let of_the_run = |name: &str| outcome.files.iter().find(|file| file.ends_with(name)).unwrap();
    let page = fs::read(of_the_run("report.html")).unwrap();
    // As a kill leaves it between the two files.
    fs::remove_file(of_the_run("report.html")).unwrap();
    let again = place.run(&text, |_| {}, &mut Silent).unwrap();
    assert!(again.nothing_to_do, "figures that were measured are not measured again");
    assert_eq!(fs::read(of_the_run("report.html")).unwrap(), page);
    fs::remove_file(of_the_run("report.json")).unwrap();
    assert!(!place.run(&text, |_| {}, &mut Silent).unwrap().nothing_to_do);
    assert!(outcome.files.iter().all(|file| file.is_file()));
}

#[test]
fn scoring_goes_on_behind_the_last_batch_and_measuring_can_be_stopped() {
    let place = Place::new();
    let rows: String = (0..40).map(|row| format!("{{\"audio\": \"{}.wav\", \"text\": \"row {row}\"}}\n", row % 8)).collect();
    fs::write(place.path().join("many.jsonl"), rows).unwrap();
    let text = "edition 2026\ndense = load(\"model\")\nspeech = dataset(jsonl(\"many.jsonl\"))\n\
        pruned = prune(dense, layers: linear in encoder, method: magnitude, sparsity: 50%)\n\
        require wer(pruned, speech) <= wer(dense, speech) + 900 points\nexport(pruned, to: \"out/tiny\", format: safetensors)\n";
    let scored = |event: Event<'_>| matches!(event, Event::Progress { unit: "rows", .. });
    let mut seen = Vec::new();
    for _ in 0..2 {
        place.stop(text, scored);
    }
    let mut measuring = false;
    let flag = AtomicBool::new(false);
    let mut listen = |event: Event<'_>| match event {
        Event::Progress { done, unit: "rows", .. } => seen.push(done),
        Event::Measuring => measuring = true,
        Event::Progress { .. } if measuring => flag.store(true, Ordering::SeqCst),
        _ => {}
    };
    let compilation = place.compile(text);
    let failure = execute(&compilation.plan, &place.options(&compilation, &flag), &mut listen).unwrap_err();
    assert_eq!(failure.fault.kind, FaultKind::Interrupted);
    assert_eq!(seen, [40, 16, 32, 40], "the first model has one batch left, the second begins");
    let outcome = place.run(text, |_| {}, &mut |event: Event<'_>| assert!(!scored(event))).unwrap();
    assert_eq!(outcome.report.models.len(), 2);
}

#[test]
fn a_missed_bar_holds_the_export_back_unless_told_otherwise() {
    let place = Place::new();
    let text = recipe("magnitude", "90%", "-5000");
    let outcome = place.run(&text, |_| {}, &mut Silent).unwrap();
    assert!(outcome.is_bar_missed());
    assert_eq!(outcome.report.requires[0].outcome, Bar::Missed);
    assert!(outcome.report.exports[0].held_back.is_some() && !place.artifact().exists());
    let outcome = place.run(&text, |options| options.despite_bars = true, &mut Silent).unwrap();
    assert!(outcome.is_bar_missed() && place.artifact().exists());
    assert!(outcome.report.exports[0].held_back.is_none());
}

#[test]
fn weights_go_little_by_little_while_a_model_learns() {
    let place = Place::new();
    let text = r#"
edition 2026
dense  = load("model")
speech = dataset(jsonl("manifest.jsonl"))
slow = finetune(dense,
  teacher: dense, data: speech, loss: task, batch: 4 rows, accumulate: 2, for: 5 epochs,
  optimizer: adamw(rate: 1e-3),
  prune: gradual(linear in encoder, method: magnitude, sparsity: cubic(0% to 80%, for: 60%) then hold(80%), every: 2 steps),
)
export(slow, to: "out/tiny", format: safetensors)
"#;
    let outcome = place.run(text, |_| {}, &mut Silent).unwrap();
    let model = outcome.report.models.iter().find(|model| model.name == "slow").unwrap();
    assert!((model.sparsity - 0.8).abs() < 0.01, "{}", model.sparsity);
    let slow = outcome.report.stages.iter().find(|stage| stage.name == "slow").unwrap();
    let sparsity = slow.schedules.iter().find(|curve| curve.name == "sparsity").unwrap();
    assert_eq!((sparsity.points[0].1, sparsity.points[4].1), (0.0, 0.8));
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let place = Place::new();
    let state = sparsec_runtime::run::State::open(&place.path().join("work")).unwrap();
    let failure = place.run(&recipe("magnitude", "50%", "900"), |_| {}, &mut Silent).unwrap_err();
    assert_eq!(failure.fault.kind, FaultKind::Environment);
    drop(state);
}

#[test]
fn a_stage_without_effect_and_a_rate_that_is_too_high_are_faults() {
    let place = Place::new();
    let dense = "edition 2026\ndense = load(\"model\")\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n";
    let tune = |rate: &str| {
        format!(
            "{dense}tuned = finetune(dense, data: speech, loss: task, optimizer: adamw(rate: {rate}), for: 12 steps)\nexport(tuned, to: \"out/tiny\", format: safetensors)\n"
        )
    };
    let failure = place.run(&tune("0"), |_| {}, &mut Silent).unwrap_err();
    assert_eq!(failure.fault.kind, FaultKind::Running);
    assert!(failure.fault.message.contains("changed no tensor"), "{}", failure.fault);
    let blind = tune("1e-3").replace("loss: task", "teacher: dense, loss: squarehead");
    let failure = place.run(&blind, |_| {}, &mut Silent).unwrap_err();
    assert_eq!(failure.fault.kind, FaultKind::Input);
    assert!(failure.fault.message.contains("no gradient reached 2 parameters"), "{}", failure.fault);
    let failure = place.run(&tune("1e30"), |_| {}, &mut Silent).unwrap_err();
    assert_eq!(failure.fault.kind, FaultKind::Running);
    assert!(failure.fault.message.contains("at step"), "{}", failure.fault);
    assert!(!place.artifact().exists());
}

#[test]
fn a_ladder_of_sparsities_is_climbed_rung_by_rung() {
    let place = Place::new();
    let text = r#"
edition 2026
dense  = load("model")
speech = dataset(jsonl("manifest.jsonl"))
def rung(model: model, sparsity: ratio) -> model =
  finetune(
    prune(model, layers: linear in (encoder | decoder) except output_head, method: sparsegpt, calibration: take(speech, 2 rows), sparsity: sparsity),
    teacher: dense, data: speech, loss: task + squarehead, optimizer: adamw(rate: 1e-3), batch: 4 rows, for: 2 steps,
  )
ladder = staged(dense, at: [50%, 67%, 75%], step: rung)
export(ladder, to: "out/tiny", format: safetensors)
"#;
    let outcome = place.run(text, |_| {}, &mut Silent).unwrap();
    let stages = place.path().join("work/.sparsec/stages");
    let kept: BTreeMap<String, Checkpoint> = fs::read_dir(stages)
        .unwrap()
        .map(|entry| {
            let folder = entry.unwrap().path();
            let record: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("record.json")).unwrap()).unwrap();
            (record["name"].as_str().unwrap().to_owned(), Checkpoint::read(&folder).unwrap())
        })
        .collect();
    let rungs: Vec<_> =
        outcome.report.stages.iter().filter(|stage| ["prune", "finetune"].contains(&stage.word.as_str())).collect();
    assert_eq!(rungs.iter().map(|stage| stage.word.as_str()).collect::<Vec<_>>(), ["prune", "finetune"].repeat(3));
    let mut below: Option<&Checkpoint> = None;
    for (stage, sparsity) in rungs.iter().zip([0.5, 0.5, 0.67, 0.67, 0.75, 0.75]) {
        let model = &kept[&stage.name];
        assert!(model.masks.len() >= 8);
        for (path, mask) in &model.masks {
            let weights = mask.rows() * mask.cols();
            assert_eq!(weights - mask.kept(), (weights as f64 * sparsity).round() as usize, "{path} of {}", stage.name);
            if let Some(below) = below {
                assert!(below.masks[path].contains(mask), "{path} of {} has a weight that was gone", stage.name);
            }
        }
        below = Some(model);
    }
    let exported = Checkpoint::read(&place.artifact()).unwrap();
    assert_eq!(
        exported.content_hash().unwrap(),
        below.unwrap().content_hash().unwrap(),
        "the top of the ladder is what is exported"
    );
}

#[test]
fn an_optimizer_that_never_forgets_is_refused() {
    let place = Place::new();
    for beta in ["beta1", "beta2"] {
        let text = format!(
            "edition 2026\ndense = load(\"model\")\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
             tuned = finetune(dense, data: speech, loss: task, optimizer: adamw(rate: 1e-3, {beta}: 1), for: 1 step)\n\
             export(tuned, to: \"out\", format: safetensors)\n"
        );
        let facts = FileFacts::new(Files::of(&place.path().join("tiny.sq"), false));
        let compilation = compile(SourceSet::new("tiny.sq", text), vocabulary(), &facts, &sparsec_compiler::Options::default());
        assert!(
            compilation.has_errors() && compilation.rendered(Color::Off).contains(beta),
            "a division by zero in the first step"
        );
    }
}
