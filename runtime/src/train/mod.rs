//! Training: a student learns, from labels and from a teacher, with what masks removed staying removed.
//!
//! One optimizer step: the teacher's forward pass without gradients and the student's with them, on the same batch; the weighted sum
//! of losses; the backward pass; gradients masked, then clipped, then handed to the optimizer; weights masked. At the first step
//! every trained tensor must have received a gradient: an operation without a backward pass would otherwise go unnoticed.
//!
//! A run is a function of the student, the data and the settings. Rows, weights and rates of step `k` depend on the seed and on `k`
//! alone, so that a run which is resumed from its saved state ends in the same bits as one that was never stopped.

mod augment;
mod clip;
mod examples;
mod gradual;
mod objective;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;

pub use augment::{AUGMENTATIONS, Augmentation};
pub use examples::Examples;
pub use gradual::GradualPruning;
pub use objective::{Objective, Term};

use crate::dataset::{Order, Rows};
use crate::model::NoTaps;
use crate::optimizer::{Optimizer, Step};
use crate::report::Curve;
use crate::run::Event;
use crate::schedule::{StageLength, Timeline};
use crate::stage::Work;
use crate::{Checkpoint, Fault, Result};
