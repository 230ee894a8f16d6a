//! Where the time of a forward pass goes, by part, and how many bytes each part moves.
//!
//! What a thread does is written down by that thread alone, and only while somebody asks. Of work that all threads share, the thread that
//! asks does its part; whatever it does there inside of another part does not count for that one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

/// A part of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Products with weight matrices, with the activation and the residual that follow them.
    Linear,
    /// Convolutions.
    Convolution,
    /// Products of queries, keys and values.
    Attention,
    /// The softmax between them.
    Softmax,
    /// Layer norms.
    LayerNorm,
    /// Activations that follow no product.
    Activation,
    /// Token and position vectors.
    Embedding,
    /// Sums, joins and transpositions of tensors.
    Copies,
    /// What belongs to no part.
    Rest,
}

impl Part {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear layers",
            Self::Convolution => "convolutions",
            Self::Attention => "attention",
            Self::Softmax => "softmax",
            Self::LayerNorm => "layer norm",
            Self::Activation => "activations",
            Self::Embedding => "embeddings",
            Self::Copies => "copies and sums",
            Self::Rest => "rest",
        }
    }

    /// Whether it is matrix work: what kernels can make faster, and what the others should not outweigh.
    pub fn is_matrix_work(self) -> bool {
        matches!(self, Self::Linear | Self::Convolution | Self::Attention | Self::Softmax)
    }
}

/// What one part took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Wall time of the thread that asked, other parts inside of it left out.
    pub seconds: f64,
    /// Bytes of weights, keys, values and activations that it read or wrote, counted once each.
    pub bytes: u64,
}

/// The cost of each part.
pub type Profile = BTreeMap<Part, Cost>;

/// What was written down so far.
#[derive(Default)]
struct Record {
    profile: Profile,
    /// Time of spans inside of the one that is open.
    inside: Duration,
}

thread_local! {
    static RECORD: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// Does `work` and tells where its time went.
pub fn profile<T>(work: impl FnOnce() -> T) -> (T, Profile) {
    RECORD.set(Some(Record::default()));
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    let mut profile = RECORD.take().unwrap_or_default().profile;
    let known: f64 = profile.values().map(|cost| cost.seconds).sum();
    profile.insert(Part::Rest, Cost { seconds: (took.as_secs_f64() - known).max(0.0), bytes: 0 });
    (result, profile)
}

/// Until it is dropped, time counts for its part.
pub(crate) struct Span {
    /// When it began, and the time of spans inside of the one around it; nothing where nobody asks.
    began: Option<(Instant, Duration)>,
    part: Part,
}

/// Begins a part that moves `bytes`.
pub(crate) fn span(part: Part, bytes: impl FnOnce() -> usize) -> Span {
    let began = RECORD.with_borrow_mut(|record| {
        let record = record.as_mut()?;
        record.profile.entry(part).or_default().bytes += bytes() as u64;
        Some((Instant::now(), std::mem::take(&mut record.inside)))
    });
    Span { began, part }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some((began, around)) = self.began else { return };
        let took = began.elapsed();
        RECORD.with_borrow_mut(|record| {
            if let Some(record) = record {
                record.profile.entry(self.part).or_default().seconds += took.saturating_sub(record.inside).as_secs_f64();
                record.inside = around + took;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_once_and_for_the_innermost_part() {
        let wait = || std::thread::sleep(Duration::from_millis(5));
        let (result, profile) = profile(|| {
            let _attention = span(Part::Attention, || 100);
            wait();
            for _ in 0..2 {
                let _softmax = span(Part::Softmax, || 7);
                wait();
            }
            wait();
            3
        });
        assert_eq!(result, 3);
        assert_eq!((profile[&Part::Attention].bytes, profile[&Part::Softmax].bytes), (100, 14));
        assert!(profile[&Part::Attention].seconds >= 0.01 && profile[&Part::Softmax].seconds >= 0.01);
        assert!(profile[&Part::Rest].seconds < profile[&Part::Softmax].seconds);
        drop(span(Part::Linear, || unreachable!("nobody asks")));
    }
}
