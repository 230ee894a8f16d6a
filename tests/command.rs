//! The command from outside: exit codes, what goes to stdout and what to stderr.

mod program;

use std::path::Path;
use std::process::Output;

use program::text;

/// Runs `sparsec` in the repository's root.
fn sparsec(arguments: &[&str]) -> Output {
    sparsec_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments)
}

/// Runs `sparsec` in the folder `directory`.
fn sparsec_in(directory: &Path, arguments: &[&str]) -> Output {
    program::sparsec(directory, arguments, b"")
}

/// A recipe in a folder of its own.
fn recipe(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.sq");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

/// The recipes in a folder of the repository.
fn recipes(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path().display().to_string()).filter(|path| path.ends_with(".sq")).collect()
}

/// The kernels that a plan foresees for the last model that has any.
fn foreseen_kernels(output: &Output) -> Vec<serde_json::Value> {
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut kernels = plan["steps"].as_array().unwrap().iter().filter_map(|step| step["foreseen"]["kernels"].as_array());
    kernels.rfind(|kernels| !kernels.is_empty()).expect("a model with pruned layers").clone()
}

/// Their weights are not here, and nobody runs them by accident.
#[test]
fn the_runs_of_the_paper_are_planned_from_configurations_alone() {
    let folder = tempfile::tempdir().unwrap();
    for recipe in recipes("recipes/paper") {
        let output = sparsec_in(folder.path(), &["plan", &recipe]);
        let plan = text(&output.stdout);
        assert!(
            output.status.success() && plan.contains("only `config.json` was read"),
            "{recipe}: {plan}{}",
            text(&output.stderr)
        );
        let output = sparsec_in(folder.path(), &["run", &recipe]);
        assert_eq!(output.status.code(), Some(2), "{recipe}");
        assert!(text(&output.stderr).contains("there is neither model.safetensors nor"), "{recipe}: {}", text(&output.stderr));
    }
    let mpt = recipes("recipes/paper").into_iter().find(|path| path.contains("mpt")).unwrap();
    let output = sparsec_in(folder.path(), &["plan", &mpt, "--set", "sparsity=75%", "--set", "pattern=16:64", "--json"]);
    let kernels = foreseen_kernels(&output);
    let layers: Vec<_> =
        kernels.iter().map(|alike| ["layers", "rows", "cols"].map(|field| alike[field].as_u64().unwrap())).collect();
    assert_eq!(layers, [[32, 12288, 4096], [32, 4096, 4096], [32, 16384, 4096], [32, 4096, 16384]]);
    for alike in &kernels {
        assert_eq!((&alike["element"], &alike["pattern"], &alike["sparsity"]), (&"int8".into(), &"16:64".into(), &0.75.into()));
        let choices = alike["choices"].as_array().unwrap();
        assert!(
            choices.len() == 3 && choices.iter().all(|choice| choice["reason"].as_str().unwrap().contains("not measured yet"))
        );
    }
    for (pattern, sparsity, kept) in
        [("2:4", "50%", true), ("16:32", "50%", true), ("16:64", "75%", true), ("16:64", "50%", false)]
    {
        let (pattern, sparsity) = (format!("pattern={pattern}"), format!("sparsity={sparsity}"));
        let output = sparsec_in(folder.path(), &["plan", &mpt, "--set", &pattern, "--set", &sparsity]);
        assert_eq!(output.status.success(), kept, "{pattern} {sparsity}: {}", text(&output.stderr));
    }
}

