//! `sparsec run` from outside, on a tiny model: exit codes, the files it leaves, and what programs read.

mod program;
#[path = "../runtime/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use program::text;
use serde_json::Value;

/// A working directory with a model, sounds and the recipe `tiny.sq`.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        support::furnish(folder.path());
        fs::write(folder.path().join("tiny.sq"), recipe).unwrap();
        Self { folder }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn sparsec(&self, arguments: &[&str]) -> Output {
        sparsec(self.folder.path(), arguments)
    }

    /// What a subcommand prints as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.sparsec(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }
}

fn sparsec(folder: &Path, arguments: &[&str]) -> Output {
    program::sparsec(folder, arguments, b"")
}

/// The exit code, and what stands on stderr.
fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_run_leaves_what_it_says_and_then_there_is_nothing_to_do() {
    let place = Place::new(&support::recipe("sparsegpt", "75%", "900"));
    let first = place.sparsec(&["run", "tiny.sq"]);
    let (code, progress) = ended(&first);
    assert_eq!(code, Some(0), "{progress}");
    for stage in ["dense (load)", "speech (dataset)", "pruned (prune)", "healed (finetune)", "int8 (quantize)"] {
        assert!(progress.contains(stage), "{stage}: {progress}");
    }
    let table = text(&first.stdout);
    for row in ["wer, speech.test", "bytes on disk", "peak resident memory", "encoder latency", "require wer(int8"] {
        assert!(table.contains(row), "{row}: {table}");
    }
    assert!(!table.contains("not measured"), "{table}");
    assert!(progress.contains("measuring size, memory and speed 2/2 models"), "{progress}");
    for file in ["config.json", "model.safetensors", "sparsec.json", "tokenizer.json"] {
        assert!(place.path("out/tiny").join(file).is_file(), "{file}");
    }
    let report = fs::read(place.path("out/tiny.report.json")).unwrap();
    assert!(fs::read_to_string(place.path("out/tiny.report.html")).unwrap().ends_with("</html>"));

    let again = place.sparsec(&["run", "tiny.sq"]);
    assert_eq!(ended(&again).0, Some(0));
    assert!(text(&again.stdout).contains("nothing to do"), "{}", text(&again.stdout));
    let printed = place.json(&["run", "tiny.sq", "--json"]);
    assert_eq!(printed, serde_json::from_slice::<Value>(&report).unwrap(), "the report of the first run");

    let scoring = ended(&place.sparsec(&["eval", "out/tiny", "manifest.jsonl"])).1;
    assert!(scoring.contains("scoring 8/8 rows"), "{scoring}");
    let score = place.json(&["eval", "out/tiny", "manifest.jsonl", "--json"]);
    assert_eq!((score["scores"][0]["rows"].as_u64(), score["rows"].as_array().unwrap().len()), (Some(8), 8));
    let bench = place.json(&["bench", "out/tiny", "--repeats", "1", "--tokens", "2", "--json"]);
    assert!(!bench["layers"].as_array().unwrap().is_empty() && bench["models"].as_array().unwrap().len() == 2);
    let kernels =
        ["bench", "kernels", "--shapes", "24x40,16x16", "--tokens", "3", "--sparsity", "50%,75", "--elements", "fp32,int8"];
    let kernels = place.json(&[&kernels[..], &["--rounds", "1", "--seconds", "0", "--json"]].concat());
    assert_eq!((kernels["reports"].as_array().unwrap().len(), kernels["summary"].as_array().unwrap().len()), (8, 4));
    assert!(kernels["limits"][0]["gflops"].as_f64().unwrap() > 0.0);
    let model = place.json(&["bench", "model", "out/tiny", "--repeats", "1", "--tokens", "2", "--json"]);
    assert_eq!(model["models"][1]["name"], "sparse int8");
    assert!(model["models"][1]["token"]["linear"]["bytes"].as_u64() < model["models"][0]["token"]["linear"]["bytes"].as_u64());
    assert!(!model["kernels"]["dense fp32"].as_array().unwrap().is_empty());
    let inspected = place.json(&["inspect", "out/tiny", "--json"]);
    let int8 = inspected["layers"].as_array().unwrap().iter().filter(|layer| layer["element"] == "int8");
    assert!(int8.count() >= 8);
    assert!(place.json(&["doctor", "--json"])["cpu"]["model"].is_string());
    assert!(!place.json(&["words", "--json"]).as_array().unwrap().is_empty());
}

#[test]
fn an_impossible_bar_is_missed_and_nothing_is_exported() {
    let place = Place::new(&support::recipe("magnitude", "90%", "-5000"));
    let output = place.sparsec(&["run", "tiny.sq"]);
    let (code, progress) = ended(&output);
    assert_eq!(code, Some(1), "{progress}");
    let table = text(&output.stdout);
    assert!(table.contains("MISSED") && table.contains("held back  out/tiny"), "{table}");
    assert!(!place.path("out/tiny").exists());
}

