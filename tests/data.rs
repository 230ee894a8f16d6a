//! The shipped speech is what its README says, and no score on it is too good.

use std::path::Path;

use sparsec_runtime::dataset::{Access, Dataset, Jsonl, Rows, Split};
use sparsec_runtime::shelf::InputPath;

const FOLDER: &str = "recipes/data/spoken-numbers";

/// The splits of the shipped manifest.
fn splits() -> Vec<(String, Rows)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join("manifest.jsonl");
    let (text, split) = ("text".to_owned(), "split".to_owned());
    let jsonl = Jsonl { path: InputPath(String::new()), audio: None, source: None, text, split };
    Rows::open(&jsonl, &path, Access::Folder).unwrap().split(&Split::Column, 0).unwrap()
}

#[test]
fn no_sentence_is_in_two_splits() {
    let splits = splits();
    assert_eq!(splits.len(), 3);
    for (at, (name, rows)) in splits.iter().enumerate() {
        for (other, other_rows) in &splits[..at] {
            assert_eq!(rows.shared_sentences(other_rows), 0, "{name} and {other}");
        }
    }
}

#[test]
fn the_table_of_the_readme_counts_what_is_there() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join("README.md")).unwrap();
    let lines = readme.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    let mut table: Vec<Vec<String>> = cells.filter(|cells| cells[0] != "Split").collect();
    table.sort();
    let with_commas = |count: usize| match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    };
    let counted: Vec<Vec<String>> = splits()
        .into_iter()
        .map(|(name, rows)| {
            let words = (0..rows.len()).map(|row| rows.text(row).split_whitespace().count()).sum();
            vec![name, with_commas(rows.len()), with_commas(words)]
        })
        .collect();
    assert_eq!(table, counted, "as README.md says, and as manifest.jsonl has it");
}
