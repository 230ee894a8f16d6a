//! What one forward pass reads: the encoder's input, and the decoder's tokens with their labels.

use std::ops::Range;

use candle_core::Tensor;

use crate::{Fault, Result};

/// Marks a label that no loss counts: prompt and padding.
pub const IGNORE: i64 = -100;

/// Token ids of several sequences, padded to one length; `[batch, time]`, row-major.
///
/// *Invariant*: `ids.len() == places.len() * time`, and no place ends behind `time`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    time: usize,
    places: Vec<Range<usize>>,
}

impl Tokens {
    /// Pads every sequence at its end with `pad` to the longest.
    pub fn padded(sequences: &[Vec<u32>], pad: u32) -> Self {
        let time = longest(sequences);
        let ids = sequences.iter().flat_map(|s| s.iter().copied().chain(std::iter::repeat_n(pad, time - s.len()))).collect();
        Self { ids, time, places: sequences.iter().map(|s| 0..s.len()).collect() }
    }

    /// Pads every sequence at its start, so that all end together and go on together.
    pub fn padded_before(sequences: &[Vec<u32>], pad: u32) -> Self {
        let time = longest(sequences);
        let ids = sequences.iter().flat_map(|s| std::iter::repeat_n(pad, time - s.len()).chain(s.iter().copied())).collect();
        Self { ids, time, places: sequences.iter().map(|s| time - s.len()..time).collect() }
    }

    /// One new token for each sequence of a batch, `[batch, 1]`.
    pub fn column(ids: Vec<u32>) -> Self {
        Self { time: 1, places: vec![0..1; ids.len()], ids }
    }

    /// Becomes `ids`, one new token for each sequence, in the memory that is there.
    pub fn set_column(&mut self, ids: &[u32]) {
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.places.clear();
        self.places.resize(ids.len(), 0..1);
        self.time = 1;
    }

    /// All ids, row-major.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Sequences.
    pub fn batch(&self) -> usize {
        self.places.len()
    }

    /// Tokens of the longest sequence.
    pub fn time(&self) -> usize {
        self.time
    }

    /// Where each sequence lies in its row, the rest being padding.
    pub fn places(&self) -> &[Range<usize>] {
        &self.places
    }

    /// The places, where there is padding at all.
    pub fn padding(&self) -> Option<&[Range<usize>]> {
        self.places.iter().any(|place| place.len() < self.time).then_some(&self.places)
    }
}

fn longest(sequences: &[Vec<u32>]) -> usize {
    sequences.iter().map(Vec::len).max().unwrap_or(0)
}

/// The encoder's input.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// Log-mel spectrograms, `[batch, mels, frames]`.
    Features(Tensor),
    /// Source texts.
    Tokens(Tokens),
    /// None: a family that only decodes.
    Nothing,
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

/// What one row becomes before rows are put together: computed once, kept, and combined anew in every epoch.
#[derive(Clone, Debug)]
pub struct Example {
    /// What the encoder reads.
    pub input: Input,
    /// What the decoder reads, shifted right by one against the labels.
    pub decoder: Vec<u32>,
    /// What it should say at each of these positions; [`IGNORE`] where nothing counts. As long as `decoder`.
    pub labels: Vec<i64>,
}

/// The encoder's input of one row.
#[derive(Clone, Debug)]
pub enum Input {
    /// A log-mel spectrogram, `[mels, frames]`; the same number of frames in every row.
    Features(Tensor),
    /// Token ids.
    Tokens(Vec<u32>),
    /// None: a family that only decodes.
    Nothing,
}

impl Batch {
    /// Puts examples together, tokens padded with `pad` and labels with [`IGNORE`].
    ///
    /// # Errors
    /// No example at all, spectrograms of several shapes, or audio and text in one batch.
    pub fn of(examples: &[Example], pad: u32) -> Result<Self> {
        let decoder = Tokens::padded(&examples.iter().map(|example| example.decoder.clone()).collect::<Vec<_>>(), pad);
        let labels = examples.iter().flat_map(|example| {
            let padding = decoder.time() - example.labels.len().min(decoder.time());
            example.labels.iter().copied().chain(std::iter::repeat_n(IGNORE, padding))
        });
        let labels = labels.collect();
        Ok(Self { inputs: Inputs::of(examples, pad)?, decoder, labels })
    }
}

impl Inputs {
    fn of(examples: &[Example], pad: u32) -> Result<Self> {
        let (mut features, mut tokens) = (Vec::new(), Vec::new());
        for example in examples {
            match &example.input {
                Input::Features(spectrogram) => features.push(spectrogram),
                Input::Tokens(ids) => tokens.push(ids.clone()),
                Input::Nothing => {}
            }
        }
        match (features.len(), tokens.len()) {
            (0, 0) if !examples.is_empty() => Ok(Self::Nothing),
            (rows, 0) if rows > 0 && rows == examples.len() => Ok(Self::Features(Tensor::stack(&features, 0)?)),
            (0, rows) if rows > 0 && rows == examples.len() => Ok(Self::Tokens(Tokens::padded(&tokens, pad))),
            _ => Err(Fault::internal("a batch is either all audio or all text, and not empty")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_padded_to_the_longest() {
        let example = |ids: &[u32]| Example {
            input: Input::Tokens(ids.to_vec()),
            decoder: ids.to_vec(),
            labels: ids.iter().map(|&id| i64::from(id)).collect(),
        };
        let batch = Batch::of(&[example(&[5, 6, 7]), example(&[8])], 0).unwrap();
        assert_eq!(batch.decoder.ids(), [5, 6, 7, 8, 0, 0]);
        assert_eq!(batch.labels, [5, 6, 7, 8, IGNORE, IGNORE]);
        assert!(matches!(batch.inputs, Inputs::Tokens(tokens) if tokens.places() == [0..3, 0..1]));
        let unheard = Example { input: Input::Nothing, ..example(&[1]) };
        assert!(matches!(Batch::of(&[unheard.clone(), unheard.clone()], 0).unwrap().inputs, Inputs::Nothing));
        assert!(Batch::of(&[example(&[1]), unheard], 0).is_err());
        assert!(Batch::of(&[], 0).is_err());
    }

    #[test]
    fn padding_stands_on_the_side_that_was_asked_for() {
        let sequences = [vec![5, 6, 7], vec![8]];
        let before = Tokens::padded_before(&sequences, 0);
        assert_eq!((before.ids(), before.places()), (&[5, 6, 7, 0, 0, 8][..], &[0..3, 2..3][..]));
        assert_eq!(before.padding(), Some(before.places()));
        assert_eq!(Tokens::column(vec![4, 5]).padding(), None);
        let mut tokens = Tokens::padded(&[vec![1, 2], vec![3]], 0);
        tokens.set_column(&[4, 5]);
        assert_eq!(tokens, Tokens::column(vec![4, 5]));
    }
}
