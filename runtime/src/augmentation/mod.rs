//! The shelf of augmentations: how an example is changed each time that it is learned from.
//!
//! What is drawn depends on the stage's seed, the step and the row alone, so that a resumed run draws the same.

mod shift;
mod specaugment;
mod stretch;
mod worddropout;

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sparsec_compiler::{Kind, Value};

pub use shift::Shift;
pub use specaugment::SpecAugment;
pub use stretch::Stretch;
pub use worddropout::WordDropout;

use crate::batch::Input;
use crate::shelf::{Parameter, Shelf, unexpected};
use crate::{Example, Result, row, shelved};

/// An augmentation: one file of this folder, one row of [`AUGMENTATIONS`].
pub trait Augmentation: Debug + Send + Sync {
    /// Changes a spectrogram `[mels, frames]`, row-major.
    fn change(&self, _spectrogram: &mut [f32], _mels: usize, _frames: usize, _random: &mut Random) {}

    /// Changes what the decoder reads, shifted right by one against `labels`.
    fn change_text(&self, _decoder: &mut [u32], _labels: &[i64], _random: &mut Random) {}
}

/// Every augmentation.
pub static AUGMENTATIONS: Shelf<dyn Augmentation> = Shelf::new(
    "augmentation",
    &[
        row!(dyn Augmentation, SpecAugment),
        row!(dyn Augmentation, Shift),
        row!(dyn Augmentation, Stretch),
        row!(dyn Augmentation, WordDropout),
    ],
);
shelved! { dyn Augmentation, AUGMENTATIONS }

/// Augmentations, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Augmentations(pub Vec<Arc<dyn Augmentation>>);

impl Parameter for Augmentations {
    fn kind() -> Kind {
        Kind::list(AUGMENTATIONS.kind())
    }

    fn read(value: &Value) -> Result<Self> {
        let items = value.as_list().ok_or_else(|| unexpected(&Self::kind(), value))?;
        items.iter().map(Parameter::read).collect::<Result<_>>().map(Self)
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

impl Augmentations {
    /// `example` changed for one step.
    ///
    /// # Errors
    /// None but bugs of ours.
    pub fn apply(&self, mut example: Example, random: &mut Random) -> Result<Example> {
        self.0.iter().for_each(|augmentation| augmentation.change_text(&mut example.decoder, &example.labels, random));
        let Input::Features(spectrogram) = &example.input else { return Ok(example) };
        if self.0.is_empty() {
            return Ok(example);
        }
        let (mels, frames) = spectrogram.dims2()?;
        let mut values = spectrogram.flatten_all()?.to_vec1::<f32>()?;
        self.0.iter().for_each(|augmentation| augmentation.change(&mut values, mels, frames, random));
        let changed = Tensor::from_vec(values, (mels, frames), spectrogram.device())?;
        Ok(Example { input: Input::Features(changed), ..example })
    }
}

/// Numbers for one row in one step.
pub struct Random(ChaCha8Rng);

impl Random {
    /// The numbers of row `row` in step `step` under `seed`.
    pub fn new(seed: u64, step: u64, row: usize) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&step.to_le_bytes()).update(&(row as u64).to_le_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// A number from 0 to `bound`, both included.
    pub fn up_to(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * (bound as u128 + 1)) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    use crate::shelf::Ratio;

    fn example() -> Example {
        let spectrogram = Tensor::arange(1f32, 1201.0, &Device::Cpu).unwrap().reshape((20, 60)).unwrap();
        Example { input: Input::Features(spectrogram), decoder: vec![1], labels: vec![2] }
    }

    fn values(example: &Example) -> Vec<f32> {
        match &example.input {
            Input::Features(features) => features.flatten_all().unwrap().to_vec1().unwrap(),
            Input::Tokens(_) | Input::Nothing => Vec::new(),
        }
    }

    #[test]
    fn the_same_step_and_row_draw_the_same() {
        let augmentations =
            Augmentations(vec![Arc::new(SpecAugment { masks: 2, mels: 5, frames: 9 }), Arc::new(Shift { frames: 10 })]);
        let at = |step, row| values(&augmentations.apply(example(), &mut Random::new(1, step, row)).unwrap());
        assert_eq!(at(3, 4), at(3, 4));
        assert_ne!(at(3, 4), at(3, 5));
        assert_ne!(at(3, 4), at(4, 4));
        assert_eq!(values(&Augmentations::default().apply(example(), &mut Random::new(1, 0, 0)).unwrap()), values(&example()));
    }

    #[test]
    fn words_are_withheld_from_the_text_alone() {
        let dropout = |share| Augmentations(vec![Arc::new(WordDropout { share: Ratio(share) })]);
        let example = Example {
            input: Input::Tokens(vec![1]),
            decoder: vec![90, 91, 1, 2, 3],
            labels: vec![crate::batch::IGNORE, 1, 2, 3, 99],
        };
        let read = |share, step| dropout(share).apply(example.clone(), &mut Random::new(1, step, 0)).unwrap();
        assert_eq!(read(0.0, 0).decoder, example.decoder);
        assert_eq!(read(1.0, 0).decoder, [90, 91, 99, 99, 99]);
        assert_eq!(read(1.0, 0).labels, example.labels);
        let withheld = (0..1000).flat_map(|step| read(0.3, step).decoder).filter(|&token| token == 99).count();
        assert!((800..1000).contains(&withheld), "{withheld} of 3000 is about 30 %");
    }

    #[test]
    fn masks_stay_within_their_sizes() {
        let specaugment = SpecAugment { masks: 1, mels: 3, frames: 4 };
        for step in 0..50 {
            let mut spectrogram = vec![1.0; 20 * 60];
            specaugment.change(&mut spectrogram, 20, 60, &mut Random::new(0, step, 0));
            let whole_mels = spectrogram.chunks(60).filter(|row| row.iter().all(|&value| value == 0.0)).count();
            let whole_frames = (0..60).filter(|&frame| (0..20).all(|mel| spectrogram[mel * 60 + frame] == 0.0)).count();
            assert!(whole_mels <= 3 && whole_frames <= 4);
        }
    }

    #[test]
    fn a_shift_moves_every_row_alike_and_repeats_the_quiet_start() {
        let mut spectrogram: Vec<f32> = (0..12).map(|at| at as f32).collect();
        let moved = (0..20).find_map(|step| {
            let mut changed = spectrogram.clone();
            Shift { frames: 2 }.change(&mut changed, 2, 6, &mut Random::new(0, step, 0));
            (changed[3] == 1.0).then_some(changed)
        });
        spectrogram = moved.unwrap();
        assert_eq!(spectrogram, [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 6.0, 6.0, 6.0, 7.0, 8.0, 9.0]);
    }
}
