//! How a word of a shelf is declared: once.
//!
//! [`word!`](crate::word) takes a struct with documented fields and yields the struct, the compiler's description of the word
//! (parameters, kinds, defaults, docs) and the way from a checked call to a value of the struct. A default is a Rust value; the
//! recipe text of it is derived. A shelf's `mod.rs` lists its items in a [`Shelf`], the one table that everything else reads.

use std::fmt;
use std::sync::Arc;

use sparsec_compiler::{Call, Kind, Param, Selection, StepRef, Value, Word};

use crate::{Fault, Result};

/// Declares a word: the struct, its parameters for the compiler, and how to read a call.
///
/// Parameters in parentheses may be given without their label. `where "0%..95%"` limits a value, `= value` is the default.
///
/// ```ignore
/// word! {
///     /// One shot, layer by layer; every weight that stays makes up for those that go.
///     pub struct SparseGpt = "sparsegpt" {
///         /// Added to the diagonal of the Hessian, as a share of its mean.
///         damping: Ratio where "0%..100%" = Ratio(0.01),
///         /// Columns that choose their removals together.
///         block: usize = 128,
///     }
/// }
/// ```
#[macro_export]
macro_rules! word {
    (
        $(#[doc = $doc:literal])+
        $visibility:vis struct $name:ident = $word:literal
        $(($(
            $(#[doc = $positional_doc:literal])+
            $positional:ident: $positional_type:ty $(where $positional_range:literal)? $(= $positional_default:expr)?
        ),+ $(,)?))?
        {$(
            $(#[doc = $field_doc:literal])+
            $field:ident: $type:ty $(where $range:literal)? $(= $default:expr)?
        ),* $(,)?}
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        $visibility struct $name {
            $($($(#[doc = $positional_doc])+ pub $positional: $positional_type,)+)?
            $($(#[doc = $field_doc])+ pub $field: $type,)*
        }

        impl $crate::shelf::Item for $name {
            const NAME: &'static str = $word;
            const DOC: &'static str = concat!($($doc, "\n"),+);

            fn params() -> Vec<sparsec_compiler::Param> {
                vec![
                    $($($crate::word!(@param $positional: $positional_type, [$($positional_doc)+]
                        $(, where $positional_range)? $(, = $positional_default)?).positional(),)+)?
                    $($crate::word!(@param $field: $type, [$($field_doc)+] $(, where $range)? $(, = $default)?),)*
                ]
            }

            #[allow(unused_variables, reason = "a word without parameters reads none")]
            fn from_call(call: &sparsec_compiler::Call) -> $crate::Result<Self> {
                Ok(Self {
                    $($($positional: $crate::shelf::argument(call, $crate::word!(@label $positional))?,)+)?
                    $($field: $crate::shelf::argument(call, $crate::word!(@label $field))?,)*
                })
            }
        }
    };
    ($(#[doc = $doc:literal])+ $visibility:vis struct $name:ident = $word:literal;) => {
        $crate::word! { $(#[doc = $doc])+ $visibility struct $name = $word {} }
    };
    (@label $field:ident) => {
        stringify!($field).trim_start_matches("r#")
    };
    (@param $field:ident: $type:ty, [$($doc:literal)+] $(, where $range:literal)? $(, = $default:expr)?) => {{
        let param = $crate::shelf::param::<$type>($crate::word!(@label $field), concat!($($doc, "\n"),+));
        $(let param = param.within($range);)?
        $(
            let default: $type = $default;
            let param = param.default($crate::shelf::Defaulted::text(&default));
        )?
        param
    }};
}

/// A word declared by [`word!`](crate::word).
pub trait Item: Sized {
    /// How a recipe writes it.
    const NAME: &'static str;
    /// What it does, one line first.
    const DOC: &'static str;

    /// Its parameters.
    fn params() -> Vec<Param>;

    /// Reads a call that the compiler has checked against the parameters.
    ///
    /// # Errors
    /// Values that no checker can rule out, and bugs of ours.
    fn from_call(call: &Call) -> Result<Self>;
}

/// What a field of a word can be.
pub trait Parameter: Sized {
    /// What a recipe must give.
    fn kind() -> Kind;

    /// Reads the value; the compiler has checked its kind.
    ///
    /// # Errors
    /// A value that no checker can rule out, or a bug of ours.
    fn read(value: &Value) -> Result<Self>;

    /// What an argument that was left out is; none where it must be there.
    fn absent() -> Option<Self> {
        None
    }
}

/// A parameter whose value can be written down in a recipe, and so be a default.
pub trait Defaulted: Parameter {
    /// The recipe text.
    fn text(&self) -> String;
}

/// One row of a shelf.
pub struct Row<T: ?Sized> {
    name: &'static str,
    doc: &'static str,
    params: fn() -> Vec<Param>,
    make: fn(&Call) -> Result<Arc<T>>,
}

/// The row of an item on the shelf of a trait: `row!(dyn Pruner, SparseGpt)`.
#[macro_export]
macro_rules! row {
    ($trait:ty, $item:ty) => {
        $crate::shelf::Row::<$trait>::new::<$item>(|call| {
            let item = <$item as $crate::shelf::Item>::from_call(call)?;
            Ok(std::sync::Arc::new(item) as std::sync::Arc<$trait>)
        })
    };
}

impl<T: ?Sized> Row<T> {
    /// The row of the item `I`.
    pub const fn new<I: Item>(make: fn(&Call) -> Result<Arc<T>>) -> Self {
        Self { name: I::NAME, doc: I::DOC, params: I::params, make }
    }
}

/// A shelf: everything of one kind that a recipe can name.
pub struct Shelf<T: ?Sized + 'static> {
    name: &'static str,
    rows: &'static [Row<T>],
}

impl<T: ?Sized> Shelf<T> {
    /// The shelf called `name`, singular and as in "a pruner".
    pub const fn new(name: &'static str, rows: &'static [Row<T>]) -> Self {
        Self { name, rows }
    }

    /// What the compiler calls the kind of its items.
    pub fn kind(&self) -> Kind {
        Kind::method(self.name)
    }

    /// Its words as methods of this shelf.
    pub fn words(&self) -> impl Iterator<Item = Word> + '_ {
        self.rows.iter().map(|row| with_params(Word::method(row.name, self.name, tidy(row.doc)), (row.params)()))
    }

    /// Its words as segments of schedules.
    pub fn segments(&self) -> impl Iterator<Item = Word> + '_ {
        self.rows.iter().map(|row| with_params(Word::segment(row.name, tidy(row.doc)), (row.params)()))
    }

    /// Its words as what a `require` measures, in the unit `kind`.
    pub fn metrics(&self, kind: &Kind) -> impl Iterator<Item = Word> + '_ {
        let kind = kind.clone();
        self.rows.iter().map(move |row| with_params(Word::metric(row.name, kind.clone(), tidy(row.doc)), (row.params)()))
    }

    /// The names of its words.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.rows.iter().map(|row| row.name)
    }

    /// The item that `call` describes.
    ///
    /// # Errors
    /// Arguments that the item refuses.
    pub fn make(&self, call: &Call) -> Result<Arc<T>> {
        let row = self.rows.iter().find(|row| row.name == call.word);
        (row.ok_or_else(|| Fault::internal(format!("no {} is called `{}`", self.name, call.word)))?.make)(call)
    }
}

/// `word` with `params`.
pub fn with_params(word: Word, params: Vec<Param>) -> Word {
    params.into_iter().fold(word, Word::param)
}

/// A doc comment as text: without the blank that follows `///`.
pub fn tidy(doc: &str) -> String {
    doc.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The parameter `name` of type `T`.
pub fn param<T: Parameter>(name: &str, doc: &str) -> Param {
    let param = Param::new(name, T::kind(), tidy(doc));
    if T::absent().is_some() { param.optional() } else { param }
}

/// The argument `name` of `call`.
///
/// # Errors
/// When it is missing or refused.
pub fn argument<T: Parameter>(call: &Call, name: &str) -> Result<T> {
    match call.get(name) {
        Some(value) => T::read(value),
        None => T::absent().ok_or_else(|| Fault::internal(format!("`{}` was called without `{name}`", call.word))),
    }
}

/// The fault for a value that is not what its kind says.
pub fn unexpected(wanted: &Kind, value: &Value) -> Fault {
    Fault::internal(format!("{wanted} was expected, and `{value}` was given"))
}

impl<T: Parameter> Parameter for Option<T> {
    fn kind() -> Kind {
        T::kind()
    }

    fn read(value: &Value) -> Result<Self> {
        T::read(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// A share: 0.75 for `75%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(pub f64);

/// A number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rows(pub u64);

/// A model that an earlier stage made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef(pub StepRef);

/// Rows that an earlier stage found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRef(pub StepRef);

/// Module paths of layers, in the order of the forward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers(pub Vec<String>);

/// A path to read, as the recipe writes it: relative to the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPath(pub String);

/// A path to write, as the recipe writes it: relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPath(pub String);

/// Both ends of `a to b`, as a segment of a schedule takes them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ends {
    /// The first value.
    pub from: f64,
    /// The last value.
    pub to: f64,
}

/// The value that a segment of a schedule holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level(pub f64);

/// `[name: share, …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares(pub Vec<(String, f64)>);

/// Implements [`Parameter`] by a kind and a pattern.
macro_rules! parameters {
    ($($type:ty: $kind:expr, $($pattern:pat => $read:expr),+;)*) => {$(
        impl Parameter for $type {
            fn kind() -> Kind {
                $kind
            }

            fn read(value: &Value) -> Result<Self> {
                match value {
                    $($pattern => $read,)+
                    other => Err(unexpected(&Self::kind(), other)),
                }
            }
        }
    )*};
}

parameters! {
    f64: Kind::Number, Value::Number(number) => Ok(*number), Value::Integer(number) => Ok(*number as f64);
    usize: Kind::Integer, Value::Integer(number) => whole(*number);
    u64: Kind::Integer, Value::Integer(number) => whole(*number);
    bool: Kind::Flag, Value::Flag(flag) => Ok(*flag);
    String: Kind::Text, Value::Text(text) => Ok(text.clone());
    Ratio: Kind::Ratio, Value::Ratio(ratio) => Ok(Ratio(*ratio));
    Rows: Kind::Rows, Value::Rows(rows) => Ok(Rows(*rows));
    ModelRef: Kind::Model, Value::Step(step) => Ok(ModelRef(step.clone()));
    DataRef: Kind::Dataset, Value::Step(step) => Ok(DataRef(step.clone()));
    Layers: Kind::Selector, Value::Layers(Selection { modules: Some(modules), .. }) => Ok(Layers(modules.clone()));
    InputPath: Kind::InputPath, Value::InputPath(path) => Ok(InputPath(path.clone()));
    OutputPath: Kind::OutputPath, Value::OutputPath(path) => Ok(OutputPath(path.clone()));
    Ends: Kind::range(Kind::Element), Value::Range(from, to) => Ok(Ends { from: scalar(from)?, to: scalar(to)? });
    Shares: Kind::record(Kind::Ratio), Value::Record(fields) => {
        fields.iter().map(|(label, value)| Ok((label.clone(), Ratio::read(value)?.0))).collect::<Result<_>>().map(Shares)
    };
}

impl Parameter for Level {
    fn kind() -> Kind {
        Kind::Element
    }

    fn read(value: &Value) -> Result<Self> {
        scalar(value).map(Self)
    }
}

/// Implements [`Defaulted`] by the value that the compiler would print.
macro_rules! defaulted {
    ($($type:ty: $parameter:ident => $value:expr;)*) => {$(
        impl Defaulted for $type {
            fn text(&self) -> String {
                let $parameter = self;
                $value.to_string()
            }
        }
    )*};
}

defaulted! {
    f64: number => Value::Number(*number);
    usize: number => number;
    u64: number => number;
    bool: flag => flag;
    String: text => Value::Text(text.clone());
    Ratio: ratio => Value::Ratio(ratio.0);
    Rows: rows => Value::Rows(rows.0);
}

/// A whole number that is not negative.
fn whole<T: TryFrom<i64>>(number: i64) -> Result<T> {
    T::try_from(number).map_err(|_| Fault::input(format!("{number} is negative")))
}

/// What a quantity is as a number: a share of 1, seconds, rows.
///
/// # Errors
/// When it is no quantity.
pub fn scalar(value: &Value) -> Result<f64> {
    match value {
        Value::Number(number) | Value::Ratio(number) | Value::Points(number) | Value::Seconds(number) => Ok(*number),
        Value::Integer(number) => Ok(*number as f64),
        Value::Rows(number) | Value::Tokens(number) | Value::Bytes(number) | Value::Bits(number) => Ok(*number as f64),
        other => Err(unexpected(&Kind::Number, other)),
    }
}

/// Gives an enum without data the kind of a choice: `choice! { Scope { Uniform = "uniform", Global = "global" } }`.
#[macro_export]
macro_rules! choice {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $crate::shelf::Parameter for $name {
            fn kind() -> sparsec_compiler::Kind {
                sparsec_compiler::Kind::choice([$($word),+])
            }

            fn read(value: &sparsec_compiler::Value) -> $crate::Result<Self> {
                match value.as_name() {
                    $(Some($word) => Ok(Self::$variant),)+
                    _ => Err($crate::shelf::unexpected(&Self::kind(), value)),
                }
            }
        }

        impl $crate::shelf::Defaulted for $name {
            fn text(&self) -> String {
                match self {
                    $(Self::$variant => $word.to_owned(),)+
                }
            }
        }
    };
}

/// Makes `Arc<dyn Trait>` a parameter that names an item of a shelf: `shelved! { dyn Pruner, PRUNERS }`.
#[macro_export]
macro_rules! shelved {
    ($trait:ty, $shelf:expr) => {
        impl $crate::shelf::Parameter for std::sync::Arc<$trait> {
            fn kind() -> sparsec_compiler::Kind {
                $shelf.kind()
            }

            fn read(value: &sparsec_compiler::Value) -> $crate::Result<Self> {
                match value.as_call() {
                    Some(call) => $shelf.make(call),
                    None => Err($crate::shelf::unexpected(&$shelf.kind(), value)),
                }
            }
        }
    };
}

impl<T: ?Sized> fmt::Debug for Shelf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
