//! The shipped data is what its READMEs say, and no score on it is too good.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sparsec_runtime::dataset::{Access, Dataset, Jsonl, Rows, Split};
use sparsec_runtime::shelf::InputPath;

/// Data that is heard.
const SPEECH: &str = "spoken-numbers";
/// Data that is read, with the fewest rows that it promises to train on.
const TEXTS: [(&str, usize); 2] = [("english-german", 20_000), ("word-problems", 10_000)];
/// Bytes of the largest data set, and of the largest model.
const LIMIT_BYTES: u64 = 8 << 20;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(path)
}

/// The splits of the shipped data set `name`, with the column `text` as their text.
fn splits(name: &str, text: &str) -> Vec<(String, Rows)> {
    let source = (name != SPEECH).then(|| "source".to_owned());
    let jsonl = Jsonl { path: InputPath(String::new()), audio: None, source, text: text.to_owned(), split: "split".to_owned() };
    let path = shipped("data").join(name).join("manifest.jsonl");
    Rows::open(&jsonl, &path, Access::Folder).unwrap().split(&Split::Column, 0).unwrap()
}

fn all() -> impl Iterator<Item = &'static str> {
    std::iter::once(SPEECH).chain(TEXTS.iter().map(|(name, _)| *name))
}

/// Fails if two splits share a text.
fn assert_disjoint(splits: &[(String, Rows)], of: &str) {
    for (at, (name, rows)) in splits.iter().enumerate() {
        for (other, other_rows) in &splits[..at] {
            assert_eq!(rows.shared_sentences(other_rows), 0, "{of}: {name} and {other}");
        }
    }
}

/// How many different texts there are.
fn distinct(rows: &Rows) -> usize {
    (0..rows.len()).map(|row| rows.text(row)).collect::<BTreeSet<_>>().len()
}

#[test]
fn no_text_is_in_two_splits() {
    for name in all() {
        assert_disjoint(&splits(name, "text"), name);
    }
}

#[test]
fn no_question_is_in_two_splits_or_twice_in_one() {
    for (name, _) in TEXTS {
        let splits = splits(name, "source");
        assert_disjoint(&splits, name);
        for (split, rows) in &splits {
            assert_eq!(distinct(rows), rows.len(), "{name}: {split}");
        }
    }
}

#[test]
fn held_out_templates_are_nowhere_else_and_the_others_are_in_training() {
    for (name, _) in TEXTS {
        let splits = splits(name, "template");
        let rows = |wanted: &str| &splits.iter().find(|(split, _)| split == wanted).unwrap().1;
        for other in ["train", "valid", "test"] {
            assert_eq!(rows("test_templates").shared_sentences(rows(other)), 0, "{name}: {other}");
        }
        assert_eq!(rows("test").shared_sentences(rows("train")), distinct(rows("test")), "{name}");
    }
}

#[test]
fn there_is_enough_to_learn_from_and_little_to_download() {
    for (name, fewest) in TEXTS {
        let splits = splits(name, "text");
        let train = splits.iter().find(|(split, _)| split == "train").unwrap();
        assert!(train.1.len() >= fewest, "{name}");
        assert!(shipped("data").join(name).join("manifest.jsonl").metadata().unwrap().len() < LIMIT_BYTES, "{name}");
    }
    for model in std::fs::read_dir(shipped("models")).unwrap() {
        let files = std::fs::read_dir(model.unwrap().path()).unwrap();
        assert!(files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>() < LIMIT_BYTES);
    }
}

/// A worked answer ends with the number that its last computation yields.
#[test]
fn answers_end_with_what_they_compute() {
    for (split, rows) in splits("word-problems", "text") {
        for row in 0..rows.len() {
            let (steps, result) = rows.text(row).rsplit_once("\n#### ").expect("a result");
            let last = steps.lines().last().and_then(|step| step.split(" = ").last()).unwrap();
            let computed: String = last.chars().take_while(char::is_ascii_digit).collect();
            assert_eq!(computed, result, "{split}: {}", rows.text(row));
        }
    }
}

#[test]
fn the_tables_of_the_readmes_count_what_is_there() {
    for name in all() {
        let readme = std::fs::read_to_string(shipped("data").join(name).join("README.md")).unwrap();
        let lines = readme.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let cells = lines.map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>());
        let mut table: Vec<Vec<String>> = cells.filter(|cells| cells[0] != "Split").collect();
        table.sort();
        let mut counted: Vec<Vec<String>> = splits(name, "text")
            .into_iter()
            .map(|(split, rows)| {
                let words = (0..rows.len()).map(|row| rows.text(row).split_whitespace().count()).sum();
                vec![split, with_commas(rows.len()), with_commas(words)]
            })
            .collect();
        counted.sort();
        assert_eq!(table, counted, "{name}: as README.md says, and as manifest.jsonl has it");
    }
}

fn with_commas(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    }
}
