//! Training: a student learns, from labels and from a teacher, with what masks removed staying removed.
//!
//! One optimizer step: the teacher's forward pass without gradients and the student's with them, on the same batch; the weighted sum
//! of losses; the backward pass; gradients masked, then clipped, then handed to the optimizer; weights masked. At the first step
//! every trained tensor must have received a gradient: an operation without a backward pass would otherwise go unnoticed.
//!
//! A run is a function of the student, the data and the settings. Rows, weights and rates of step `k` depend on the seed and on `k`
//! alone, so that a run which is resumed from its saved state ends in the same bits as one that was never stopped.

mod curves;
mod examples;
mod gradients;
mod gradual;
mod objective;
mod student;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use examples::Examples;
pub use gradual::GradualPruning;
pub use objective::Objective;

use crate::augmentation::{Augmentations, Random};
use crate::dataset::{Order, Rows};
use crate::model::Model;
use crate::optimizer::Optimizer;
use crate::run::{Event, Snapshot};
use crate::schedule::{StageLength, Timeline};
use crate::stage::Work;
use crate::{Checkpoint, Fault, Result, op};
use curves::Curves;
use gradients::Gradients;
use objective::Term;
use student::Student;

/// How a student is trained.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is minimized.
    pub objective: Objective,
    /// How weights follow their gradients.
    pub optimizer: Arc<dyn Optimizer>,
    /// How long.
    pub length: StageLength,
    /// Rows of one forward pass.
    pub batch: usize,
    /// Forward passes of one optimizer step.
    pub accumulate: usize,
    /// The largest norm of all gradients together; larger ones are scaled down to it.
    pub clip: Option<f64>,
    /// Decides the order of rows and what augmentations draw.
    pub seed: u64,
    /// Pruning while the student learns.
    pub pruning: Option<GradualPruning>,
    /// How examples are changed.
    pub augmentations: Augmentations,
}

/// Trains `student` on `rows`, as a part of the stage `work`: there it saves its state, goes on from it, and tells its losses.
///
/// # Errors
/// A loss that is not finite, a parameter without a gradient, data that cannot be read, an interruption.
pub fn train(
    student: &Checkpoint,
    teacher: Option<&Checkpoint>,
    rows: Rows,
    settings: &Settings,
    work: &mut Work<'_>,
) -> Result<Checkpoint> {
    let mut training = Training::new(student, teacher, rows, settings)?;
    training.examples.read_all(|done, rows| {
        work.progress(done, rows, "rows");
        work.go_on()
    })?;
    if let Some(snapshot) = work.saved() {
        training.resume(snapshot)?;
        work.note(format!("going on behind step {}", training.step));
    }
    for timeline in training.terms.iter().map(|term| &term.weight).chain([&training.rate]) {
        if timeline.is_cut() {
            work.note(format!("{} steps are shorter than a schedule, which ends before its last value", settings.length.steps));
            break;
        }
    }
    let (mut saved, mut last_step) = (Instant::now(), Duration::ZERO);
    while training.step < settings.length.steps {
        if work.is_interrupted() || is_due(saved.elapsed(), last_step, work.save_every) {
            training.snapshot()?.write(&work.unfinished)?;
            saved = Instant::now();
            work.go_on()?;
        }
        let began = Instant::now();
        training.prune_if_due(work)?;
        training.advance(work)?;
        last_step = began.elapsed();
    }
    training.prune_at_the_end(work)?;
    work.record.losses = training.curves.losses();
    work.record.schedules = training.curves.schedules();
    training.student.checkpoint(&training.base)
}

/// How old a saved state may become at most: writing the next one takes the rest of two minutes.
const OLDEST: Duration = Duration::from_secs(110);

/// Whether a state that was saved `age` ago must be saved again now, if the next step takes as long as the last one.
fn is_due(age: Duration, last_step: Duration, every: Duration) -> bool {
    age > every || age + last_step > OLDEST
}

/// Training between two steps.
struct Training<'a> {
    settings: &'a Settings,
    terms: Vec<Term>,
    rate: Timeline,
    sparsity: Option<Timeline>,
    order: Order,
    examples: Examples,
    /// The student as it was given, with the masks that hold now.
    base: Checkpoint,
    student: Student,
    teacher: Option<Box<dyn Model>>,
    /// Steps done.
    step: u64,
    curves: Curves,
}

impl<'a> Training<'a> {
    fn new(student: &Checkpoint, teacher: Option<&Checkpoint>, rows: Rows, settings: &'a Settings) -> Result<Self> {
        let teacher = match (settings.objective.needs_teacher(), teacher) {
            (false, _) => None,
            (true, Some(teacher)) => Some(teacher.model()?),
            (true, None) => {
                return Err(Fault::input("a term of the loss compares with a teacher, and the recipe names none")
                    .help("add `teacher: dense`"));
            }
        };
        let length = settings.length;
        let rows_per_step = settings.batch * settings.accumulate;
        Ok(Self {
            settings,
            terms: settings.objective.over(length),
            rate: settings.optimizer.rate().over(length),
            sparsity: settings.pruning.as_ref().map(|pruning| pruning.sparsity.0.over(length)),
            order: Order::new(crate::dataset::Dataset::len(&rows), rows_per_step, settings.seed),
            examples: Examples::new(student, rows)?,
            base: student.clone(),
            student: Student::new(student, settings.optimizer.moments())?,
            teacher,
            step: 0,
            curves: Curves::new(length.steps),
        })
    }

