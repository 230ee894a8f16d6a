//! The plan: what will be executed, in order, with nothing left to look up.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::graph::{Origin, ParamValue, Task};
use crate::kind::Kind;
use crate::requirement::Requirement;
use crate::source::Span;
use crate::value::{Call, Selection, StepId, Value};

/// The meaning of a step as a hash: equal for two steps exactly if word, version, arguments and everything above are equal.
/// Comments, white space, names of bindings, paths that are written, and the order of independent stages do not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from(self.0).to_hex().fmt(f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(deserializer)?;
        blake3::Hash::from_hex(&hex).map(|hash| Fingerprint(hash.into())).map_err(serde::de::Error::custom)
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its place in the plan.
    pub id: StepId,
    /// Readable and unique in the plan; stays the same when unrelated lines change.
    pub name: String,
    /// The binding, if it has one of its own.
    pub binding: Option<String>,
    /// The call in the recipe, to underline if the step fails.
    pub span: Span,
    /// What it does.
    pub task: Task,
    /// Every step that must be finished before it: what it uses, and the bars that hold it back.
    pub after: Vec<StepId>,
    /// Optimizer steps in one epoch of it, where known.
    pub steps_per_epoch: Option<u64>,
    /// Its meaning.
    pub fingerprint: Fingerprint,
}

impl Step {
    /// The call, unless it is a `require`.
    pub fn call(&self) -> Option<&Call> {
        match &self.task {
            Task::Stage { call, .. } => Some(call),
            Task::Require(_) => None,
        }
    }

    /// What it yields, unless it is a `require`.
    pub fn yields(&self) -> Option<&Kind> {
        match &self.task {
            Task::Stage { yields, .. } => Some(yields),
            Task::Require(_) => None,
        }
    }

    /// The requirement, if it is a `require`.
    pub fn requirement(&self) -> Option<&Requirement> {
        match &self.task {
            Task::Stage { .. } => None,
            Task::Require(requirement) => Some(requirement),
        }
    }
}

/// What will be executed. Invariant: a step stands after every step in its `after`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The edition of the recipe.
    pub edition: u32,
    /// The parameters, in source order.
    pub params: Vec<ParamValue>,
    /// The steps, in the order of the recipe.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The step that `id` names.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.get(id.index())
    }
}

/// Every step with its arguments, one a line; the layers of a selection are counted and listed.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "edition {}", self.edition)?;
        for param in &self.params {
            let origin = match param.origin {
                Origin::Default => "default",
                Origin::Set => "set from outside",
                Origin::Import => "default of an import",
            };
            writeln!(f, "param {} = {} ({origin})", param.name, param.value)?;
        }
        self.steps.iter().try_for_each(|step| step.fmt(f))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = self.fingerprint.to_string();
        let call = match &self.task {
            Task::Require(requirement) => {
                return writeln!(f, "\n{} {} {}\n   require {requirement}", self.id, self.name, &fingerprint[..12]);
            }
            Task::Stage { call, .. } => call,
        };
        writeln!(f, "\n{} {} {}\n   {}", self.id, self.name, &fingerprint[..12], call.word)?;
        for argument in &call.arguments {
            write!(f, "      {}: {}", argument.name, argument.value)?;
            if let (Value::Duration(duration), Some(steps)) = (&argument.value, self.steps_per_epoch)
                && duration.unit == crate::Unit::Epochs
            {
                write!(f, " ({} steps)", (duration.amount * steps as f64).round())?;
            }
            writeln!(f)?;
            if let Value::Layers(Selection { modules: Some(modules), .. }) = &argument.value {
                modules.iter().try_for_each(|module| writeln!(f, "         {module}"))?;
            }
        }
        Ok(())
    }
}
