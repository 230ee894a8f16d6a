//! Many shapes in one line: geometric means of how many times faster than dense a row of the table is.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Masks, Report};
use crate::Element;

/// All shapes of one element, pattern, sparsity and number of tokens.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How weights are stored.
    pub element: Element,
    /// Where they lie.
    pub masks: Masks,
    /// Share that is pruned, 0 to 1.
    pub sparsity: f64,
    /// Rows of the activations.
    pub tokens: usize,
    /// How many times faster than the best dense FP32 kernel each format is that served every shape: the geometric mean over shapes.
    pub formats: BTreeMap<String, f64>,
    /// The same for the fastest format of each shape, which is what the engine would choose.
    pub best: f64,
    /// The least of those that `best` is the mean of, and its shape.
    pub worst: (f64, String),
    /// Shapes in all.
    pub shapes: usize,
}

/// One summary for each element, pattern, sparsity and number of tokens, in the order in which they first appear.
pub fn summaries(reports: &[Report]) -> Vec<Summary> {
    let key = |report: &Report| (report.case.element, report.case.masks, report.case.sparsity.to_bits(), report.tokens);
    let mut groups: Vec<Vec<&Report>> = Vec::new();
    for report in reports {
        match groups.iter_mut().find(|group| key(group[0]) == key(report)) {
            Some(group) => group.push(report),
            None => groups.push(vec![report]),
        }
    }
    groups.into_iter().map(|group| summary(&group)).collect()
}

/// The summary of reports that differ in their shape alone, of which there is at least one.
fn summary(group: &[&Report]) -> Summary {
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut fastest: Vec<(f64, String)> = Vec::new();
    for report in group {
        let own = report.formats.iter().filter(|format| format.element == report.case.element);
        let mut best = 0.0f64;
        for format in own {
            ratios.entry(format.format.clone()).or_default().push(format.times_best_dense);
            best = best.max(format.times_best_dense);
        }
        fastest.push((best, format!("{}x{}", report.case.rows, report.case.cols)));
    }
    ratios.retain(|_, ratios| ratios.len() == group.len());
    let case = &group[0].case;
    Summary {
        element: case.element,
        masks: case.masks,
        sparsity: case.sparsity,
        tokens: group[0].tokens,
        formats: ratios.into_iter().map(|(word, ratios)| (word, geometric_mean(ratios.into_iter()))).collect(),
        best: geometric_mean(fastest.iter().map(|(ratio, _)| *ratio)),
        worst: fastest.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default(),
        shapes: group.len(),
    }
}

fn geometric_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}
