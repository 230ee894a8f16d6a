//! What one forward pass reads: the encoder's input, and the decoder's tokens with their labels.

use candle_core::Tensor;

/// Marks a label that no loss counts: prompt and padding.
pub const IGNORE: i64 = -100;

/// Token ids of several sequences, padded to one length; `[batch, time]`, row-major.
///
/// *Invariant*: `ids.len() == batch * time`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    batch: usize,
    time: usize,
}

impl Tokens {
    /// Pads every sequence at its end with `pad` to the longest.
    pub fn padded(sequences: &[Vec<u32>], pad: u32) -> Self {
        let time = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let ids = sequences.iter().flat_map(|s| s.iter().copied().chain(std::iter::repeat_n(pad, time - s.len()))).collect();
        Self { ids, batch: sequences.len(), time }
    }

    /// One new token for each sequence of a batch, `[batch, 1]`.
    pub fn column(ids: Vec<u32>) -> Self {
        let batch = ids.len();
        Self { ids, batch, time: 1 }
    }

    /// All ids, row-major.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Sequences.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Tokens of the longest sequence.
    pub fn time(&self) -> usize {
        self.time
    }
}

/// The encoder's input.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// Log-mel spectrograms, `[batch, mels, frames]`.
    Features(Tensor),
    /// Token ids, with the true length of each sequence.
    Tokens {
        /// The padded ids.
        tokens: Tokens,
        /// Tokens of each sequence before the padding.
        lengths: Vec<usize>,
    },
}

/// A training or scoring batch with teacher forcing.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What the encoder reads.
    pub inputs: Inputs,
    /// What the decoder reads, already shifted right by one against the labels.
    pub decoder: Tokens,
    /// What it should say at each position, `[batch, time]` row-major; [`IGNORE`] where nothing counts.
    pub labels: Vec<i64>,
}
