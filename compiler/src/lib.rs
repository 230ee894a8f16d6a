//! The sparsec recipe language: from text to a plan.
//!
//! ```text
//! text -> parse -> Syntax -> check -> Recipe -> link -> StageGraph -> lower -> Plan
//! ```
//!
//! Each noun is an immutable value with a printed form; each verb is total: it returns what it could and adds diagnostics.
//! The words of recipes come from outside as a [`Vocabulary`], the world as [`Facts`]; this crate knows no word, opens no
//! file and prints nothing.

mod check;
mod diagnostic;
mod facts;
mod fingerprint;
mod graph;
mod kind;
mod link;
mod lower;
mod path;
mod plan;
mod recipe;
mod requirement;
mod source;
mod suggest;
mod syntax;
mod unit;
mod value;
mod vocabulary;

pub use check::check;
pub use diagnostic::{Code, Color, Diagnostic, Label, Severity, has_errors, render, render_failure};
pub use facts::{Facts, Field, Module, NoFacts, Refusal};
pub use graph::{Edge, Origin, ParamValue, Stage, StageGraph, Task};
pub use kind::{Kind, Shelf};
pub use link::link;
pub use lower::lower;
pub use plan::{Fingerprint, Plan, Step};
pub use recipe::Recipe;
pub use requirement::{Comparison, Measured, Requirement};
pub use source::{MAX_SOURCE_BYTES, Source, SourceId, SourceSet, Span};
pub use syntax::{Syntax, parse};
pub use unit::Unit;
pub use value::{Argument, Call, Duration, Length, Schedule, Segment, Selection, StepId, StepRef, Term, Value};
pub use vocabulary::{Layers, Literal, Param, Presence, Role, Test, Vocabulary, Word};

/// What compiling may do beyond the ordinary, and what it is told from outside.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values for declared parameters, `name` and text; the last one of a name counts.
    pub sets: Vec<(String, String)>,
    /// Whether paths may leave the recipe's folder and the working directory.
    pub outside_paths: bool,
}

/// Everything that compiling a recipe yields, as far as it came.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The recipe's text, those that it imports, and what was set from outside.
    pub sources: SourceSet,
    /// The tree.
    pub syntax: Syntax,
    /// The checked recipe.
    pub recipe: Recipe,
    /// The stages and what flows between them.
    pub graph: StageGraph,
    /// What would be executed. Not to be executed if [`Compilation::has_errors`].
    pub plan: Plan,
    /// What is wrong, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compilation {
    /// Whether the recipe cannot run.
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }

    /// The diagnostics as text.
    pub fn rendered(&self, color: Color) -> String {
        render(&self.diagnostics, &self.sources, color)
    }
}

/// Compiles the recipe in `sources`. Never fails: what is wrong stands in [`Compilation::diagnostics`].
///
/// ```
/// use sparsec_compiler::{Kind, NoFacts, Options, Param, SourceSet, Vocabulary, Word, compile};
///
/// let fetch = Word::stage("fetch", Kind::Model, "Fetches a cake.").param(Param::new("size", Kind::Bytes, "How big."));
/// let eat = Word::stage("eat", Kind::Artifact, "Eats it.").param(Param::new("cake", Kind::Model, "Which.").positional());
/// let vocabulary = Vocabulary::new(vec![fetch, eat], &[2026]).unwrap();
/// let recipe = SourceSet::new("cake.sq", "edition 2026\ncake = fetch(size: 2 KiB)\neat(cake)\n");
///
/// let compilation = compile(recipe, &vocabulary, &NoFacts, &Options::default());
/// assert!(compilation.diagnostics.is_empty());
/// assert_eq!(compilation.plan.steps.len(), 2);
/// ```
pub fn compile(mut sources: SourceSet, vocabulary: &Vocabulary, facts: &dyn Facts, options: &Options) -> Compilation {
    let (syntax, mut diagnostics) = parse(&sources, sources.root());
    let (recipe, found) = check(&syntax, &mut sources, vocabulary, facts, &options.sets);
    diagnostics.extend(found);
    let (graph, found) = link(&recipe, vocabulary, facts, options.outside_paths);
    diagnostics.extend(found);
    if has_errors(&diagnostics) {
        // What nobody uses may be used by what could not be understood.
        diagnostics.retain(|diagnostic| diagnostic.code != Code::Unused);
    }
    diagnostics.sort_by_key(|diagnostic| (diagnostic.primary.span.source, diagnostic.primary.span.start));
    let plan = lower(&graph);
    Compilation { sources, syntax, recipe, graph, plan, diagnostics }
}
