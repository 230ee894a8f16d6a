//! Recipe to stage graph: bindings followed, `def`s and unrolled words written out, selectors resolved, every call a node.
//!
//! Values are evaluated where they are used, so that a selector meets the model of its stage and a duration the length of its
//! epoch. A stage is made once, however often its name is used. What a hostile recipe could make grow without end is counted:
//! evaluations, their depth, and stages.

mod flow;
mod layers;
mod quantity;
mod require;
mod schedule;
mod value;

use std::collections::{BTreeSet, HashMap};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::facts::Facts;
use crate::graph::{Origin, ParamValue, StageGraph};
use crate::kind::Kind;
use crate::recipe::{Body, Item, ItemRef, Meaning, Recipe, Typed};
use crate::source::Span;
use crate::value::{Selection, StepId, StepRef, Value};
use crate::vocabulary::Vocabulary;

/// Expressions evaluated in one recipe, repetitions counted; a real recipe needs a few thousand.
const MAX_EVALUATIONS: usize = 200_000;

/// Expressions evaluated inside each other, over bindings and calls of `def`s.
const MAX_EVALUATION_DEPTH: usize = 120;

/// Stages of one recipe.
const MAX_STAGES: usize = 1000;

/// Links a checked recipe. `outside_paths` lets paths leave their roots.
pub fn link(recipe: &Recipe, vocabulary: &Vocabulary, facts: &dyn Facts, outside_paths: bool) -> (StageGraph, Vec<Diagnostic>) {
    let mut linker = Linker {
        recipe,
        vocabulary,
        facts,
        outside_paths,
        graph: StageGraph::new(recipe.edition),
        diagnostics: Diagnostics::default(),
        frames: vec![Vec::new()],
        applied: HashMap::new(),
        flows: HashMap::new(),
        layers_from: HashMap::new(),
        names: BTreeSet::new(),
        bars: Vec::new(),
        broken: BTreeSet::new(),
        evaluations: 0,
        depth: 0,
        too_deep: false,
    };
    linker.params();
    for item in recipe.files.first().map_or(&[][..], |file| &file.items) {
        linker.statement(item);
    }
    (linker.graph, linker.diagnostics.into_sorted())
}

/// An expression of the recipe by its address, and the call of a `def` in which it is evaluated.
type Key = (*const Typed, FrameId);

/// A place in [`Linker::frames`]; the first is that of lines outside every `def`.
type FrameId = usize;

const OUTSIDE: FrameId = 0;

/// What a parameter of a `def` is bound to.
#[derive(Clone)]
enum Bound<'r> {
    /// An expression where the `def` is called.
    Lazy(&'r Typed, FrameId),
    /// What a stage yielded.
    Step(StepRef),
}

/// What remains of an expression after every name in front is followed.
enum Place<'r> {
    /// An expression that is not a name, the frame that it belongs to, and the last item on the way.
    Expr(&'r Typed, FrameId, Option<ItemRef>),
    /// What a stage yielded.
    Step(StepRef),
}

/// What surrounds a value that is evaluated.
#[derive(Clone, Copy)]
struct Context<'c> {
    /// The model whose layers a selector means.
    model: Model,
    /// Length of an epoch of the stage.
    steps_per_epoch: Option<u64>,
    /// The name for a stage made here.
    name: &'c str,
    /// Whether that name is a binding.
    is_binding: bool,
}

/// The model that a selector looks at.
#[derive(Clone, Copy)]
enum Model {
    /// There is none here.
    Absent,
    /// There should be one; a mistake was reported.
    Failed,
    /// What this stage yields.
    Step(StepId),
}

impl Context<'_> {
    const OUTSIDE: Context<'static> = Context { model: Model::Absent, steps_per_epoch: None, name: "", is_binding: false };
}

/// The state of linking. A result of `None` means that a mistake was reported, here or by the check.
struct Linker<'r> {
    recipe: &'r Recipe,
    vocabulary: &'r Vocabulary,
    facts: &'r dyn Facts,
    outside_paths: bool,
    graph: StageGraph,
    diagnostics: Diagnostics,
    frames: Vec<Vec<Bound<'r>>>,
    /// Frames of calls of `def`s that were followed already.
    applied: HashMap<Key, FrameId>,
    /// What stages yielded.
    flows: HashMap<Key, Option<Value>>,
    /// The stage where the layers of a stage's model were listed.
    layers_from: HashMap<StepId, StepId>,
    names: BTreeSet<String>,
    /// The `require`s so far.
    bars: Vec<StepId>,
    /// Parameters whose value is wrong.
    broken: BTreeSet<*const Item>,
    evaluations: usize,
    depth: usize,
    /// Whether it was reported that something goes too deep.
    too_deep: bool,
}

