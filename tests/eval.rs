//! `sparsec eval` of models that read, as a user calls it; `run.rs` has one that hears.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use program::{sparsec, text};
use serde_json::{Value, json};

/// A random model of the fixtures.
fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tests/fixtures").join(name)
}

/// Runs `sparsec eval` in `folder`.
fn eval(folder: &Path, model: &Path, arguments: &[&str]) -> Output {
    sparsec(folder, &[&["eval", model.to_str().expect("a path of UTF-8")], arguments].concat(), b"")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The values of the scores, by name.
fn values(found: &Value) -> Vec<(String, f64)> {
    let scores = found["scores"].as_array().unwrap().iter();
    scores.map(|score| (score["metric"].as_str().unwrap().to_owned(), score["value"].as_f64().unwrap())).collect()
}

/// Sources, and what `model` says to them.
fn said(folder: &Path, model: &Path, sources: &[&str]) -> Vec<(String, String)> {
    write(folder, "asked.jsonl", sources.iter().map(|source| json!({ "source": source, "text": "a" })));
    let found = json(&eval(folder, model, &["asked.jsonl", "--metric", "cer", "--json"]));
    let rows = found["rows"].as_array().unwrap().iter().map(|row| row["hypothesis"].as_str().unwrap().to_owned());
    sources.iter().map(|source| (*source).to_owned()).zip(rows).collect()
}

fn write(folder: &Path, name: &str, rows: impl Iterator<Item = Value>) {
    fs::write(folder.join(name), rows.map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

const SOURCES: [&str; 5] = ["I have two old dogs.", "She reads.", "It is cold.", "Who is there?", "the quick brown"];

#[test]
fn what_a_model_says_itself_scores_best_and_everything_is_asked_for_at_once() {
    for (name, usual) in [("t5/plain", "bleu"), ("mpt/plain", "perplexity")] {
        let (folder, model) = (tempfile::tempdir().unwrap(), model(name));
        let own = said(folder.path(), &model, &SOURCES);
        write(folder.path(), "own.jsonl", own.iter().map(|(en, de)| json!({ "en": en, "de": de, "split": "test" })));
        let columns = ["--source", "en", "--text", "de", "--json"];
        let asked = ["bleu", "chrf", "exact_match(answer: whole)"];
        let flags: Vec<&str> = asked.iter().flat_map(|metric| ["--metric", metric]).collect();
        let found = json(&eval(folder.path(), &model, &[&["own.jsonl"], &columns[..], &flags].concat()));
        let scores = values(&found);
        assert_eq!(scores.iter().map(|(metric, _)| metric.as_str()).collect::<Vec<_>>(), asked, "{name}");
        assert!(scores.iter().all(|(_, value)| (value - 1.0).abs() < 1e-9), "{name}: {scores:?}");
        for (row, (_, said)) in found["rows"].as_array().unwrap().iter().zip(&own) {
            assert_eq!(*row, json!({ "reference": said, "hypothesis": said }), "{name}");
        }

        // One other answer: four of five are right. A TSV says the same as a JSONL.
        let changed = own.iter().enumerate().map(|(at, (en, de))| if at == 2 { (en, "quiet") } else { (en, de.as_str()) });
        let tsv: String = changed.clone().map(|(en, de)| format!("{en}\t{de}\n")).collect();
        fs::write(folder.path().join("changed.tsv"), format!("source\ttext\n{tsv}")).unwrap();
        write(folder.path(), "changed.jsonl", changed.map(|(en, de)| json!({ "source": en, "text": de })));
        let scored = |manifest: &str| json(&eval(folder.path(), &model, &[manifest, "--metric", asked[2], "--json"]));
        let (found, of_lines) = (scored("changed.tsv"), scored("changed.jsonl"));
        assert_eq!(found["rows"], of_lines["rows"], "{name}");
        let score = ["value", "low", "high"].map(|field| found["scores"][0][field].as_f64().unwrap());
        assert!((score[0] - 0.8).abs() < 1e-9 && score[1] < 0.8 && score[2] > 0.8, "{name}: {score:?}");

        // The perplexity is that of all tokens together.
        let found = json(&eval(folder.path(), &model, &["asked.jsonl", "--metric", "perplexity", "--json"]));
        let rows = found["rows"].as_array().unwrap();
        let sum = |field: &str| rows.iter().map(|row| row[field].as_f64().unwrap()).sum::<f64>();
        let expected = (sum("negative_log_likelihood") / sum("tokens")).exp();
        assert!((values(&found)[0].1 / expected - 1.0).abs() < 1e-9 && expected > 1.0, "{name}: {found}");
        assert!(rows.len() == 5 && rows.iter().all(|row| row["hypothesis"].is_null()), "{name}: nothing had to be said");

        let plain = eval(folder.path(), &model, &["asked.jsonl"]);
        let line = text(&plain.stdout);
        assert!(line.starts_with(&format!("{usual} ")) && line.trim_end().ends_with("), 5 rows"), "{name}: {line}");
    }
}

#[test]
fn what_cannot_be_scored_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.jsonl", SOURCES.iter().map(|source| json!({ "source": source, "text": "a", "split": "test" })));
    let complaint = |model: &Path, arguments: &[&str]| {
        let output = eval(folder.path(), model, &[&["a.jsonl"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
        text(&output.stderr)
    };
    let (t5, whisper) = (model("t5/plain"), Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/models/whisper-nano"));
    for (arguments, parts) in [
        (&["--metric", "blue"][..], ["no metric `blue`", "`bleu`"]),
        (&["--metric", "wer(normalise: none)"], ["`normalise`", "did you mean `normalize`?"]),
        (&["--source", "en"], ["`en` is missing", "`source`"]),
        (&["--audio", "sound"], ["hears no sound", "`--audio`"]),
        (&["--split", "train"], ["no split `train`", "`test`"]),
        (&["--task", "sing"], ["has no `sing`", "task"]),
    ] {
        let wrong = complaint(&t5, arguments);
        parts.iter().for_each(|part| assert!(wrong.contains(part), "{part}: {wrong}"));
    }
    assert!(complaint(&whisper, &["--source", "source"]).contains("reads no source text"));
    assert!(complaint(&whisper, &[]).contains("`audio` is missing"));
    let long = json!({ "source": "a", "text": "x".repeat(400) });
    write(folder.path(), "a.jsonl", [json!({ "source": "a", "text": "a" }), long].into_iter());
    let wrong = complaint(&model("mpt/plain"), &[]);
    assert!(wrong.contains("of 48 tokens") && wrong.contains("line 2 of a.jsonl"), "{wrong}");
}
