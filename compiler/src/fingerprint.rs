//! The meaning of a step as a hash.
//!
//! Everything that changes what a step yields enters, in one unit each and with every length before what it is the length of,
//! so that two different steps cannot write the same bytes. A reference enters as the fingerprint of the step it names, so a
//! step's place in the recipe does not matter; a selector enters as the layers it selects. Paths do not enter at all: whoever
//! executes a plan adds the content of what is read.

use crate::graph::Task;
use crate::plan::Fingerprint;
use crate::requirement::Measured;
use crate::value::{Call, Duration, Length, Schedule, Segment, StepId, Value};

/// Changes whenever the bytes below change their meaning.
const FORMAT: &str = "sparsec plan 2";

/// The fingerprint of a step; `of` knows those of the steps before it.
pub(crate) fn fingerprint(task: &Task, of: impl Fn(StepId) -> Option<Fingerprint>) -> Fingerprint {
    let mut writer = Writer { hasher: blake3::Hasher::new(), of: &of };
    writer.text(FORMAT);
    match task {
        Task::Stage { call, .. } => {
            writer.tag("stage");
            writer.call(call);
        }
        Task::Require(requirement) => {
            writer.tag(requirement.comparison.symbol());
            writer.measured(&requirement.left);
            writer.measured(&requirement.right);
        }
    }
    Fingerprint(writer.hasher.finalize().into())
}

struct Writer<'f> {
    hasher: blake3::Hasher,
    of: &'f dyn Fn(StepId) -> Option<Fingerprint>,
}

impl Writer<'_> {
    fn tag(&mut self, tag: &str) {
        self.text(tag);
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.hasher.update(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        self.hasher.update(&(count as u64).to_le_bytes());
    }

    fn number(&mut self, number: f64) {
        // Zero has two spellings in binary and one in a recipe.
        let number = if number == 0.0 { 0.0 } else { number };
        self.hasher.update(&number.to_bits().to_le_bytes());
    }

    fn quantity(&mut self, kind: &str, amount: f64) {
        self.tag(kind);
        self.number(amount);
    }

    fn call(&mut self, call: &Call) {
        self.tag("call");
        self.text(&call.word);
        self.count(call.version as usize);
        self.count(call.arguments.len());
        for argument in &call.arguments {
            self.text(&argument.name);
            self.value(&argument.value);
        }
    }

    fn duration(&mut self, duration: Duration) {
        self.quantity(duration.unit.word(), duration.amount);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Number(number) => self.quantity("number", *number),
            Value::Integer(number) => self.quantity("integer", *number as f64),
            Value::Ratio(ratio) => self.quantity("ratio", *ratio),
            Value::Points(points) => self.quantity("points", *points),
            Value::Seconds(seconds) => self.quantity("seconds", *seconds),
            Value::Rows(rows) => self.quantity("rows", *rows as f64),
            Value::Tokens(tokens) => self.quantity("tokens", *tokens as f64),
            Value::Bytes(bytes) => self.quantity("bytes", *bytes as f64),
            Value::Bits(bits) => self.quantity("bits", *bits as f64),
            Value::Duration(duration) => self.duration(*duration),
            Value::Text(text) => self.tagged("text", text),
            Value::InputPath(_) => self.tag("path"),
            Value::OutputPath(_) => self.tag("output"),
            Value::Name(name) => self.tagged("name", name),
            Value::Flag(flag) => self.tag(if *flag { "true" } else { "false" }),
            Value::Call(call) => self.call(call),
            Value::Step(step) => {
                self.tag("step");
                self.text(step.field.as_deref().unwrap_or_default());
                let before = (self.of)(step.step).map_or([0; 32], |fingerprint| fingerprint.0);
                self.hasher.update(&before);
            }
            Value::Layers(selection) => match &selection.modules {
                Some(modules) => {
                    self.tag("layers");
                    self.count(modules.len());
                    modules.iter().for_each(|module| self.text(module));
                }
                None => self.tagged("selector", &selection.text),
            },
            Value::Schedule(schedule) => self.schedule(schedule),
            Value::Range(from, to) => {
                self.tag("range");
                self.value(from);
                self.value(to);
            }
            Value::Weighted(terms) => {
                self.tag("weighted");
                self.count(terms.len());
                for term in terms {
                    self.schedule(&term.coefficient);
                    self.call(&term.call);
                }
            }
            Value::List(values) => {
                self.tag("list");
                self.count(values.len());
                values.iter().for_each(|value| self.value(value));
            }
            Value::Record(fields) => {
                self.tag("record");
                self.count(fields.len());
                for (label, value) in fields {
                    self.text(label);
                    self.value(value);
                }
            }
        }
    }

    fn tagged(&mut self, tag: &str, text: &str) {
        self.tag(tag);
        self.text(text);
    }

    fn schedule(&mut self, schedule: &Schedule) {
        let segments = match schedule {
            Schedule::Constant(value) => {
                self.tag("constant");
                return self.value(value);
            }
            Schedule::Segments(segments) => segments,
        };
        self.tag("segments");
        self.count(segments.len());
        for Segment { shape, length } in segments {
            self.call(shape);
            match length {
                Length::Share(share) => self.quantity("share", *share),
                Length::Duration(duration) => self.duration(*duration),
                Length::Rest => self.tag("rest"),
            }
        }
    }

    fn measured(&mut self, measured: &Measured) {
        let (tag, sides) = match measured {
            Measured::Value(value) => return self.value(value),
            Measured::Metric(call) => return self.call(call),
            Measured::Negative(a) => ("negative", vec![a]),
            Measured::Sum(a, b) => ("sum", vec![a, b]),
            Measured::Difference(a, b) => ("difference", vec![a, b]),
            Measured::Product(a, b) => ("product", vec![a, b]),
            Measured::Quotient(a, b) => ("quotient", vec![a, b]),
        };
        self.tag(tag);
        sides.into_iter().for_each(|side| self.measured(side));
    }
}
