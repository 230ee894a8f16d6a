//! `specaugment`: bands and stretches of a spectrogram are silenced.
//!
//! Park et al., "SpecAugment" (arXiv 1904.08779), without its time warping. Masked values are 0, near the middle of Whisper's
//! normalized log-mel range.

use super::{Augmentation, Random};
use crate::word;

word! {
    /// Silences random bands and stretches of a spectrogram (arXiv 1904.08779).
    pub struct SpecAugment = "specaugment" {
        /// How many bands, and how many stretches.
        masks: usize where "0..100" = 2,
        /// The widest band, in mels.
        mels: usize where "0..1000" = 10,
        /// The longest stretch, in frames.
        frames: usize where "0..100000" = 12,
    }
}

impl Augmentation for SpecAugment {
    fn change(&self, spectrogram: &mut [f32], mels: usize, frames: usize, random: &mut Random) {
        for _ in 0..self.masks {
            let height = random.up_to(self.mels.min(mels));
            let first = random.up_to(mels - height);
            spectrogram[first * frames..(first + height) * frames].fill(0.0);
            let width = random.up_to(self.frames.min(frames));
            let first = random.up_to(frames - width);
            spectrogram.chunks_exact_mut(frames).for_each(|row| row[first..first + width].fill(0.0));
        }
    }
}
