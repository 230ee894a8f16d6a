//! Values by the kind that a place takes, and calls of methods.

use super::{Context, FrameId, Linker, Model, Place};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::Kind;
use crate::path;
use crate::recipe::{Bounds, Meaning, Typed, WordCall};
use crate::source::Span;
use crate::syntax::Name;
use crate::value::{Argument, Call, Value};
use crate::vocabulary::Layers;

impl<'r> Linker<'r> {
    /// A value with bounds on the numbers in it; `context.name` ends in the name of the parameter.
    pub(super) fn argument(
        &mut self,
        expr: &'r Typed,
        kind: &Kind,
        bounds: Option<&Bounds>,
        frame: FrameId,
        context: Context<'_>,
    ) -> Option<Value> {
        if !kind.is_quantity() {
            let value = self.value(expr, kind, frame, context)?;
            return if bounds.is_none() { Some(value) } else { self.all_within(value, bounds, expr.span, context) };
        }
        let quantity = self.quantity(expr, frame, context)?;
        let name = context.name.rsplit('/').next().unwrap_or_default();
        self.within(quantity, bounds, expr.span, name)?;
        self.converted(quantity, kind, expr.span)
    }

    /// A value of `kind`.
    pub(super) fn value(&mut self, expr: &'r Typed, kind: &Kind, frame: FrameId, context: Context<'_>) -> Option<Value> {
        self.deeper(expr.span, |this| match kind {
            Kind::Model | Kind::Dataset | Kind::Artifact => this.flow(expr, frame, context),
            Kind::Selector => this.selection(expr, frame, context).map(Value::Layers),
            Kind::Schedule(element) => this.schedule(expr, element, frame, context).map(Value::Schedule),
            Kind::Weighted(_) => this.weighted(expr, frame, context).map(Value::Weighted),
            Kind::Unknown | Kind::Element => {
                let Place::Expr(expr, frame, _) = this.resolve(expr, frame)? else { return None };
                if expr.kind == Kind::Unknown { None } else { this.value(expr, &expr.kind, frame, context) }
            }
            kind if kind.is_quantity() => {
                let quantity = this.quantity(expr, frame, context)?;
                this.converted(quantity, kind, expr.span)
            }
            kind => this.plain(expr, kind, frame, context),
        })
    }

    /// Values whose form follows from how they are written.
    fn plain(&mut self, expr: &'r Typed, kind: &Kind, frame: FrameId, context: Context<'_>) -> Option<Value> {
        let span = expr.span;
        let Place::Expr(expr, frame, _) = self.resolve(expr, frame)? else { return None };
        match (&expr.meaning, kind) {
            (Meaning::Text(text), Kind::InputPath | Kind::OutputPath) => self.path(text, kind, span),
            (Meaning::Text(text), _) => Some(Value::Text(text.clone())),
            (Meaning::Flag(flag), _) => Some(Value::Flag(*flag)),
            (Meaning::Name(name), _) => Some(Value::Name(name.clone())),
            (Meaning::Call(call), _) => self.method(call, frame, context).map(Value::Call),
            (Meaning::Range(from, to), Kind::Range(element)) => {
                let from = self.value(from, element, frame, context);
                let to = self.value(to, element, frame, context);
                Some(Value::Range(Box::new(from?), Box::new(to?)))
            }
            (Meaning::List(elements), Kind::List(element)) => {
                let values: Vec<_> = elements.iter().map(|value| self.value(value, element, frame, context)).collect();
                values.into_iter().collect::<Option<_>>().map(Value::List)
            }
            (Meaning::Record(_) | Meaning::Override(..), Kind::Record(element)) => {
                let fields = self.record(expr, frame)?;
                let values = fields
                    .into_iter()
                    .map(|(label, value, frame)| Some((label.text.clone(), self.value(value, element, frame, context)?)));
                values.collect::<Option<_>>().map(Value::Record)
            }
            _ => None,
        }
    }

    /// The labels of a record and what stands there, overrides done.
    fn record(&mut self, expr: &'r Typed, frame: FrameId) -> Option<Vec<(&'r Name, &'r Typed, FrameId)>> {
        self.deeper(expr.span, |this| {
            let Place::Expr(expr, frame, _) = this.resolve(expr, frame)? else { return None };
            match &expr.meaning {
                Meaning::Record(fields) => Some(fields.iter().map(|(label, value)| (label, value, frame)).collect()),
                Meaning::Override(base, changed) => {
                    let mut fields = this.record(base, frame)?;
                    for (label, value) in changed {
                        match fields.iter_mut().find(|(name, ..)| name.text == label.text) {
                            Some(field) => *field = (label, value, frame),
                            None => {
                                let message = format!("the record has no `{}`", label.text);
                                this.report(Diagnostic::new(Code::UnknownField, label.span, message));
                                return None;
                            }
                        }
                    }
                    Some(fields)
                }
                _ => None,
            }
        })
    }

