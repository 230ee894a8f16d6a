//! Stage graph to plan: steps in order, each with what it waits for and what it means.

use crate::fingerprint::fingerprint;
use crate::graph::StageGraph;
use crate::plan::{Plan, Step};

/// Lowers a graph.
pub fn lower(graph: &StageGraph) -> Plan {
    let mut steps: Vec<Step> = Vec::with_capacity(graph.len());
    for (id, stage) in graph.stages() {
        let meaning = fingerprint(&stage.task, |used| steps.get(used.index()).map(|step| step.fingerprint));
        steps.push(Step {
            id,
            name: stage.name.clone(),
            binding: stage.binding.clone(),
            span: stage.span,
            task: stage.task.clone(),
            after: graph.before(id).into_iter().map(|(step, _)| step).collect(),
            steps_per_epoch: stage.steps_per_epoch,
            fingerprint: meaning,
        });
    }
    Plan { edition: graph.edition, params: graph.params.clone(), steps }
}
