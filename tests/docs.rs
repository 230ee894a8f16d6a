//! The recipes in `docs/language.md` and `docs/errors/` are compiled with the real vocabulary.
//!
//! What stands behind ```` ```sq ```` says what a block is: nothing, a whole recipe without a fault; `fails`, a recipe with the fault
//! of its page; `part`, lines that go on from the page's `prelude`; `file=PATH`, a text that later blocks can import; `set=NAME=VALUE`,
//! a value set from outside; `blind`, that nothing is known about models.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sparsec_compiler::{
    Call, Code, Color, Compilation, Facts, Module, Options, Refusal, Severity, SourceSet, StageGraph, compile,
};
use sparsec_runtime::facts::{FileFacts, Files};
use sparsec_runtime::vocabulary::vocabulary;

/// A block of recipe text.
struct Block {
    info: Vec<String>,
    text: String,
}

impl Block {
    fn has(&self, word: &str) -> bool {
        self.info.iter().any(|info| info == word)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.info.iter().find_map(|info| info.strip_prefix(key))
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    let recipes = fenced.filter_map(|fenced| fenced.split_once('\n')).filter(|(info, _)| info.split(' ').next() == Some("sq"));
    recipes
        .map(|(info, text)| Block { info: info.split(' ').skip(1).map(str::to_owned).collect(), text: format!("{text}\n") })
        .collect()
}

/// The world of the documents: imports come from the page, the layers from the shipped model, and an epoch has a hundred steps.
struct Library {
    files: FileFacts,
    imports: BTreeMap<String, String>,
    blind: bool,
}

impl Facts for Library {
    fn read(&self, path: &str) -> Result<String, Refusal> {
        self.imports.get(path).cloned().ok_or_else(|| Refusal::new(format!("there is no file `{path}`")))
    }

    fn modules(&self, call: &Call, above: &StageGraph) -> Result<Option<Vec<Module>>, Refusal> {
        if self.blind { Ok(None) } else { self.files.modules(call, above) }
    }

    fn steps_per_epoch(&self, _: &Call, _: &StageGraph) -> Result<Option<u64>, Refusal> {
        Ok(Some(100))
    }
}

fn compiled(block: &Block, text: String, imports: &BTreeMap<String, String>) -> Compilation {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/page.sq");
    let files = FileFacts::new(Files::of(&recipe, false));
    let world = Library { files, imports: imports.clone(), blind: block.has("blind") };
    let set = block.value("set=").and_then(|set| set.split_once('='));
    let sets = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    compile(SourceSet::new("page.sq", text), vocabulary(), &world, &Options { sets, outside_paths: false })
}

/// Compiles every block of a page, and says for each one that is not as it should be what came out.
fn faults(name: &str, page: &str, code: Option<Code>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut imports = BTreeMap::new();
    let mut prelude = String::new();
    for block in blocks(page) {
        if let Some(path) = block.value("file=") {
            imports.insert(path.to_owned(), block.text);
            continue;
        }
        let text = if block.has("part") { format!("{prelude}{}", block.text) } else { block.text.clone() };
        if block.has("prelude") {
            prelude.clone_from(&block.text);
        }
        let compilation = compiled(&block, text, &imports);
        // A part shows how something is written; not everything in it is used.
        let counts = |severity| severity == Severity::Error || !(block.has("part") || block.has("prelude"));
        let found: Vec<Code> = compilation
            .diagnostics
            .iter()
            .filter(|diagnostic| counts(diagnostic.severity))
            .map(|diagnostic| diagnostic.code)
            .collect();
        let right = if block.has("fails") {
            found.iter().all(|found| Some(*found) == code) && !found.is_empty()
        } else {
            found.is_empty()
        };
        if !right {
            faults.push(format!("{name}:\n{}\n{}", block.text, compilation.rendered(Color::Off)));
        }
    }
    faults
}

#[test]
fn the_page_of_every_code_fails_with_that_code_and_is_mended() {
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let blocks = blocks(code.page());
        let (fails, mended) =
            (blocks.iter().any(|block| block.has("fails")), blocks.last().is_some_and(|block| !block.has("fails")));
        assert!(fails && mended, "the page of {code} shows a mistake and how it is mended");
        wrong.extend(faults(code.as_str(), code.page(), Some(*code)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_recipe_of_the_language_page_compiles() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md")).unwrap();
    assert!(blocks(&page).len() > 10);
    let wrong = faults("language.md", &page, None);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