#[test]
fn a_checkpoint_cut_short_is_named_and_the_exit_code_is_2() {
    let place = Place::new(&support::recipe("magnitude", "50%", "900"));
    let weights = place.path("model/model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let (code, errors) = ended(&place.sparsec(&["run", "tiny.sq"]));
    assert!(code == Some(2) && errors.contains("model.safetensors"), "{code:?}: {errors}");
    assert!(!place.path(".sparsec/stages").exists(), "nothing was begun");
}

/// Hours later, the author of a recipe still wants to see which line of it failed.
#[test]
fn a_stage_that_fails_is_underlined_in_the_recipe() {
    let place = Place::new(
        "edition 2026\ndense = load(\"model\")\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
         tuned = finetune(dense, data: speech, loss: task, optimizer: adamw(rate: 1e30), for: 9 steps)\n\
         export(tuned, to: \"out/tiny\", format: safetensors)\n",
    );
    let (code, errors) = ended(&place.sparsec(&["run", "tiny.sq"]));
    assert_eq!(code, Some(3), "{errors}");
    let shown: Vec<&str> = errors.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    assert!(shown[0].contains("at step"), "{errors}");
    assert!(shown[1].contains("tiny.sq:4:9") && shown[3].starts_with("4 │ tuned = finetune("), "{errors}");
    assert!(shown[4].contains("^^^^^^^^ while this was executed"), "{errors}");
    assert!(shown.iter().any(|line| line.contains("= help: use a smaller learning rate")), "{errors}");
}

#[test]
fn a_folder_that_cannot_be_written_is_the_environment() {
    let place = Place::new(&support::recipe("magnitude", "50%", "900"));
    fs::write(place.path("file"), "").unwrap();
    let (code, errors) = ended(&place.sparsec(&["run", "tiny.sq", "--directory", "file"]));
    assert!(code == Some(4) && errors.contains("cannot write this"), "{code:?}: {errors}");
}

/// What is in the way of an export is found before the first stage, not after the last.
#[test]
fn a_target_that_is_taken_is_found_before_anything_runs() {
    let place = Place::new(&support::recipe("magnitude", "50%", "900"));
    fs::create_dir_all(place.path("out/tiny")).unwrap();
    fs::write(place.path("out/tiny/thesis.txt"), "three years").unwrap();
    let (code, errors) = ended(&place.sparsec(&["run", "tiny.sq"]));
    assert!(code == Some(2) && errors.contains("did not write"), "{code:?}: {errors}");
    assert!(!place.path(".sparsec/stages").exists() && !errors.contains("[1/"), "{errors}");
}

/// The names of all subcommands, as `--help` lists them.
fn subcommands() -> Vec<String> {
    let help = text(&sparsec(Path::new("."), &["--help"]).stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_subcommand_has_an_example_and_no_path_leads_nowhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = ["recipes/whisper.sq", "recipes/t5.sq", "recipes/mpt.sq"].map(|recipe| {
        let plan: Value = serde_json::from_slice(&sparsec(root, &["plan", recipe, "--json"]).stdout).unwrap();
        let written: Vec<&str> = plan["steps"].as_array().unwrap().iter().filter_map(output_path).collect();
        assert_eq!(written.len(), 1, "{recipe}");
        written[0].to_owned()
    });

    let names = subcommands();
    assert!(names.len() >= 11, "{names:?}");
    let mut pages = vec![("README.md".to_owned(), fs::read_to_string(root.join("README.md")).unwrap())];
    for name in &names {
        let help = text(&sparsec(root, &[name, "--help"]).stdout);
        assert!(help.contains("Example") && help.contains(&format!("sparsec {name}")), "{name}: {help}");
        pages.push((name.clone(), help));
    }
    let files = |folder: &String| [folder.clone(), format!("{folder}.report.json"), format!("{folder}.report.html")];
    let known: Vec<String> = written.iter().flat_map(files).collect();
    let mut found = 0;
    for (page, text) in &pages {
        let paths = text.split(|c: char| c.is_whitespace() || "`'()[]|,;".contains(c));
        for path in paths.filter(|path| path.starts_with("out/")) {
            found += 1;
            assert!(known.iter().any(|known| known == path.trim_end_matches('.')), "{page}: {path} is not one of {known:?}");
        }
        for path in text.split_whitespace().filter(|path| path.starts_with("recipes/") && !path.contains('*')) {
            assert!(root.join(path.trim_matches(|c: char| "`'.,;)".contains(c))).exists(), "{page}: {path}");
        }
    }
    assert!(found >= 6, "{found}");
}

/// The path that a step of a plan writes.
fn output_path(step: &Value) -> Option<&str> {
    let arguments = step["task"]["stage"]["call"]["arguments"].as_array()?;
    arguments.iter().find_map(|argument| argument["value"]["output_path"].as_str())
}
