//! What a run tells while it works. The library prints nothing; whoever executes a plan listens.

use std::path::Path;

use crate::report::StageRecord;

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A plan of `stages` steps begins; its state is kept in `state`.
    Started {
        /// Steps of the plan.
        stages: usize,
        /// The folder of finished stages.
        state: &'a Path,
    },
    /// Step `index` (from 0) begins to work.
    Stage {
        /// Its place in the plan.
        index: usize,
        /// The binding in the recipe, `healed`.
        name: &'a str,
        /// The word, `finetune`.
        word: &'a str,
    },
    /// The running step, or the measuring, has done `done` of `total` units. It may count several things, one after the other.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// What is counted: `steps`, `layers compiled`, `rows`.
        unit: &'a str,
    },
    /// The losses of a training step, counted from 1.
    Losses {
        /// The step.
        step: u64,
        /// The weighted sum that was minimized.
        total: f64,
        /// Every term by name, without its weight.
        terms: &'a [(String, f64)],
        /// The learning rate of this step.
        rate: f64,
    },
    /// The running step wants something said.
    Note(&'a str),
    /// Step `index` is done, by work or by reuse.
    Done {
        /// Its place in the plan.
        index: usize,
        /// What it did.
        record: &'a StageRecord,
    },
    /// A model is fetched from the hub.
    Fetching,
    /// It is there.
    Fetched {
        /// The folder of its files.
        folder: &'a Path,
    },
    /// Every step is done, and the models are measured for the report.
    Measuring,
    /// The measuring is over.
    Measured {
        /// How long it took, seconds.
        seconds: f64,
    },
}

/// Listens to a run.
pub trait Events {
    /// Something happened. Called on the thread that executes the plan, in order.
    fn event(&mut self, event: Event<'_>);
}

/// Nobody listens.
pub struct Silent;

impl Events for Silent {
    fn event(&mut self, _: Event<'_>) {}
}

impl<F: FnMut(Event<'_>)> Events for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}