impl<'r> Linker<'r> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn params(&mut self) {
        let recipe = self.recipe;
        for (file, content) in recipe.files.iter().enumerate() {
            for (item, content) in content.items.iter().enumerate() {
                let Body::Param { value: typed, bounds, is_set } = &content.body else { continue };
                let value = match &content.kind {
                    // Which layers they are depends on where they are used.
                    Kind::Selector => {
                        self.selector_text(typed, OUTSIDE).map(|text| Value::Layers(Selection { text, modules: None }))
                    }
                    kind => {
                        let name = content.name.as_ref().map_or("", |name| name.text.as_str());
                        let context = Context { name, ..Context::OUTSIDE };
                        self.argument(typed, kind, bounds.as_ref(), OUTSIDE, context)
                    }
                };
                let Some(value) = value else {
                    self.broken.insert(content);
                    continue;
                };
                let origin = match (is_set, file) {
                    (true, _) => Origin::Set,
                    (false, 0) => Origin::Default,
                    (false, _) => Origin::Import,
                };
                let name = recipe.name_of(ItemRef { file, item });
                self.graph.params.push(ParamValue { name, value, origin, doc: content.doc.clone(), span: content.span });
            }
        }
    }

    fn statement(&mut self, item: &'r Item) {
        match &item.body {
            Body::Bind(value) if value.kind.flows() => {
                let name = item.name.as_ref().map_or("", |name| name.text.as_str());
                self.flow(value, OUTSIDE, Context { name, is_binding: true, ..Context::OUTSIDE });
            }
            Body::Bare(value) => {
                let name = match &value.meaning {
                    Meaning::Call(call) => call.name.as_str(),
                    _ => "result",
                };
                self.flow(value, OUTSIDE, Context { name, ..Context::OUTSIDE });
            }
            Body::Require(left, comparison, right) => self.require(left, *comparison, right, item.span),
            Body::Param { .. } | Body::Import(_) | Body::Def { .. } | Body::Bind(_) | Body::Unreadable => {}
        }
    }

    /// Follows names, parameters and calls of `def`s until something else stands there.
    fn resolve(&mut self, mut expr: &'r Typed, mut frame: FrameId) -> Option<Place<'r>> {
        let mut through = None;
        loop {
            self.count(1, expr.span)?;
            match &expr.meaning {
                Meaning::Unknown => return None,
                Meaning::Item(at) => {
                    let item = self.recipe.item(*at)?;
                    match &item.body {
                        _ if self.broken.contains(&std::ptr::from_ref(item)) => return None,
                        Body::Param { value, .. } | Body::Bind(value) => {
                            (expr, frame, through) = (value, OUTSIDE, Some(*at));
                        }
                        Body::Def { .. } => return Some(Place::Expr(expr, frame, through)),
                        _ => return None,
                    }
                }
                Meaning::Parameter(index) => match self.frames.get(frame)?.get(*index)? {
                    Bound::Lazy(value, outer) => (expr, frame) = (value, *outer),
                    Bound::Step(step) => return Some(Place::Step(step.clone())),
                },
                Meaning::Apply(def, arguments) => {
                    let Body::Def { body, .. } = &self.recipe.item(*def)?.body else { return None };
                    let key = (std::ptr::from_ref(expr), frame);
                    let arguments = || arguments.iter().map(|argument| Bound::Lazy(argument, frame)).collect();
                    frame = match self.applied.get(&key) {
                        Some(known) => *known,
                        None => {
                            self.frames.push(arguments());
                            self.applied.insert(key, self.frames.len() - 1);
                            self.frames.len() - 1
                        }
                    };
                    expr = body;
                }
                Meaning::Field(base, label) if matches!(base.kind, Kind::Record(_)) => {
                    (expr, frame) = self.entry(base, frame, &label.text)?;
                }
                _ => return Some(Place::Expr(expr, frame, through)),
            }
        }
    }

    /// The value of `label` in a record.
    fn entry(&mut self, record: &'r Typed, frame: FrameId, label: &str) -> Option<(&'r Typed, FrameId)> {
        self.deeper(record.span, |this| {
            let Place::Expr(record, frame, _) = this.resolve(record, frame)? else { return None };
            let found = |fields: &'r [(crate::syntax::Name, Typed)]| {
                fields.iter().find(|(name, _)| name.text == label).map(|(_, value)| (value, frame))
            };
            match &record.meaning {
                Meaning::Record(fields) => {
                    let entry = found(fields);
                    if entry.is_none() {
                        let message = format!("the record has no `{label}`");
                        this.report(Diagnostic::new(Code::UnknownField, record.span, message));
                    }
                    entry
                }
                Meaning::Override(base, fields) => match found(fields) {
                    Some(found) => Some(found),
                    None => this.entry(base, frame, label),
                },
                _ => None,
            }
        })
    }

    /// Counts evaluations; `None` and a report when there were too many.
    fn count(&mut self, more: usize, span: Span) -> Option<()> {
        let before = self.evaluations;
        self.evaluations = before.saturating_add(more);
        if before < MAX_EVALUATIONS && self.evaluations >= MAX_EVALUATIONS {
            self.report(
                Diagnostic::new(Code::TooLarge, span, "this recipe grows without end when it is written out")
                    .note(format!("{MAX_EVALUATIONS} evaluations are the most that a recipe may need"))
                    .help("use fewer names that each use another name several times"),
            );
        }
        (self.evaluations < MAX_EVALUATIONS).then_some(())
    }

    /// Evaluates something inside something else; `None` and a report when that goes too deep.
    fn deeper<T>(&mut self, span: Span, evaluate: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == MAX_EVALUATION_DEPTH {
            if !std::mem::replace(&mut self.too_deep, true) {
                self.report(
                    Diagnostic::new(Code::TooDeep, span, "names and calls lead too deep from here")
                        .note(format!("{MAX_EVALUATION_DEPTH} of them inside each other are the most")),
                );
            }
            return None;
        }
        self.depth += 1;
        let result = evaluate(self);
        self.depth -= 1;
        result
    }
}
