//! `shift`: the utterance begins a little later.

use super::{Augmentation, Random};
use crate::word;

word! {
    /// Moves a spectrogram later in time; its first frame is repeated before it, its end is lost.
    pub struct Shift = "shift" {
        /// The longest way, in frames.
        frames: usize where "0..100000" = 10,
    }
}

impl Augmentation for Shift {
    fn change(&self, spectrogram: &mut [f32], _: usize, frames: usize, random: &mut Random) {
        let way = random.up_to(self.frames.min(frames.saturating_sub(1)));
        for row in spectrogram.chunks_exact_mut(frames) {
            row.copy_within(..frames - way, way);
            let first = row[way];
            row[..way].fill(first);
        }
    }
}
