//! Resolved values: what a plan holds after every name, default, unit, selector and `def` is gone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::unit::{Amount, Quantity, Unit};

/// A step of a plan, by its place in [`crate::Plan::steps`]; the same number is its node in [`crate::StageGraph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepId(pub(crate) u32);

impl StepId {
    /// Its place, from 0.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an earlier step yielded, or one field of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRef {
    /// The step.
    pub step: StepId,
    /// The field after the dot.
    pub field: Option<String>,
}

/// How long something goes on: an amount in the unit that the recipe chose (epochs or steps).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Duration {
    /// How many.
    pub amount: f64,
    /// Of what.
    pub unit: Unit,
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// The parameter's name.
    pub name: String,
    /// What it is.
    pub value: Value,
}

/// A word with its arguments: every parameter that was given or has a default, in the order of the word's declaration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The word.
    pub word: String,
    /// The version of what the word stands for.
    pub version: u32,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

impl Call {
    /// The argument `name`; `None` where an optional one was left out.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.arguments.iter().find(|argument| argument.name == name).map(|argument| &argument.value)
    }
}

/// The layers that a selector selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The selector as written, bindings followed.
    pub text: String,
    /// Canonical paths of the modules, in the order of the forward pass. `None` where the model's layers were not known when
    /// the plan was made; such a plan cannot be executed.
    pub modules: Option<Vec<String>>,
}

/// How long a segment of a schedule lasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// A share of the stage, 0 to 1.
    Share(f64),
    /// A duration.
    Duration(Duration),
    /// What the other segments leave.
    Rest,
}

/// One segment of a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Its shape, without `for:`.
    pub shape: Call,
    /// How long it lasts.
    pub length: Length,
}

/// A value that changes while its stage runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It does not change.
    Constant(Box<Value>),
    /// One segment after the other. Invariant: not empty, exactly one has [`Length::Rest`] or the shares end at 100 %.
    Segments(Vec<Segment>),
}

/// One term of a weighted sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Its coefficient, a schedule of numbers.
    pub coefficient: Schedule,
    /// The method.
    pub call: Call,
}

/// A resolved value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A number without a unit.
    Number(f64),
    /// A whole number without a unit.
    Integer(i64),
    /// A share: 0.75 for `75%`.
    Ratio(f64),
    /// Percentage points: 1.0 for `1.0 points`.
    Points(f64),
    /// How long a stage trains.
    Duration(Duration),
    /// A time in seconds.
    Seconds(f64),
    /// A number of rows.
    Rows(u64),
    /// A number of tokens.
    Tokens(u64),
    /// A number of bytes.
    Bytes(u64),
    /// A number of bits.
    Bits(u64),
    /// A text.
    Text(String),
    /// A path to read, relative to the recipe, as written.
    InputPath(String),
    /// A path to write, relative to the working directory, as written.
    OutputPath(String),
    /// `true` or `false`.
    Flag(bool),
    /// One of a few names, or a dotted role.
    Name(String),
    /// A method with its arguments.
    Call(Call),
    /// What an earlier step yields.
    Step(StepRef),
    /// Layers.
    Layers(Selection),
    /// A value that changes while its stage runs.
    Schedule(Schedule),
    /// `a to b`.
    Range(Box<Value>, Box<Value>),
    /// A sum of methods.
    Weighted(Vec<Term>),
    /// A list.
    List(Vec<Value>),
    /// A record, in the order of the recipe.
    Record(Vec<(String, Value)>),
}

/// Generates `as_…` readers that give `None` where the value is of another kind.
macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $out:ty, $value:ident => $get:expr;)*) => {
        impl Value {
            $($(#[$doc])*
            pub fn $name(&self) -> Option<$out> {
                match self {
                    Value::$variant($value) => Some($get),
                    _ => None,
                }
            })*
        }
    };
}

