//! Tree and vocabulary to recipe: every name looked up, every word found, kinds and units made to agree.
//!
//! One mistake is reported once: what cannot be understood gets the kind [`Kind::Unknown`], which fits everywhere.

mod arguments;
mod arithmetic;
mod expression;
mod import;
mod names;
mod statement;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::facts::{Facts, NoFacts};
use crate::kind::{Kind, Shelf};
use crate::recipe::{Bounds, File, Item, Recipe};
use crate::source::{SourceSet, Span};
use crate::syntax::{Name, Syntax, parse_value, parse_value_at};
use crate::vocabulary::{Presence, Vocabulary};

/// Checks a recipe and reads what it imports; imported texts and values set from outside join `sources`.
pub fn check(
    syntax: &Syntax,
    sources: &mut SourceSet,
    vocabulary: &Vocabulary,
    facts: &dyn Facts,
    sets: &[(String, String)],
) -> (Recipe, Vec<Diagnostic>) {
    let mut checker = Checker::new(sources, vocabulary, facts);
    checker.sets = sets;
    let edition = checker.file(syntax, None, "");
    checker.unknown_sets();
    checker.unused();
    (Recipe { edition, files: checker.files }, checker.diagnostics.into_sorted())
}

/// What the parameters of the words say wrongly about themselves: a sentence for each.
pub(crate) fn contradictions(vocabulary: &Vocabulary) -> Vec<String> {
    let mut wrong = Vec::new();
    for word in vocabulary.words() {
        for param in &word.params {
            let kind = param.kind.with_element(&Kind::Unknown);
            let texts = match &param.presence {
                Presence::Default(text) => vec![text],
                _ => Vec::new(),
            };
            for text in texts {
                let mut sources = SourceSet::new("default", text.as_str());
                let root = sources.root();
                let mut diagnostics = Diagnostics::default();
                let expr = parse_value(&sources, root, &mut diagnostics);
                let mut checker = Checker::new(&mut sources, vocabulary, &NoFacts);
                checker.diagnostics = diagnostics;
                if let Some(expr) = expr {
                    checker.expr(&expr, Wanted { kind: &kind, place: &param.name });
                }
                let found = checker.diagnostics.into_sorted();
                wrong.extend(
                    found
                        .iter()
                        .map(|diagnostic| format!("`{}`, default of `{}`: {}", word.name, param.name, diagnostic.message)),
                );
            }
            if let Some(text) = &param.range
                && bounds_of(text, &kind).is_none()
            {
                wrong.push(format!("`{}`, range of `{}`: `{text}` is not a range of {kind}", word.name, param.name));
            }
        }
    }
    wrong
}

/// A range such as `0%..95%` of a parameter of the vocabulary.
fn bounds_of(text: &str, kind: &Kind) -> Option<Bounds> {
    let nowhere = Span::new(SourceSet::new("", "").root(), 0, 0);
    arithmetic::bounds(&parse_value_at(text, nowhere)?, kind.element())
}

/// What a place takes, and how diagnostics call the place; an empty name if it has none.
#[derive(Clone, Copy)]
struct Wanted<'k> {
    kind: &'k Kind,
    place: &'k str,
}

impl Wanted<'_> {
    /// Nothing in particular.
    const ANYTHING: Wanted<'static> = Wanted { kind: &Kind::Unknown, place: "" };

    /// "`sparsity` takes a ratio", or "a ratio is needed here".
    fn sentence(self) -> String {
        match self.place {
            "" => format!("{} is needed here", self.kind),
            place => format!("`{place}` takes {}", self.kind),
        }
    }
}

/// The state of a check.
struct Checker<'a> {
    sources: &'a mut SourceSet,
    vocabulary: &'a Vocabulary,
    facts: &'a dyn Facts,
    sets: &'a [(String, String)],
    diagnostics: Diagnostics,
    files: Vec<File>,
    /// Imported files by their path; `None` if it cannot be read.
    imported: BTreeMap<String, Option<usize>>,
    /// The paths of the imports that lead to the file being checked.
    trail: Vec<String>,
    /// Shelves whose methods can be added up.
    summable: BTreeSet<Shelf>,
    scope: Scope,
}

/// What can be seen from the line being checked.
#[derive(Default)]
struct Scope {
    /// The place of the file.
    file: usize,
    /// Every name that the file binds anywhere, where it does so first.
    all: BTreeMap<String, Span>,
    /// Items that something uses.
    used: BTreeSet<usize>,
    /// Parameters of the `def` around the line.
    params: Vec<(Name, Kind)>,
    /// The name of that `def`.
    def: Option<String>,
    /// Whether the line is a `require`.
    in_require: bool,
    /// Whether names of the recipe are out of sight: in defaults of the vocabulary and in values set from outside.
    words_only: bool,
}

impl<'a> Checker<'a> {
    fn new(sources: &'a mut SourceSet, vocabulary: &'a Vocabulary, facts: &'a dyn Facts) -> Self {
        let kinds = vocabulary.words().iter().flat_map(|word| word.params.iter().map(|param| &param.kind));
        let summable = kinds
            .filter_map(|kind| match kind {
                Kind::Weighted(shelf) => Some(shelf.clone()),
                _ => None,
            })
            .collect();
        Self {
            sources,
            vocabulary,
            facts,
            sets: &[],
            diagnostics: Diagnostics::default(),
            files: Vec::new(),
            imported: BTreeMap::new(),
            trail: Vec::new(),
            summable,
            scope: Scope::default(),
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The item of the file being checked that a name is bound to above this line.
    fn above(&self, name: &str) -> Option<usize> {
        self.files.get(self.scope.file)?.names.get(name).copied()
    }

    fn item(&self, file: usize, item: usize) -> Option<&Item> {
        self.files.get(file)?.items.get(item)
    }

    /// Values set for parameters that the recipe does not declare.
    fn unknown_sets(&mut self) {
        let declared: Vec<String> = self.files.first().map_or(Vec::new(), |file| {
            let params = file.items.iter().filter(|item| matches!(item.body, crate::recipe::Body::Param { .. }));
            params.filter_map(|item| item.name.as_ref().map(|name| name.text.clone())).collect()
        });
        let broken = self
            .files
            .first()
            .is_some_and(|file| file.items.iter().any(|item| matches!(item.body, crate::recipe::Body::Unreadable)));
        for (name, text) in self.sets {
            // A declaration that cannot be read may be the one that is meant.
            if declared.contains(name) || broken {
                continue;
            }
            let source = self.sources.add("--set", format!("{name}={text}"));
            let names = declared.iter().map(String::as_str);
            let help = crate::suggest::did_you_mean(name, names.clone());
            let mut diagnostic = Diagnostic::new(
                Code::UnknownParam,
                Span::new(source, 0, name.len()),
                format!("the recipe has no parameter `{name}`"),
            )
            .maybe_help(help);
            if !declared.is_empty() {
                diagnostic = diagnostic.note(format!("its parameters: {}", crate::suggest::listed(names)));
            }
            self.diagnostics.push(diagnostic);
        }
    }
}
