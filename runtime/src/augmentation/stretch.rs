//! `stretch`: another speed and another voice, by stretching a spectrogram along time and along frequency.
//!
//! Along time it stands for speed perturbation (Ko et al., Interspeech 2015), along frequency for vocal tract length perturbation
//! (Jaitly and Hinton, ICML 2013), both as linear interpolation between cells of the log-mel spectrogram.

use super::{Augmentation, Random};
use crate::shelf::Ratio;
use crate::word;

/// A factor is drawn from this many steps to either side of 1.
const STEPS: usize = 1 << 16;

word! {
    /// Stretches a spectrogram along time and along frequency by random factors (speed and vocal tract length perturbation).
    pub struct Stretch = "stretch" {
        /// How much faster or slower at most.
        time: Ratio where "0%..50%" = Ratio(0.1),
        /// How much higher or lower at most.
        frequency: Ratio where "0%..50%" = Ratio(0.08),
    }
}

impl Augmentation for Stretch {
    fn change(&self, spectrogram: &mut [f32], mels: usize, frames: usize, random: &mut Random) {
        let mut factor = |most: f64| 1.0 + most * (random.up_to(2 * STEPS) as f64 / STEPS as f64 - 1.0);
        let (time, frequency) = (factor(self.time.0), factor(self.frequency.0));
        let along_time: Vec<Between> = (0..frames).map(|frame| Between::at(frame as f64 * time, frames)).collect();
        let before = spectrogram.to_vec();
        for (mel, row) in spectrogram.chunks_exact_mut(frames).enumerate() {
            let along_mels = Between::at(mel as f64 * frequency, mels);
            let [low, high] = along_mels.cells.map(|mel| &before[mel * frames..(mel + 1) * frames]);
            for (value, between) in row.iter_mut().zip(&along_time) {
                *value = along_mels.mix(between.of(low), between.of(high));
            }
        }
    }
}

/// A place between two cells.
struct Between {
    cells: [usize; 2],
    /// How far from the first cell, 0 to 1.
    way: f32,
}

impl Between {
    /// The cells around `place` of `count`; what lies behind the last cell is the last cell.
    fn at(place: f64, count: usize) -> Self {
        let last = count - 1;
        let cell = (place as usize).min(last);
        Self { cells: [cell, (cell + 1).min(last)], way: (place - cell as f64).clamp(0.0, 1.0) as f32 }
    }

    fn mix(&self, low: f32, high: f32) -> f32 {
        low + self.way * (high - low)
    }

    fn of(&self, row: &[f32]) -> f32 {
        self.mix(row[self.cells[0]], row[self.cells[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_without_stretching() {
        let before: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let mut after = before.clone();
        Stretch { time: Ratio(0.0), frequency: Ratio(0.0) }.change(&mut after, 3, 4, &mut Random::new(1, 2, 3));
        assert_eq!(after, before);
    }

    #[test]
    fn a_ramp_stays_a_ramp_of_another_slope() {
        let (mels, frames) = (4, 50);
        let mut ramp: Vec<f32> = (0..mels).flat_map(|_| (0..frames).map(|frame| frame as f32)).collect();
        Stretch { time: Ratio(0.2), frequency: Ratio(0.2) }.change(&mut ramp, mels, frames, &mut Random::new(1, 2, 3));
        let slope = ramp[1] - ramp[0];
        assert!((0.8..=1.2).contains(&slope) && slope != 1.0, "{slope}");
        for row in ramp.chunks_exact(frames) {
            let inside = (0..40).all(|frame| (row[frame] - slope * frame as f32).abs() < 1e-3);
            assert!(inside, "{row:?}");
        }
    }
}
