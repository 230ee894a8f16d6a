//! `sparsec generate` as a user calls it.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use program::{sparsec, text};

/// The random MPT of the fixtures.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/fixtures/mpt/plain")
}

/// Runs `sparsec generate` on `model` with `input` on its standard input.
fn generate(model: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let model = model.to_str().expect("a path of UTF-8");
    sparsec(Path::new("."), &[&["generate", model], arguments].concat(), input)
}

/// What it says to `arguments` as JSON.
fn said(arguments: &[&str]) -> serde_json::Value {
    let output = generate(&model(), &[arguments, &["--json"]].concat(), b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_prompt_is_continued_from_the_command_line_and_from_a_pipe() {
    let prompt = "the quick\nbrown";
    let spoken = generate(&model(), &["--prompt", prompt, "--max-tokens", "12"], b"");
    let piped = generate(&model(), &["--max-tokens", "12"], format!("{prompt}\n").as_bytes());
    assert!(spoken.status.success() && spoken.stdout == piped.stdout);
    let json = said(&["--prompt", prompt, "--prompt", "", "--max-tokens", "12"]);
    assert_eq!(format!("{}\n", json[0]["text"].as_str().unwrap()), text(&spoken.stdout));
    assert_eq!((&json[0]["prompt"], &json[0]["tokens"], &json[0]["ended"]), (&prompt.into(), &12.into(), &"length".into()));
    assert_eq!(json.as_array().unwrap().len(), 2, "an empty prompt is one");
}

#[test]
fn draws_repeat_by_seed_and_a_stop_string_ends_the_text() {
    let draw = |seed: &str| said(&["--prompt", "a", "--temperature", "2", "--top-k", "40", "--top-p", "0.9", "--seed", seed]);
    assert!(draw("1") == draw("1") && draw("1") != draw("2"));
    assert_ne!(said(&["--prompt", "a", "--top-p", "0.9"]), said(&["--prompt", "a"]), "a share alone draws");
    let whole = said(&["--prompt", "a"])[0]["text"].as_str().unwrap().to_owned();
    let stop: String = whole.chars().skip(2).take(1).collect();
    let cut = said(&["--prompt", "a", "--stop", &stop]);
    assert_eq!((cut[0]["text"].as_str().unwrap(), &cut[0]["ended"]), (&whole[..whole.find(&stop).unwrap()], &"stop".into()));
}

/// A run that must fail, with its complaint.
fn complaint(model: &Path, arguments: &[&str], input: &[u8]) -> String {
    let output = generate(model, arguments, input);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    text(&output.stderr)
}

#[test]
fn what_cannot_be_continued_is_said_with_what_to_do() {
    let long = "x".repeat(48);
    let wrong = complaint(&model(), &["--prompt", &long], b"");
    assert!(
        wrong.contains("a prompt of 48 tokens leaves no room in a model that reads 48") && wrong.contains("shorten"),
        "{wrong}"
    );
    let wrong = complaint(&model(), &[], b"abc\xFFdef");
    assert!(wrong.contains("standard input is no UTF-8 text: byte 4"), "{wrong}");
    assert!(complaint(&model(), &["--prompt", "a", "--temperature", "-1"], b"").contains("not above 0"));
    assert!(complaint(&model(), &["--prompt", "a", "--temperature", "0", "--top-k", "3"], b"").contains("temperature of 0"));
    let whisper = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/models/whisper-nano");
    let wrong = complaint(&whisper, &["--prompt", "a"], b"");
    assert!(wrong.contains("does not continue texts") && wrong.contains("MPT"), "{wrong}");
}

#[test]
fn checkpoints_that_are_not_whole_are_named_file_by_file() {
    let copy = |fixture: &str| {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(model().with_file_name(fixture)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        folder
    };
    let sharded = copy("odd");
    fs::remove_file(sharded.path().join("model-00002-of-00002.safetensors")).unwrap();
    let wrong = complaint(sharded.path(), &["--prompt", "a"], b"");
    assert!(wrong.contains("model-00002-of-00002.safetensors"), "{wrong}");
    let wrong = complaint(copy("odd").path(), &["--prompt", "a"], b"");
    assert!(wrong.contains("no tokenizer.json"), "{wrong}");
    let other = copy("plain");
    let strange = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/models/whisper-nano/tokenizer.json");
    fs::copy(strange, other.path().join("tokenizer.json")).unwrap();
    let wrong = complaint(other.path(), &["--prompt", "a"], b"");
    assert!(wrong.contains("this tokenizer has") && wrong.contains("do not belong together"), "{wrong}");
    let config = other.path().join("config.json");
    let changed = fs::read_to_string(&config).unwrap().replace("\"qk_ln\": false", "\"qk_ln\": true");
    fs::write(&config, changed).unwrap();
    let wrong = complaint(other.path(), &["--prompt", "a"], b"");
    assert!(wrong.contains("`attn_config.qk_ln` is true") && wrong.contains("config.json"), "{wrong}");
}