#[test]
fn shipped_recipes_have_nothing_wrong() {
    let arguments: Vec<String> =
        ["check".to_owned()].into_iter().chain(recipes("recipes")).chain(recipes("recipes/paper")).collect();
    assert!(arguments.len() >= 10, "{arguments:?}");
    let output = sparsec(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(text(&output.stdout).matches("nothing wrong").count(), arguments.len() - 1);
}

#[test]
fn a_check_counts_what_it_found_and_goes_on_behind_what_it_cannot_read() {
    let (_folder, path) = recipe("edition 2026\na = load(\"recipes\")\nb = lod(\"x\")\n");
    let output = sparsec(&["check", "recipes/whisper.sq", "missing.sq", &path]);
    assert_eq!(output.status.code(), Some(2));
    let lines = text(&output.stdout);
    assert!(lines.contains("whisper.sq: 8 steps, nothing wrong") && lines.contains("recipe.sq: 0 steps, 2 errors"), "{lines}");
    assert!(text(&output.stderr).contains("missing.sq"), "{}", text(&output.stderr));

    let (_folder, warned) = recipe("edition 2026\nparam unused: ratio = 50%\nlet_me = 3 epochs\n");
    let output = sparsec(&["check", &warned]);
    assert!(text(&output.stdout).contains(" 2 warnings") && output.status.success(), "{}", text(&output.stdout));

    let output = sparsec(&["check", "--json", "missing.sq", &path]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(found[0]["error"].as_str().unwrap().contains("cannot read"));
    let diagnostics = found[1]["diagnostics"].as_array().unwrap();
    let unknown = diagnostics.iter().find(|diagnostic| diagnostic["code"] == "unknown-name").unwrap();
    let place = &unknown["primary"];
    assert_eq!((place["source"].as_str(), &place["line"], &place["column"]), (Some(path.as_str()), &3.into(), &5.into()));
}

#[test]
fn a_sound_that_cannot_be_read_keeps_the_others() {
    let (model, sound) = ("recipes/models/whisper-nano", "recipes/data/spoken-numbers/test/00001.ogg");
    let output = sparsec(&["transcribe", model, sound, "missing.wav", sound, "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(said[0]["text"] == said[2]["text"] && said[0]["text"].is_string());
    assert!(said[1]["error"].as_str().unwrap().contains("cannot read") && text(&output.stderr).contains("missing.wav"));
}

#[test]
fn every_mistake_is_reported_at_once_and_the_exit_code_is_2() {
    let (_folder, path) = recipe("edition 2026\na = lod(\"x\")\nb = load(\"x\", famly: whisper)\n");
    for subcommand in ["check", "plan", "run"] {
        let output = sparsec(&[subcommand, &path]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{subcommand}: {errors}");
        assert!(errors.contains("did you mean `load`?") && errors.contains("did you mean `family`?"), "{subcommand}: {errors}");
    }
}

#[test]
fn the_plan_is_json_where_a_program_reads_it() {
    let output = sparsec(&["plan", "recipes/whisper.sq", "--set", "sparsity=80%", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sparsity = plan["params"].as_array().unwrap().iter().find(|param| param["name"] == "sparsity").unwrap();
    assert_eq!(sparsity["origin"], "set");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.len() >= 6);
    assert!(steps.iter().all(|step| step["foreseen"]["why"].is_string() && step["foreseen"]["cached"].is_boolean()));
    let parameters = |step: &serde_json::Value| step["foreseen"]["model"]["parameters"].as_u64();
    assert!(parameters(&steps[0]).unwrap() > 1_000_000);
}

#[test]
fn a_parameter_that_is_not_declared_cannot_be_set() {
    let output = sparsec(&["check", "recipes/whisper.sq", "--set", "sparsty=80%"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `sparsity`?"), "{}", text(&output.stderr));
}

#[test]
fn a_selector_is_resolved_to_layers() {
    let output = sparsec(&["ls", "recipes/whisper.sq", "linear in encoder.layers[0]", "--json"]);
    let layers: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let layers = layers.as_array().unwrap();
    assert_eq!(layers.len(), 6);
    assert!(layers.iter().all(|layer| layer["path"].as_str().unwrap().starts_with("model.encoder.layers.0.")));
    assert!(layers.iter().all(|layer| layer["sparsity"] == 0.0), "a dense model");
    let output = sparsec(&["ls", "recipes/whisper.sq", "linear in encodr"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`encoder`"), "{}", text(&output.stderr));
}

#[test]
fn words_and_codes_explain_themselves() {
    let output = sparsec(&["words", "sparsegpt"]);
    assert!(text(&output.stdout).contains("damping") && output.status.success());
    assert_eq!(sparsec(&["words", "nonsense"]).status.code(), Some(2));
    let output = sparsec(&["explain", "no-layer-matches"]);
    assert!(text(&output.stdout).contains("```") && output.status.success());
    assert_eq!(sparsec(&["explain", "nonsense"]).status.code(), Some(2));
    let pages: serde_json::Value = serde_json::from_slice(&sparsec(&["explain", "--json"]).stdout).expect("JSON");
    assert!(pages.as_array().unwrap().iter().any(|page| page["code"] == "unused" && page["severity"] == "warning"));
}

#[test]
fn missing_files_are_named() {
    let model = "recipes/models/whisper-nano";
    for arguments in [["transcribe", model, "missing.wav"], ["eval", model, "missing.jsonl"]] {
        let output = sparsec(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(arguments[2]), "{}", text(&output.stderr));
    }
    assert_eq!(sparsec(&["inspect", "missing"]).status.code(), Some(2));
    assert_eq!(sparsec(&["check", "missing.sq"]).status.code(), Some(2));
}

#[test]
fn speech_becomes_text() {
    let output = sparsec(&["transcribe", "recipes/models/whisper-nano", "recipes/data/spoken-numbers/test/00004.ogg", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said[0]["text"], "turn the heating to seventy six then pay thirty two euros");
}

/// The kernels of every layer, as JSON tells them.
fn kernels(output: &Output, pointer: &str) -> Vec<[String; 4]> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let records = printed.pointer(pointer).and_then(serde_json::Value::as_array).expect("kernels").clone();
    records.iter().map(|record| ["path", "tokens", "kernel", "reason"].map(|field| record[field].to_string())).collect()
}

#[test]
fn whatever_runs_an_artifact_runs_the_kernels_of_the_report() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let model = recipes.join("models/whisper-nano").display().to_string();
    let (folder, path) = recipe(&format!(
        "edition 2026\ndense = load({model:?})\npruned = prune(dense, layers: linear in encoder, method: magnitude, sparsity: 75%)\n\
         export(pruned, to: \"out\", format: safetensors)\n"
    ));
    let run = |arguments: &[&str]| sparsec_in(folder.path(), arguments);
    let plan = || foreseen_kernels(&run(&["plan", &path, "--allow-outside", "--json"]));
    let chosen_for = |choice: &serde_json::Value| ["format", "reason"].map(|field| choice[field].as_str().unwrap().to_owned());
    let planned = |kernels: &[serde_json::Value]| -> Vec<[String; 2]> {
        kernels.iter().flat_map(|alike| alike["choices"].as_array().unwrap().iter().map(chosen_for)).collect()
    };
    assert!(planned(&plan()).iter().all(|[_, reason]| reason.contains("not measured yet")));
    let reported = kernels(&run(&["run", &path, "--allow-outside", "--json"]), "/models/0/kernels");
    assert!(reported.len() >= 24, "{reported:?}");
    let known = plan();
    assert_eq!(known.iter().map(|alike| alike["layers"].as_u64().unwrap() * 3).sum::<u64>(), reported.len() as u64);
    for [format, reason] in planned(&known) {
        assert_eq!(reason, "fastest in the tuning file");
        assert!(reported.iter().any(|[.., kernel, _]| kernel.trim_matches('"') == format), "{format} in {reported:?}");
    }
    std::fs::copy(recipes.join("data/spoken-numbers/test/00001.ogg"), folder.path().join("a.ogg")).unwrap();
    std::fs::write(folder.path().join("a.jsonl"), "{\"audio\": \"a.ogg\", \"text\": \"a\"}\n").unwrap();
    let chosen = |kernels: &[[String; 4]]| kernels.iter().map(|kernel| kernel[..3].to_vec()).collect::<Vec<_>>();
    for (arguments, pointer) in [
        (&["eval", "out", "a.jsonl", "--json"][..], "/kernels"),
        (&["bench", "out", "--repeats", "1", "--tokens", "1", "--json"], "/layers"),
    ] {
        let ran = kernels(&run(arguments), pointer);
        assert_eq!(chosen(&ran), chosen(&reported), "{arguments:?}");
        assert!(ran.iter().all(|kernel| kernel[3] == "\"fastest in the tuning file\""), "{arguments:?}: {ran:?}");
    }
    std::fs::write(folder.path().join("broken.json"), "{}").unwrap();
    for arguments in [&["transcribe", "out", "a.ogg"][..], &["eval", "out", "a.jsonl"], &["bench", "out"]] {
        let output = run(&[arguments, &["--tuning", "broken.json"]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("broken.json"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_language_that_the_model_does_not_know_is_refused() {
    let (model, sound) = ("recipes/models/whisper-nano", "recipes/data/spoken-numbers/test/00001.ogg");
    let plain = sparsec(&["transcribe", model, sound]);
    let told = sparsec(&["transcribe", model, sound, "--language", "en", "--task", "transcribe"]);
    assert_eq!((told.status.code(), text(&told.stdout)), (Some(0), text(&plain.stdout)), "{}", text(&told.stderr));
    for arguments in [["transcribe", model, sound], ["eval", model, "recipes/data/spoken-numbers/manifest.jsonl"]] {
        let output = sparsec(&[&arguments[..], &["--language", "hi"]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("`language` is `hi`; the model knows <|en|>"), "{}", text(&output.stderr));
    }
}
