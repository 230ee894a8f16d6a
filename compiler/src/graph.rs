//! The stage graph: one node for each stage and each `require`, edges along the values that flow.
//!
//! Invariant: a node is added after everything that it uses, so indices are a topological order and a cycle cannot exist.
//! petgraph is named in this file alone.

use std::fmt;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use serde::{Deserialize, Serialize};

use crate::facts::{Field, Module};
use crate::kind::Kind;
use crate::requirement::Requirement;
use crate::source::Span;
use crate::value::{Call, StepId, Value};

/// What a node does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Executes a word and yields a value.
    Stage {
        /// The word and its arguments.
        call: Call,
        /// What it yields.
        yields: Kind,
    },
    /// Judges a result.
    Require(Requirement),
}

/// A node of the graph.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Readable and unique: the binding, or the binding of what it is an argument of and the parameter, `healed/model`.
    pub name: String,
    /// The binding, if it has one of its own.
    pub binding: Option<String>,
    /// The call in the recipe.
    pub span: Span,
    /// What it does.
    pub task: Task,
    /// The layers of the model that it yields, where they are known.
    pub modules: Option<Arc<[Module]>>,
    /// The parts of the data set that it yields, where they are known.
    pub fields: Option<Vec<Field>>,
    /// Optimizer steps in one epoch of it, where that was asked and is known.
    pub steps_per_epoch: Option<u64>,
}

/// Where a parameter's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The recipe's own default.
    Default,
    /// Set from outside.
    Set,
    /// The default of an imported recipe.
    Import,
}

/// A parameter of the recipe and the value that it has in this plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParamValue {
    /// Its name; that of an imported one has the import's name and a dot before it.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Where the value comes from.
    pub origin: Origin,
    /// What its doc comment says.
    pub doc: String,
    /// Its declaration.
    pub span: Span,
}

/// Why a node comes after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// It uses what the other yields.
    Value,
    /// It is held back until the other, a `require`, is judged.
    Bar,
}

/// The stages of a recipe and what flows between them.
#[derive(Clone, Debug, Default)]
pub struct StageGraph {
    /// The edition of the recipe.
    pub edition: u32,
    /// The parameters of the recipe and of its imports, in source order.
    pub params: Vec<ParamValue>,
    graph: DiGraph<Stage, Edge>,
}

impl StageGraph {
    pub(crate) fn new(edition: u32) -> Self {
        Self { edition, ..Self::default() }
    }

    /// Adds a stage behind everything it uses, and behind `bars`.
    pub(crate) fn add(&mut self, stage: Stage, bars: &[StepId]) -> StepId {
        let mut uses = Vec::new();
        stage.task.each_step(&mut |step| uses.push(step));
        let node = self.graph.add_node(stage);
        for step in uses {
            self.graph.update_edge(index(step), node, Edge::Value);
        }
        for bar in bars {
            self.graph.update_edge(index(*bar), node, Edge::Bar);
        }
        StepId(u32::try_from(node.index()).unwrap_or(u32::MAX))
    }

    /// The stages, in source order.
    pub fn stages(&self) -> impl Iterator<Item = (StepId, &Stage)> {
        (0u32..).map(StepId).zip(self.graph.node_weights())
    }

    /// A stage.
    pub fn stage(&self, id: StepId) -> Option<&Stage> {
        self.graph.node_weight(index(id))
    }

    /// The call of a stage; `None` for a `require`.
    pub fn call(&self, id: StepId) -> Option<&Call> {
        match &self.stage(id)?.task {
            Task::Stage { call, .. } => Some(call),
            Task::Require(_) => None,
        }
    }

    /// The stages right before one, in source order, and why.
    pub fn before(&self, id: StepId) -> Vec<(StepId, Edge)> {
        let mut before: Vec<_> = self
            .graph
            .edges_directed(index(id), Direction::Incoming)
            .map(|edge| (StepId(u32::try_from(edge.source().index()).unwrap_or(u32::MAX)), *edge.weight()))
            .collect();
        before.sort_by_key(|(step, _)| *step);
        before
    }

    /// How many stages there are.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is no stage.
    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }
}

fn index(id: StepId) -> NodeIndex {
    NodeIndex::new(id.index())
}

impl Task {
    pub(crate) fn each_step(&self, visit: &mut impl FnMut(StepId)) {
        let mut visit = |step: &crate::value::StepRef| visit(step.step);
        match self {
            Task::Stage { call, .. } => call.each_step(&mut visit),
            Task::Require(requirement) => {
                requirement.left.each_step(&mut visit);
                requirement.right.each_step(&mut visit);
            }
        }
    }
}

/// One line a stage: name, what it does, what it waits for.
impl fmt::Display for StageGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, stage) in self.stages() {
            write!(f, "{id} {} = ", stage.name)?;
            match &stage.task {
                Task::Stage { call, .. } => write!(f, "{call}")?,
                Task::Require(requirement) => write!(f, "require {requirement}")?,
            }
            let before = self.before(id);
            for (i, (step, edge)) in before.iter().enumerate() {
                let mark = if *edge == Edge::Bar { " (bar)" } else { "" };
                write!(f, "{}{step}{mark}", if i == 0 { "\n   after " } else { ", " })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