    fn path(&mut self, text: &str, kind: &Kind, span: Span) -> Option<Value> {
        let (root, value) = match kind {
            Kind::InputPath => ("the recipe's folder", Value::InputPath(text.to_owned())),
            _ => ("the working directory", Value::OutputPath(text.to_owned())),
        };
        if self.outside_paths || !path::leaves_root(text) {
            return Some(value);
        }
        self.report(
            Diagnostic::new(Code::PathLeavesRoot, span, format!("this path leaves {root}"))
                .note("a recipe from a stranger can neither read nor write elsewhere")
                .help(format!("write a path below {root}, or allow paths outside on the command line")),
        );
        None
    }

    /// A method and its arguments.
    pub(super) fn method(&mut self, call: &'r WordCall, frame: FrameId, context: Context<'_>) -> Option<Call> {
        let (call, _) = self.arguments(call, frame, context, false)?;
        Some(call)
    }

    /// The arguments of a word. The model comes first, since selectors look at it, then what has no durations in it, then the
    /// rest. Also the length of an epoch, if `is_stage` and somebody needs it. All arguments are evaluated before one fails.
    pub(super) fn arguments(
        &mut self,
        call: &'r WordCall,
        frame: FrameId,
        context: Context<'_>,
        is_stage: bool,
    ) -> Option<(Call, Option<u64>)> {
        let word = self.vocabulary.words().get(call.word)?;
        let model = match &word.layers {
            Layers::Of(model) => Some(model.as_str()),
            Layers::None | Layers::Outside => None,
        };
        let mut inner = context;
        let mut values: Vec<Option<Value>> = vec![None; call.arguments.len()];
        let mut failed = false;
        let mut asked = !is_stage;
        for phase in [Phase::Model, Phase::Early, Phase::Late] {
            for (at, argument) in call.arguments.iter().enumerate() {
                if Phase::of(&argument.name, &argument.kind, model) != phase {
                    continue;
                }
                if phase == Phase::Late && !asked && !failed {
                    asked = true;
                    inner.steps_per_epoch = self.steps_per_epoch(call, word.version, &values);
                }
                let name = format!("{}/{}", context.name, argument.name);
                let inside = Context { name: &name, is_binding: false, ..inner };
                values[at] = self.argument(&argument.value, &argument.kind, argument.bounds.as_ref(), frame, inside);
                failed |= values[at].is_none();
                if phase == Phase::Model {
                    let step = values[at].as_ref().and_then(Value::as_step);
                    inner.model = step.map_or(Model::Failed, |step| Model::Step(step.step));
                }
            }
        }
        (!failed).then(|| (finished(call, word.version, values), inner.steps_per_epoch.filter(|_| is_stage)))
    }

    fn steps_per_epoch(&mut self, call: &WordCall, version: u32, values: &[Option<Value>]) -> Option<u64> {
        if !call.arguments.iter().any(|argument| argument.kind == Kind::Duration) {
            return None;
        }
        let so_far = finished(call, version, values.to_vec());
        match self.facts.steps_per_epoch(&so_far, &self.graph) {
            Ok(steps) => steps,
            Err(refusal) => {
                self.refused(refusal, call.callee);
                None
            }
        }
    }

    /// Reports that the world refuses something.
    pub(super) fn refused(&mut self, refusal: crate::facts::Refusal, span: Span) {
        let mut diagnostic = Diagnostic::new(Code::Unavailable, span, refusal.message);
        diagnostic.help = refusal.help;
        self.report(diagnostic);
    }

    /// Checks every number inside a schedule or list.
    fn all_within(&mut self, value: Value, bounds: Option<&Bounds>, span: Span, context: Context<'_>) -> Option<Value> {
        let name = context.name.rsplit('/').next().unwrap_or_default().to_owned();
        let mut numbers = Vec::new();
        super::schedule::elements(&value, &mut numbers);
        for number in numbers {
            self.within(number, bounds, span, &name)?;
        }
        Some(value)
    }
}

/// When an argument is evaluated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Model,
    Early,
    Late,
}

impl Phase {
    fn of(name: &str, kind: &Kind, model: Option<&str>) -> Self {
        match kind {
            _ if model == Some(name) => Phase::Model,
            Kind::Duration
            | Kind::Schedule(_)
            | Kind::Method(_)
            | Kind::Weighted(_)
            | Kind::Selector
            | Kind::List(_)
            | Kind::Record(_)
            | Kind::Range(_) => Phase::Late,
            _ => Phase::Early,
        }
    }
}

/// The call with the arguments that have values.
fn finished(call: &WordCall, version: u32, values: Vec<Option<Value>>) -> Call {
    let arguments = call.arguments.iter().zip(values);
    Call {
        word: call.name.clone(),
        version,
        arguments: arguments
            .filter_map(|(argument, value)| Some(Argument { name: argument.name.clone(), value: value? }))
            .collect(),
    }
}
