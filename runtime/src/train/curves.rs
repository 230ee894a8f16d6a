//! Losses and schedules by step, thinned so that a report stays readable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::Curve;

/// Points of a curve, at most.
const POINTS: u64 = 500;

/// The curves of one training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Curves {
    steps: u64,
    losses: BTreeMap<String, Vec<(u64, f64)>>,
    schedules: BTreeMap<String, Vec<(u64, f64)>>,
}

impl Curves {
    /// Curves over `steps` steps.
    pub(super) fn new(steps: u64) -> Self {
        Self { steps, losses: BTreeMap::new(), schedules: BTreeMap::new() }
    }

    /// Records step `step`, counted from 1, if it is one of those that are kept: the first, the last, and some between.
    pub(super) fn record(&mut self, step: u64, total: f64, terms: &[(String, f64)], schedules: &[(String, f64)]) {
        if step != 1 && step != self.steps && !step.is_multiple_of(self.steps.div_ceil(POINTS)) {
            return;
        }
        let add = |curves: &mut BTreeMap<String, Vec<(u64, f64)>>, name: &str, value| {
            curves.entry(name.to_owned()).or_default().push((step, value));
        };
        add(&mut self.losses, "total", total);
        terms.iter().for_each(|(name, value)| add(&mut self.losses, name, *value));
        schedules.iter().for_each(|(name, value)| add(&mut self.schedules, name, *value));
    }

    /// The losses, `total` among them.
    pub(super) fn losses(&self) -> Vec<Curve> {
        curves(&self.losses)
    }

    /// The schedules.
    pub(super) fn schedules(&self) -> Vec<Curve> {
        curves(&self.schedules)
    }
}

fn curves(named: &BTreeMap<String, Vec<(u64, f64)>>) -> Vec<Curve> {
    named.iter().map(|(name, points)| Curve { name: name.clone(), points: points.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_step_are_kept_among_at_most_as_many_as_a_chart_can_show() {
        let mut curves = Curves::new(4321);
        (1..=4321).for_each(|step| curves.record(step, step as f64, &[], &[]));
        let points = &curves.losses()[0].points;
        assert!(points.len() as u64 <= POINTS + 2);
        assert_eq!((points[0], points[points.len() - 1]), ((1, 1.0), (4321, 4321.0)));
    }
}
