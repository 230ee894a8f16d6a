//! Models, data sets and artifacts: stages become nodes, each once; chains over a list are written out.

use std::sync::Arc;

use super::{Bound, Context, FrameId, Key, Linker, MAX_STAGES, Model, Place};
use crate::diagnostic::{Code, Diagnostic};
use crate::facts::Field;
use crate::graph::{Stage, Task};
use crate::kind::Kind;
use crate::recipe::{Body, Meaning, Typed, WordCall};
use crate::source::Span;
use crate::suggest::{did_you_mean, listed};
use crate::syntax::Name;
use crate::value::{Call, StepId, StepRef, Value};
use crate::vocabulary::{Layers, Role};

impl<'r> Linker<'r> {
    /// What flows from an expression: a reference to a stage, made now or before, or a plain call such as a part of a data set.
    pub(super) fn flow(&mut self, expr: &'r Typed, frame: FrameId, context: Context<'_>) -> Option<Value> {
        self.deeper(expr.span, |this| {
            let (expr, frame, through) = match this.resolve(expr, frame)? {
                Place::Step(step) => return Some(Value::Step(step)),
                Place::Expr(expr, frame, through) => (expr, frame, through),
            };
            let name = through.map(|item| this.recipe.name_of(item));
            let context = match &name {
                Some(name) => Context { name, is_binding: true, ..context },
                None => context,
            };
            match &expr.meaning {
                Meaning::Field(base, field) => this.field(base, field, frame, context),
                Meaning::Call(call) => {
                    let key = (std::ptr::from_ref(expr), frame);
                    if let Some(known) = this.flows.get(&key) {
                        return known.clone();
                    }
                    let value = this.word(expr, call, key, context);
                    this.flows.insert(key, value.clone());
                    value
                }
                _ => None,
            }
        })
    }

    fn word(&mut self, expr: &'r Typed, call: &'r WordCall, (_, frame): Key, context: Context<'_>) -> Option<Value> {
        // What is inside looks at its own model and its own data.
        let context = Context { model: Model::Absent, steps_per_epoch: None, ..context };
        let vocabulary = self.vocabulary;
        match &vocabulary.words().get(call.word)?.role {
            Role::Stage => {
                let step = self.stage(call, &expr.kind, frame, context)?;
                Some(Value::Step(StepRef { step, field: None }))
            }
            Role::Unrolled { seed, over, step } => self.unrolled(call, [seed, over, step], frame, context),
            Role::Value | Role::Metric | Role::Predicate(_) => self.method(call, frame, context).map(Value::Call),
        }
    }

    fn stage(&mut self, call: &'r WordCall, yields: &Kind, frame: FrameId, context: Context<'_>) -> Option<StepId> {
        let span = call.callee;
        let vocabulary = self.vocabulary;
        let word = vocabulary.words().get(call.word)?;
        let (resolved, steps_per_epoch) = self.arguments(call, frame, context, true)?;
        self.room_for_a_stage(span)?;
        let model = match &word.layers {
            Layers::Of(model) => resolved.get(model).and_then(Value::as_step).map(|step| step.step),
            Layers::None | Layers::Outside => None,
        };
        let modules = match (&word.layers, model) {
            (Layers::Outside, _) => self.listed_modules(&resolved, span)?,
            (_, Some(model)) if *yields == Kind::Model => self.graph.stage(model).and_then(|stage| stage.modules.clone()),
            _ => None,
        };
        let fields = if *yields == Kind::Dataset { self.fields(&resolved, word.fields.as_deref(), span)? } else { None };
        let bars = if *yields == Kind::Artifact { self.bars.clone() } else { Vec::new() };
        let name = self.unique(context.name);
        let binding = context.is_binding.then(|| context.name.to_owned());
        let task = Task::Stage { call: resolved, yields: yields.clone() };
        let stage = Stage { name, binding, span, task, modules, fields, steps_per_epoch };
        let step = self.graph.add(stage, &bars);
        let origin = model.and_then(|model| self.layers_from.get(&model).copied()).unwrap_or(step);
        self.layers_from.insert(step, origin);
        Some(step)
    }

    /// `None` and a report when the recipe has too many stages.
    fn room_for_a_stage(&mut self, span: Span) -> Option<()> {
        if self.graph.len() < MAX_STAGES {
            return Some(());
        }
        self.report(
            Diagnostic::new(Code::TooLarge, span, "this recipe has too many stages")
                .note(format!("{MAX_STAGES} stages are the most, unrolled ones included")),
        );
        None
    }

