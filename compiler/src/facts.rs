//! What the compiler asks of the world: imported texts, the layers of a checkpoint, the parts of a data set.
//!
//! The compiler reads no files. Whoever calls it implements [`Facts`]; an answer of `None` means "not known here", and the
//! compiler says so and goes on without the checks that need it.

use serde::{Deserialize, Serialize};

use crate::graph::StageGraph;
use crate::value::Call;

/// One module of a model that has parameters of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Module {
    /// Canonical path, segments joined by dots.
    pub path: String,
    /// What it is, in a word that the vocabulary's predicates understand.
    pub kind: String,
    /// What it does in its block, a dotted name; empty if nothing in particular.
    pub role: String,
    /// Shape of its weight; `[out, in]` for a matrix product.
    pub shape: Vec<usize>,
    /// Number of parameters.
    pub parameters: u64,
    /// Share of its weights that are zero now, where that is known.
    pub sparsity: Option<f64>,
}

/// One part of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name after the dot.
    pub name: String,
    /// How many rows it has, where that is known.
    pub rows: Option<u64>,
}

/// Why the world cannot give what a recipe asks for. It becomes a diagnostic at the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, one sentence without a final stop; names the file.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Refusal {
    /// A refusal without advice.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// Adds advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The world, as far as a recipe depends on it. Answers must not change during a compilation.
///
/// `above` holds every stage before the one asked about, so that a [`crate::StepRef`] in its arguments can be followed.
pub trait Facts {
    /// The text of an imported recipe. `path` is relative to the folder of the first recipe, uses `/`, and holds no `..`.
    ///
    /// # Errors
    /// When there is no such file, or it is not UTF-8.
    fn read(&self, path: &str) -> Result<String, Refusal>;

    /// The modules of the model that `call` yields, in the order of the forward pass.
    ///
    /// # Errors
    /// When the model cannot be what the call says: no such folder, unknown architecture, broken header.
    fn modules(&self, call: &Call, above: &StageGraph) -> Result<Option<Vec<Module>>, Refusal> {
        let _ = (call, above);
        Ok(None)
    }

    /// The parts of the data set that `call` yields.
    ///
    /// # Errors
    /// When there is no such data, or it cannot be divided as the call says.
    fn fields(&self, call: &Call, above: &StageGraph) -> Result<Option<Vec<Field>>, Refusal> {
        let _ = (call, above);
        Ok(None)
    }

    /// The number of optimizer steps in one epoch of the stage `call`. Durations and schedules may depend on the answer, so
    /// `call` holds only what cannot contain any: models, data, quantities, texts, names and flags.
    ///
    /// # Errors
    /// When the stage's data cannot be read.
    fn steps_per_epoch(&self, call: &Call, above: &StageGraph) -> Result<Option<u64>, Refusal> {
        let _ = (call, above);
        Ok(None)
    }
}

/// Nothing is known and nothing can be imported.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn read(&self, path: &str) -> Result<String, Refusal> {
        Err(Refusal::new(format!("`{path}` cannot be read here")))
    }
}
