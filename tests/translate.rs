//! `sparsec translate` as a user calls it.

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use program::{sparsec, text};

/// A random model of the fixtures.
fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/fixtures").join(name)
}

/// Runs `sparsec translate` on `model` with `input` on its standard input.
fn translate(model: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let model = model.to_str().expect("a path of UTF-8");
    sparsec(Path::new("."), &[&["translate", model], arguments].concat(), input)
}

/// The tokens of every translation.
fn tokens(arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = translate(&model("t5/plain"), &[arguments, &["--json"]].concat(), b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    json.into_iter().map(|mut row| row["tokens"].take()).collect()
}

#[test]
fn texts_are_translated_from_the_command_line_and_line_by_line_from_a_pipe() {
    let texts = ["I have two old dogs.", "", "She reads."];
    let spoken = translate(&model("t5/plain"), &texts, b"");
    let piped = translate(&model("t5/plain"), &[], texts.join("\r\n").as_bytes());
    assert!(spoken.status.success(), "{}", text(&spoken.stderr));
    assert_eq!(text(&spoken.stdout), text(&piped.stdout));
    let lines: Vec<String> = text(&spoken.stdout).split('\n').map(str::to_owned).collect();
    assert!(lines.len() == 4 && !lines[0].is_empty() && lines[1].is_empty(), "{lines:?}");
    let many = translate(&model("t5/plain"), &[], "She reads.\n".repeat(40).as_bytes());
    assert_eq!(text(&many.stdout), format!("{}\n", lines[2]).repeat(40));
}

#[test]
fn beams_and_tasks_change_what_is_found() {
    let texts: Vec<String> =
        serde_json::from_str(&std::fs::read_to_string(model("t5/prompts.json")).unwrap()).expect("a list of texts");
    let with = |flags: &[&str]| tokens(&[&texts.iter().map(String::as_str).collect::<Vec<_>>(), flags].concat());
    let greedy = with(&[]);
    assert!(greedy.len() == 20 && greedy == with(&["--beam", "1"]));
    let beams = with(&["--beam", "5"]);
    assert_ne!(greedy, beams);
    assert_ne!(beams, with(&["--beam", "5", "--length-penalty", "-2"]));
    assert_ne!(greedy, with(&["--task", "translation_en_to_de"]));
}

#[test]
fn what_cannot_be_translated_is_said() {
    let complaint = |name: &str, arguments: &[&str], input: &[u8]| {
        let output = translate(&model(name), arguments, input);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(complaint("t5/plain", &[], b"No.\nf\xFCnf\n").contains("line 2 of standard input is not UTF-8"));
    assert!(complaint("t5/plain", &[&"it is cold ".repeat(60)], b"").contains("of 64 tokens"));
    assert!(complaint("t5/plain", &["No.", "--beam", "2", "--length-penalty", "inf"], b"").contains("a length penalty of inf"));
    assert!(complaint("t5/plain", &["No.", "--task", "sing"], b"").contains("has no `sing`"));
    assert!(complaint("nowhere", &["No."], b"").contains("no such checkpoint folder"));
}
