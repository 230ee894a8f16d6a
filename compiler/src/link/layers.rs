//! Selectors: paths and predicates against the layers of a model, and what to say when nothing matches.
//!
//! A path matches a module if its segments are a run of the module's segments, at any depth; so it selects whole parts of the
//! model and single layers alike, and `1` never means `10`. A path without numbers also matches a role, or what a role starts
//! with.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Context, FrameId, Linker, Model, Place};
use crate::diagnostic::{Code, Diagnostic};
use crate::facts::Module;
use crate::recipe::{Meaning, Segment, Typed, WordCall, path_text};
use crate::source::Span;
use crate::suggest::{did_you_mean, listed};
use crate::syntax::Operator;
use crate::value::{Call, Selection, StepId};
use crate::vocabulary::Role;

/// Comparing a path or predicate with this many modules takes about as long as evaluating an expression.
const MODULES_PER_EVALUATION: usize = 16;

/// The layers that a selector looks at.
#[derive(Clone)]
struct Listing {
    modules: Arc<[Module]>,
    /// Where the layers were listed.
    origin: StepId,
}

/// What a part of a selector selects.
struct Selected {
    /// One flag for each module; `None` where the modules are not known.
    chosen: Option<Vec<bool>>,
    /// As written, names followed.
    text: String,
    /// Whether it may select nothing.
    may_be_empty: bool,
    /// Whether the text needs brackets beside an operator.
    is_operation: bool,
}

impl Selected {
    fn bracketed(&self) -> String {
        if self.is_operation { format!("({})", self.text) } else { self.text.clone() }
    }

    fn is_empty(&self) -> bool {
        self.chosen.as_ref().is_some_and(|chosen| !chosen.contains(&true))
    }
}

impl<'r> Linker<'r> {
    /// The layers that a selector selects from the model of its stage.
    pub(super) fn selection(&mut self, expr: &'r Typed, frame: FrameId, context: Context<'_>) -> Option<Selection> {
        let step = match context.model {
            Model::Step(step) => step,
            Model::Failed => return None,
            Model::Absent => {
                self.report(
                    Diagnostic::new(Code::WrongKind, expr.span, "there is no model here whose layers this could select")
                        .help("use it in a stage that takes a model"),
                );
                return None;
            }
        };
        let origin = self.layers_from.get(&step).copied().unwrap_or(step);
        let model = self.graph.stage(step)?.modules.clone().map(|modules| Listing { modules, origin });
        let selected = self.select(expr, frame, model.as_ref(), false)?;
        if let (true, false, Some(model)) = (selected.is_empty(), selected.may_be_empty, &model) {
            let Place::Expr(place, ..) = self.resolve(expr, frame)? else { return None };
            let label = "its parts match, but never together";
            self.no_match(place.span, label, model, |diagnostic| diagnostic.help("add `maybe` if it may select nothing"));
            return None;
        }
        let modules = selected.chosen.zip(model).map(|(chosen, model)| {
            let pairs = model.modules.iter().zip(chosen);
            pairs.filter(|(_, chosen)| *chosen).map(|(module, _)| module.path.clone()).collect()
        });
        Some(Selection { text: selected.text, modules })
    }

    /// The text of a selector, names followed.
    pub(super) fn selector_text(&mut self, expr: &'r Typed, frame: FrameId) -> Option<String> {
        self.select(expr, frame, None, true).map(|selected| selected.text)
    }

    fn select(&mut self, expr: &'r Typed, frame: FrameId, model: Option<&Listing>, may_be_empty: bool) -> Option<Selected> {
        self.deeper(expr.span, |this| {
            let Place::Expr(expr, frame, _) = this.resolve(expr, frame)? else { return None };
            match &expr.meaning {
                Meaning::Path(path) => this.path_selected(path, expr.span, model, may_be_empty),
                Meaning::Call(call) => this.predicate(call, frame, expr.span, model, may_be_empty),
                Meaning::Combine(operator, left, right) => {
                    let left = this.select(left, frame, model, may_be_empty);
                    let right = this.select(right, frame, model, may_be_empty);
                    Some(combined(*operator, &left?, &right?))
                }
                Meaning::Expect(inner, comparison, count, clause) => {
                    let allowed = may_be_empty || comparison.holds(0, *count as usize);
                    let mut selected = this.select(inner, frame, model, allowed)?;
                    selected.may_be_empty |= allowed;
                    let found = selected.chosen.as_ref().map(|chosen| chosen.iter().filter(|chosen| **chosen).count());
                    // No match at all has a report of its own, with better help.
                    let silent = found.is_none_or(|found| comparison.holds(found, *count as usize) || (found == 0 && !allowed));
                    if !silent {
                        this.unexpected_count(&selected, found.unwrap_or_default(), *clause, model);
                        return None;
                    }
                    Some(selected)
                }
                Meaning::Maybe(inner) => {
                    let selected = this.select(inner, frame, model, true)?;
                    Some(Selected { may_be_empty: true, ..selected })
                }
                _ => None,
            }
        })
    }