    /// The name, made unique by a number where it is taken.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut number = 2;
        while !self.names.insert(unique.clone()) {
            unique = format!("{name}.{number}");
            number += 1;
        }
        unique
    }

    /// Asks the world for the layers of a model; the outer `None` after a refusal.
    #[expect(clippy::option_option, reason = "refused, unknown and known are three answers")]
    fn listed_modules(&mut self, call: &Call, span: Span) -> Option<Option<Arc<[crate::facts::Module]>>> {
        match self.facts.modules(call, &self.graph) {
            Ok(Some(modules)) => Some(Some(modules.into())),
            Ok(None) => {
                self.report(
                    Diagnostic::new(Code::LayersUnknown, span, "the layers of this model are not known here")
                        .note("selectors are not checked"),
                );
                Some(None)
            }
            Err(refusal) => {
                self.refused(refusal, span);
                None
            }
        }
    }

    /// The parts of a data set, from the world or else from the call; the outer `None` after a refusal.
    #[expect(clippy::option_option, reason = "refused, unknown and known are three answers")]
    fn fields(&mut self, call: &Call, labels: Option<&str>, span: Span) -> Option<Option<Vec<Field>>> {
        match self.facts.fields(call, &self.graph) {
            Ok(Some(fields)) => Some(Some(fields)),
            Ok(None) => {
                let record = labels.and_then(|labels| call.get(labels)).and_then(Value::as_record);
                let field = |(name, _): &(String, Value)| Field { name: name.clone(), rows: None };
                Some(record.map(|record| record.iter().map(field).collect()))
            }
            Err(refusal) => {
                self.refused(refusal, span);
                None
            }
        }
    }

    /// A part of a data set.
    fn field(&mut self, base: &'r Typed, name: &Name, frame: FrameId, context: Context<'_>) -> Option<Value> {
        let Value::Step(StepRef { step, field: None }) = self.flow(base, frame, context)? else {
            self.report(Diagnostic::new(
                Code::UnknownField,
                name.span,
                format!("a part of a data set has no part `{}`", name.text),
            ));
            return None;
        };
        let stage = self.graph.stage(step)?;
        if let Some(fields) = stage.fields.as_ref().filter(|fields| fields.iter().all(|field| field.name != name.text)) {
            let names = fields.iter().map(|field| field.name.as_str());
            let message = format!("`{}` has no part `{}`", stage.name, name.text);
            let mut diagnostic = Diagnostic::new(Code::UnknownField, name.span, message)
                .also(stage.span, "made here")
                .maybe_help(did_you_mean(&name.text, names.clone()));
            if !fields.is_empty() {
                diagnostic = diagnostic.note(format!("its parts: {}", listed(names)));
            }
            self.report(diagnostic);
            return None;
        }
        Some(Value::Step(StepRef { step, field: Some(name.text.clone()) }))
    }

    /// A chain of calls of a `def`, one for each element of a list.
    fn unrolled(
        &mut self,
        call: &'r WordCall,
        [seed, over, step]: [&str; 3],
        frame: FrameId,
        context: Context<'_>,
    ) -> Option<Value> {
        let argument = |name: &str| call.arguments.iter().find(|argument| argument.name == name).map(|argument| &argument.value);
        let (seed, over, step) = (argument(seed)?, argument(over)?, argument(step)?);
        let Place::Expr(def, ..) = self.resolve(step, frame)? else { return None };
        let Meaning::Item(def) = &def.meaning else { return None };
        let Body::Def { body, .. } = &self.recipe.item(*def)?.body else { return None };
        let Place::Expr(list, list_frame, _) = self.resolve(over, frame)? else { return None };
        let Meaning::List(elements) = &list.meaning else { return None };
        if elements.is_empty() {
            self.report(
                Diagnostic::new(Code::OutOfRange, over.span, "this list is empty, so there is nothing to do")
                    .help("give it at least one element"),
            );
            return None;
        }
        let seed_name = format!("{}/seed", context.name);
        let seed = self.flow(seed, frame, Context { name: &seed_name, is_binding: false, ..context })?;
        let mut result = seed;
        for (at, element) in elements.iter().enumerate() {
            let Value::Step(current) = result else { return None };
            self.frames.push(vec![Bound::Step(current), Bound::Lazy(element, list_frame)]);
            let inner = self.frames.len() - 1;
            let name = format!("{}.{}", context.name, at + 1);
            let last = at + 1 == elements.len();
            let inside = if last { context } else { Context { name: &name, is_binding: false, ..context } };
            result = self.flow(body, inner, inside)?;
        }
        Some(result)
    }
}
