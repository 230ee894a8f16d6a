//! The rules of the house: who knows what, which way dependencies point, where `unsafe` lives, and that documents name real files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sparsec_runtime::vocabulary::vocabulary;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file with this extension below `folder`, seen from the repository's root.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What was built is not the repository's.
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The lines of a Rust file that are code, up to its tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    lines.map(|(number, line)| (number + 1, line.trim())).filter(|(_, line)| !line.starts_with("//"))
}

/// Texts of the compiler that are spelled like a word and mean something else.
const NO_WORDS: [(&str, &str); 2] = [
    // The name of a kind of value, which annotations use.
    ("compiler/src/kind.rs", "dataset"),
    // A tag of the syntax `a` where a schedule may stand.
    ("compiler/src/fingerprint.rs", "constant"),
];

#[test]
fn the_compiler_knows_no_word() {
    let words: BTreeSet<&str> = vocabulary().words().iter().map(|word| word.name.as_str()).collect();
    assert!(words.len() > 30);
    let mut seen = Vec::new();
    for file in files("compiler/src", "rs") {
        let text = read(&file);
        for (number, line) in code(&text) {
            for word in line.split('"').skip(1).step_by(2).filter(|text| words.contains(text)) {
                let known = NO_WORDS.iter().position(|(path, text)| file == Path::new(path) && *text == word);
                seen.push(known.unwrap_or_else(|| panic!("{}:{number} knows `{word}`", file.display())));
            }
        }
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), NO_WORDS.len(), "an exception that is none any more");
}

/// The dependencies of a package, development ones left out.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let mut is_listed = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            is_listed = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("workspace");
        } else if let Some((name, _)) = line.split_once(['.', ' ', '=']).filter(|_| is_listed && !line.starts_with('#')) {
            found.insert(name.to_owned());
        }
    }
    assert!(!found.is_empty(), "{manifest}");
    found
}

#[test]
fn arrows_point_one_way() {
    let ours = ["sparsec-compiler", "sparsec-kernels", "sparsec-runtime"];
    let (terminal, tensors, grammar) = (["clap", "indicatif", "comfy-table"], ["candle-core"], ["pest", "codespan-reporting"]);
    let rules = [
        ("compiler/Cargo.toml", vec![], [&terminal[..], &tensors[..]].concat()),
        ("runtime/kernels/Cargo.toml", vec![], [&terminal[..], &tensors[..], &grammar[..]].concat()),
        ("runtime/Cargo.toml", vec!["sparsec-compiler", "sparsec-kernels"], [&terminal[..], &grammar[..]].concat()),
        ("Cargo.toml", ours.to_vec(), [&tensors[..], &grammar[..]].concat()),
    ];
    for (manifest, uses, never) in rules {
        let found = dependencies(manifest);
        let own: Vec<&str> = ours.into_iter().filter(|name| found.contains(*name)).collect();
        assert_eq!(own, uses, "{manifest}");
        for name in never {
            assert!(!found.contains(name), "{manifest} depends on {name}");
        }
    }
}

/// Where `unsafe` may stand: files, and folders whose files may all.
const UNSAFE: [&str; 15] = [
    // Machine code: pages are made executable, and jumped into.
    "runtime/kernels/src/jit/memory.rs",
    // Vector instructions, and slices whose bounds were checked once for a whole product.
    "runtime/kernels/src/simd.rs",
    "runtime/kernels/src/panel",
    "runtime/kernels/src/operands.rs",
    "runtime/kernels/src/format",
    "runtime/kernels/src/element/int8",
    // Hints to the memory.
    "runtime/kernels/src/prefetch.rs",
    // Memory that begins at a cache line.
    "runtime/kernels/src/buffer.rs",
    // Instructions and clocks of the processor.
    "runtime/kernels/src/cpu/peak.rs",
    "runtime/kernels/src/cpu/read.rs",
    "runtime/kernels/src/tune/clock.rs",
    // Threads that write to parts of one tensor.
    "runtime/src/op",
    // An environment variable, set before there are threads.
    "runtime/src/threads.rs",
    // An option of the allocator, likewise.
    "runtime/src/memory.rs",
    // An allocator that counts.
    "runtime/tests/decode_allocations.rs",
];

#[test]
fn unsafe_has_few_homes() {
    let mut lived_in = BTreeSet::new();
    for folder in ["src", "compiler", "runtime", "examples", "tests"] {
        for file in files(folder, "rs") {
            let text = read(&file);
            let keyword = ["unsafe ", "{"].concat();
            let is_unsafe = |line: &str| {
                line.contains(&keyword) || ["fn ", "impl ", "extern "].iter().any(|what| line.contains(&format!("unsafe {what}")))
            };
            // This file speaks of it.
            if file == Path::new("tests/house.rs") || !text.lines().any(|line| !line.trim().starts_with("//") && is_unsafe(line))
            {
                continue;
            }
            let home = UNSAFE.iter().find(|home| file.starts_with(home));
            lived_in.insert(*home.unwrap_or_else(|| panic!("{} is no home for `unsafe`", file.display())));
        }
    }
    assert_eq!(lived_in.len(), UNSAFE.len(), "homes that nobody needs: {lived_in:?} of {UNSAFE:?}");
}

#[test]
fn documents_name_files_that_are_there() {
    let mut documents = files("docs", "md");
    documents.extend(["README.md", "CONTRIBUTING.md"].map(PathBuf::from));
    let mut named = 0;
    for document in documents {
        let text = read(&document);
        for path in text.split(['`', '(', ')']).filter(|text| !text.contains([' ', '*', '<', '{', '\n'])) {
            let top = ["compiler/", "runtime/", "src/", "docs/", "tests/", "recipes/"];
            let beside = document.parent().unwrap().join(path.split('#').next().unwrap_or_default());
            if path.ends_with(".md") && !path.contains("://") && !root().join(path).exists() {
                assert!(root().join(&beside).exists(), "{}: {path}", document.display());
            } else if top.iter().any(|top| path.starts_with(top)) {
                named += 1;
                assert!(root().join(path).exists(), "{}: {path}", document.display());
            }
        }
    }
    assert!(named > 20, "{named}");
}

/// The page that `sparsec words` prints with these arguments.
fn printed(arguments: &[&str]) -> String {
    let command =
        std::process::Command::new(env!("CARGO_BIN_EXE_sparsec")).arg("words").args(arguments).arg("--markdown").output();
    String::from_utf8(command.expect("the command starts").stdout).expect("the command writes UTF-8")
}

#[test]
fn the_pages_of_the_words_are_what_the_program_prints() {
    let mut pages: BTreeSet<String> = vocabulary().words().iter().map(|word| word.name.clone()).collect();
    for name in &pages {
        assert!(
            read(format!("docs/words/{name}.md")) == printed(&[name]),
            "`sparsec words {name} --markdown > docs/words/{name}.md`"
        );
    }
    assert!(read("docs/words/README.md") == printed(&[]), "`sparsec words --markdown > docs/words/README.md`");
    pages.insert("README".to_owned());
    assert_eq!(files("docs/words", "md").len(), pages.len(), "a page of a word that is none any more");
}