readers! {
    /// The number.
    as_number: Number -> f64, v => *v;
    /// The whole number.
    as_integer: Integer -> i64, v => *v;
    /// The share, 0.75 for `75%`.
    as_ratio: Ratio -> f64, v => *v;
    /// The percentage points.
    as_points: Points -> f64, v => *v;
    /// The duration.
    as_duration: Duration -> Duration, v => *v;
    /// The time in seconds.
    as_seconds: Seconds -> f64, v => *v;
    /// The number of rows.
    as_rows: Rows -> u64, v => *v;
    /// The number of tokens.
    as_tokens: Tokens -> u64, v => *v;
    /// The number of bytes.
    as_bytes: Bytes -> u64, v => *v;
    /// The number of bits.
    as_bits: Bits -> u64, v => *v;
    /// The text.
    as_text: Text -> &str, v => v;
    /// The path to read.
    as_input_path: InputPath -> &str, v => v;
    /// The path to write.
    as_output_path: OutputPath -> &str, v => v;
    /// The flag.
    as_flag: Flag -> bool, v => *v;
    /// The name of a choice or role.
    as_name: Name -> &str, v => v;
    /// The method with its arguments.
    as_call: Call -> &Call, v => v;
    /// The reference to an earlier step.
    as_step: Step -> &StepRef, v => v;
    /// The layers.
    as_layers: Layers -> &Selection, v => v;
    /// The schedule.
    as_schedule: Schedule -> &Schedule, v => v;
    /// The terms of the sum.
    as_weighted: Weighted -> &[Term], v => v;
    /// The elements.
    as_list: List -> &[Value], v => v;
    /// The labels and values.
    as_record: Record -> &[(String, Value)], v => v;
}

impl Value {
    /// Both ends of `a to b`.
    pub fn as_range(&self) -> Option<(&Value, &Value)> {
        match self {
            Value::Range(from, to) => Some((from, to)),
            _ => None,
        }
    }

    /// Calls `visit` for every reference to a step in it, in order.
    pub(crate) fn each_step(&self, visit: &mut impl FnMut(&StepRef)) {
        match self {
            Value::Step(step) => visit(step),
            Value::Call(call) => call.each_step(visit),
            Value::List(values) => values.iter().for_each(|value| value.each_step(visit)),
            Value::Record(fields) => fields.iter().for_each(|(_, value)| value.each_step(visit)),
            Value::Weighted(terms) => terms.iter().for_each(|term| term.call.each_step(visit)),
            Value::Schedule(Schedule::Segments(segments)) => {
                segments.iter().for_each(|segment| segment.shape.each_step(visit));
            }
            _ => {}
        }
    }
}

impl Call {
    pub(crate) fn each_step(&self, visit: &mut impl FnMut(&StepRef)) {
        self.arguments.iter().for_each(|argument| argument.value.each_step(visit));
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quantity::new(self.amount, self.unit).fmt(f)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)?;
        for (i, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{}: {}", if i == 0 { "(" } else { ", " }, argument.name, argument.value)?;
        }
        if self.arguments.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = match self {
            Schedule::Constant(value) => return value.fmt(f),
            Schedule::Segments(segments) => segments,
        };
        for (i, segment) in segments.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " then " }, segment.shape)?;
            match segment.length {
                Length::Share(share) => write!(f, " for {}%", Amount(share * 100.0))?,
                Length::Duration(duration) => write!(f, " for {duration}")?,
                Length::Rest => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantity = |f: &mut fmt::Formatter<'_>, amount: f64, unit| Quantity::new(amount, unit).fmt(f);
        match self {
            Value::Number(number) => quantity(f, *number, Unit::One),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Ratio(ratio) => quantity(f, ratio * 100.0, Unit::Percent),
            Value::Points(points) => quantity(f, *points, Unit::Points),
            Value::Duration(duration) => duration.fmt(f),
            Value::Seconds(seconds) => quantity(f, *seconds, Unit::Seconds),
            Value::Rows(rows) => quantity(f, *rows as f64, Unit::Rows),
            Value::Tokens(tokens) => quantity(f, *tokens as f64, Unit::Tokens),
            Value::Bytes(bytes) => quantity(f, *bytes as f64, Unit::Bytes),
            Value::Bits(bits) => quantity(f, *bits as f64, Unit::Bits),
            Value::Text(text) | Value::InputPath(text) | Value::OutputPath(text) => write!(f, "{text:?}"),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Name(name) => f.write_str(name),
            Value::Call(call) => call.fmt(f),
            Value::Step(StepRef { step, field: None }) => step.fmt(f),
            Value::Step(StepRef { step, field: Some(field) }) => write!(f, "{step}.{field}"),
            Value::Layers(Selection { text, modules: Some(modules) }) => write!(f, "{{{text}: {} layers}}", modules.len()),
            Value::Layers(Selection { text, modules: None }) => write!(f, "{{{text}: layers not known}}"),
            Value::Schedule(schedule) => schedule.fmt(f),
            Value::Range(from, to) => write!(f, "{from} to {to}"),
            Value::Weighted(terms) => {
                for (i, term) in terms.iter().enumerate() {
                    write!(f, "{}{} * {}", if i == 0 { "" } else { " + " }, term.coefficient, term.call)?;
                }
                Ok(())
            }
            Value::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Value::Record(fields) => {
                f.write_str("[")?;
                for (i, (label, value)) in fields.iter().enumerate() {
                    write!(f, "{}{label}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}
