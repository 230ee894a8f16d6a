//! The sparsec recipe language: from text to a plan.
//!
//! ```text
//! text -> parse -> Syntax -> check -> Recipe -> link -> StageGraph -> lower -> Plan
//! ```
//!
//! Each noun is an immutable value with a printed form; each verb is total: it returns what it could and adds diagnostics.
//! The words of recipes come from outside as a [`Vocabulary`], the world as [`Facts`]; this crate knows no word, opens no
//! file and prints nothing.

mod diagnostic;
mod facts;
mod graph;
mod kind;
mod plan;
mod requirement;
mod source;
mod unit;
mod value;
mod vocabulary;

pub use diagnostic::{Code, Color, Diagnostic, Label, Severity, has_errors, render};
pub use facts::{Facts, Field, Module, NoFacts, Refusal};
pub use graph::{Edge, Stage, StageGraph, Task};
pub use kind::{Kind, Shelf};
pub use plan::{Fingerprint, Origin, ParamValue, Plan, Step};
pub use requirement::{Comparison, Measured, Requirement};
pub use source::{MAX_SOURCE_BYTES, Source, SourceId, SourceSet, Span};
pub use unit::Unit;
pub use value::{Argument, Call, Duration, Length, Schedule, Segment, Selection, StepId, StepRef, Term, Value};
pub use vocabulary::{Layers, Literal, Param, Presence, Role, Test, Vocabulary, Word};