    fn path_selected(&mut self, path: &[Segment], span: Span, model: Option<&Listing>, may_be_empty: bool) -> Option<Selected> {
        self.count(model.map_or(0, |model| model.modules.len() / MODULES_PER_EVALUATION), span)?;
        let chosen = model.map(|model| model.modules.iter().map(|module| matches(module, path)).collect::<Vec<_>>());
        let selected = Selected { chosen, text: path_text(path), may_be_empty, is_operation: false };
        if let (Some(model), true, false) = (model, selected.is_empty(), may_be_empty) {
            let near_miss = near_miss(path, &model.modules);
            self.no_match(span, &near_miss.label, model, |mut diagnostic| {
                diagnostic.notes.extend(near_miss.note);
                diagnostic.help = near_miss.help;
                diagnostic
            });
            return None;
        }
        Some(selected)
    }

    fn predicate(
        &mut self,
        call: &'r WordCall,
        frame: FrameId,
        span: Span,
        model: Option<&Listing>,
        may_be_empty: bool,
    ) -> Option<Selected> {
        let vocabulary = self.vocabulary;
        let Role::Predicate(test) = vocabulary.words().get(call.word)?.role else { return None };
        let resolved = self.method(call, frame, Context::OUTSIDE)?;
        self.count(model.map_or(0, |model| model.modules.len() / MODULES_PER_EVALUATION), span)?;
        let chosen = model.map(|model| model.modules.iter().map(|module| test(module, &resolved)).collect::<Vec<_>>());
        let selected = Selected { chosen, text: resolved.to_string(), may_be_empty, is_operation: false };
        if let (Some(model), true, false) = (model, selected.is_empty(), may_be_empty) {
            let roles: BTreeSet<&str> =
                model.modules.iter().map(|module| module.role.as_str()).filter(|r| !r.is_empty()).collect();
            let named = named_role(&resolved);
            let help = named.and_then(|role| did_you_mean(role, roles.iter().copied()));
            self.no_match(span, "no layer is like this", model, |diagnostic| match named {
                Some(_) => diagnostic.note(format!("roles of its layers: {}", listed(roles.clone()))).maybe_help(help),
                None => diagnostic,
            });
            return None;
        }
        Some(selected)
    }

    /// Reports that something matches no layer, and points to where the layers come from.
    fn no_match(&mut self, span: Span, label: &str, model: &Listing, finish: impl FnOnce(Diagnostic) -> Diagnostic) {
        let Some(origin) = self.graph.stage(model.origin) else { return };
        let diagnostic =
            Diagnostic::new(Code::NoLayerMatches, span, format!("this selector matches no layer of `{}`", origin.name))
                .label(label)
                .also(origin.span, format!("{} layers here", model.modules.len()));
        self.report(finish(diagnostic));
    }

    fn unexpected_count(&mut self, selected: &Selected, found: usize, clause: Span, model: Option<&Listing>) {
        let Some(model) = model else { return };
        let Some(origin) = self.graph.stage(model.origin) else { return };
        let pairs = model.modules.iter().zip(selected.chosen.iter().flatten());
        let matched = pairs.filter(|(_, chosen)| **chosen).map(|(module, _)| module.path.as_str());
        let plural = if found == 1 { "layer" } else { "layers" };
        let message = format!("this selector matches {found} {plural} of `{}`", origin.name);
        let mut diagnostic = Diagnostic::new(Code::UnexpectedCount, clause, message)
            .label("another number is expected")
            .also(origin.span, format!("{} layers here", model.modules.len()));
        if found > 0 {
            diagnostic = diagnostic.note(format!("it matches {}", listed(matched)));
        }
        self.report(diagnostic.help(format!("write `expect {found}` if that is right, or correct the selector")));
    }
}