    /// Everything that the remaining steps depend on.
    fn snapshot(&self) -> Result<Snapshot> {
        let progress = serde_json::json!({ "step": self.step, "curves": self.curves });
        Ok(Snapshot { checkpoint: self.student.checkpoint(&self.base)?, extra: self.student.moments()?, progress })
    }

    fn resume(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let damaged = || Fault::internal("the saved state of this stage is not that of a training");
        self.step = snapshot.progress["step"].as_u64().ok_or_else(damaged)?;
        self.curves = serde_json::from_value(snapshot.progress["curves"].take()).map_err(|_| damaged())?;
        self.student.restore(&snapshot)?;
        self.base.masks = snapshot.checkpoint.masks;
        Ok(())
    }

    /// The gradients of one optimizer step and every term of the loss. A pass weighs as much as it has labels that count, so that
    /// several passes are one large batch for a loss that is a mean over labels.
    fn gradients(&mut self) -> Result<(Gradients, Vec<f64>)> {
        let rows = self.order.step(self.step);
        let counted = self.examples.counted(&rows) as f64;
        let mut gradients = Gradients::default();
        let mut values = vec![0.0; self.terms.len()];
        for rows_of_pass in rows.chunks(self.settings.batch.max(1)) {
            let share = self.examples.counted(rows_of_pass) as f64 / counted;
            let terms = self.pass(rows_of_pass, share, &mut gradients)?;
            values.iter_mut().zip(terms).for_each(|(value, term)| *value += share * term);
        }
        Ok((gradients, values))
    }

    /// One optimizer step.
    fn advance(&mut self, work: &mut Work<'_>) -> Result<()> {
        let (mut gradients, values) = self.gradients()?;
        gradients.check_coverage(&self.student)?;
        gradients.mask(&self.base.masks);
        gradients.clip(self.settings.clip).map_err(|fault| self.unstable(fault))?;
        let rate = self.rate.at(self.step);
        self.student.follow(&gradients, &*self.settings.optimizer, self.step + 1, rate, &self.base.masks)?;
        self.tell(&values, rate, work);
        self.step += 1;
        Ok(())
    }

    /// Forward and backward over some rows of a step; adds `share` of the gradients, and yields every term of the loss.
    fn pass(&mut self, rows: &[usize], share: f64, gradients: &mut Gradients) -> Result<Vec<f64>> {
        let examples = self.examples.get(rows)?.into_iter().zip(rows).map(|(example, &row)| {
            self.settings.augmentations.apply(example, &mut Random::new(self.settings.seed, self.step, row))
        });
        let batch = self.examples.collate(&examples.collect::<Result<Vec<_>>>()?)?;
        let teacher = self.teacher.as_deref().map(|teacher| objective::outputs(teacher, &batch)).transpose()?;
        let (found, terms) = op::differentiate(|| {
            let student = objective::outputs(&*self.student.model, &batch)?;
            let (total, terms) = objective::evaluate(&self.terms, self.step, &batch, &student, teacher.as_ref())?;
            if let Some((term, value)) = self.terms.iter().zip(&terms).find(|(_, value)| !value.is_finite()) {
                return Err(self.unstable(Fault::running(format!("the loss `{}` is {value}", term.name))));
            }
            Ok(((total * share)?, terms))
        })?;
        gradients.add(found, &self.student);
        Ok(terms)
    }

    /// The fault for numbers that are not finite in this step.
    fn unstable(&self, fault: Fault) -> Fault {
        let message = format!("{} at step {} (learning rate {:e})", fault.message, self.step + 1, self.rate.at(self.step));
        Fault { message, ..fault }.help("use a smaller learning rate, a longer warm-up, or `clip: 1.0`")
    }

    fn tell(&mut self, values: &[f64], rate: f64, work: &mut Work<'_>) {
        let weight = |term: &Term| term.weight.at(self.step);
        let total = self.terms.iter().zip(values).map(|(term, value)| weight(term) * value).sum();
        let terms: Vec<(String, f64)> = self.terms.iter().map(|term| term.name.clone()).zip(values.iter().copied()).collect();
        let mut schedules = vec![("rate".to_owned(), rate)];
        schedules.extend(self.terms.iter().map(|term| (format!("weight of {}", term.name), weight(term))));
        schedules.extend(self.sparsity.as_ref().map(|sparsity| ("sparsity".to_owned(), sparsity.at(self.step))));
        let step = self.step + 1;
        self.curves.record(step, total, &terms, &schedules);
        work.events.event(Event::Losses { step, total, terms: &terms, rate });
        work.events.event(Event::Progress { done: step, total: self.settings.length.steps, unit: "steps" });
    }
}