fn combined(operator: Operator, left: &Selected, right: &Selected) -> Selected {
    let join: fn(bool, bool) -> bool = match operator {
        Operator::Or => |a, b| a || b,
        Operator::Except => |a, b| a && !b,
        _ => |a, b| a && b,
    };
    let chosen = left.chosen.as_ref().zip(right.chosen.as_ref());
    Selected {
        chosen: chosen.map(|(left, right)| left.iter().zip(right).map(|(a, b)| join(*a, *b)).collect()),
        text: format!("{} {} {}", left.bracketed(), operator.symbol(), right.bracketed()),
        may_be_empty: left.may_be_empty || (right.may_be_empty && operator != Operator::Except),
        is_operation: true,
    }
}

/// The role that a predicate asks for, if it has one argument and that is a name.
fn named_role(call: &Call) -> Option<&str> {
    match &call.arguments[..] {
        [only] => only.value.as_name(),
        _ => None,
    }
}

fn matches(module: &Module, path: &[Segment]) -> bool {
    let segments: Vec<&str> = module.path.split('.').collect();
    segments.windows(path.len()).any(|run| run.iter().zip(path).all(|(segment, wanted)| fits(segment, wanted)))
        || is_role(&module.role, path)
}

fn fits(segment: &str, wanted: &Segment) -> bool {
    match wanted {
        Segment::Name(name) => segment == name,
        Segment::Numbers(first, last) => segment.parse::<u32>().is_ok_and(|number| (*first..=*last).contains(&number)),
    }
}

fn is_role(role: &str, path: &[Segment]) -> bool {
    let mut parts = role.split('.');
    path.iter().all(|segment| matches!(segment, Segment::Name(name) if parts.next() == Some(name)))
}

/// Why a path matches nothing, and the nearest names that would.
struct NearMiss {
    label: String,
    note: Option<String>,
    help: Option<String>,
}

fn near_miss(path: &[Segment], modules: &[Module]) -> NearMiss {
    // How much of the path matches, and what stands behind it in the model.
    let known = (1..path.len()).rev().find(|length| modules.iter().any(|module| matches(module, &path[..*length])));
    let known = known.unwrap_or(0);
    let before = path_text(&path[..known]);
    let next = following(&path[..known], modules);
    let numbers: BTreeSet<u32> = next.iter().filter_map(|segment| segment.parse().ok()).collect();
    match (&path[known], numbers.first().zip(numbers.last())) {
        (Segment::Numbers(..), Some((first, last))) => NearMiss {
            label: format!("`{before}` is numbered from {first} to {last}"),
            note: None,
            help: Some(format!("write `{before}[{first}..{last}]` for all of them")),
        },
        (Segment::Numbers(..), None) => {
            NearMiss { label: format!("`{before}` has no numbered parts"), note: parts(&before, &next), help: None }
        }
        (Segment::Name(name), _) => NearMiss {
            label: if known == 0 { "no module of this name".to_owned() } else { format!("`{before}` has no `{name}`") },
            note: if known == 0 { None } else { parts(&before, &next) },
            help: did_you_mean(name, next.iter().copied()),
        },
    }
}

/// The segments that follow a run of `path` in the modules; every segment and role where it is empty.
fn following<'m>(path: &[Segment], modules: &'m [Module]) -> BTreeSet<&'m str> {
    let mut next = BTreeSet::new();
    for module in modules {
        let segments: Vec<&str> = module.path.split('.').collect();
        for (at, segment) in segments.iter().enumerate().skip(path.len()) {
            let run = &segments[at - path.len()..at];
            if run.iter().zip(path).all(|(segment, wanted)| fits(segment, wanted)) {
                next.insert(*segment);
            }
        }
        if path.is_empty() && !module.role.is_empty() {
            next.insert(&module.role);
        }
    }
    next
}

fn parts(before: &str, next: &BTreeSet<&str>) -> Option<String> {
    if next.is_empty() {
        return Some(format!("`{before}` has no parts"));
    }
    Some(format!("`{before}` has {}", listed(next.iter().copied())))
}
