//! Sample rate conversion: band-limited, without delay, of exact length, the same at every call.
//!
//! A recording of `n` samples becomes `ceil(n * to / from)` samples, sample 0 at the same instant as before. The work is done by
//! block transforms ([`rubato::Fft`]); this file takes blocks out of a stream and cuts the filter's delay off its front.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use crate::{Fault, Result};

/// Rates of sound that can be read, Hz. A block's size grows with a rate that shares no divisor with the other.
const RATES: std::ops::RangeInclusive<u32> = 1000..=768_000;
/// Samples of a block on its shorter side, at least; the filter is as long as a block, so this decides how sharp it is.
const BLOCK_SAMPLES: u64 = 1024;

/// `samples` at rate `from`, converted to rate `to`.
///
/// # Errors
/// A rate that no sound has.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    let mut resampler = Resampler::new(from, to)?;
    let mut converted = Vec::new();
    resampler.push(samples, &mut converted)?;
    resampler.finish(&mut converted)?;
    Ok(converted)
}

/// Converts a stream of samples.
pub(super) struct Resampler {
    /// `None` where both rates are the same.
    blocks: Option<Blocks>,
    from: u64,
    to: u64,
    taken: u64,
    given: u64,
}

/// The conversion of whole blocks.
struct Blocks {
    fft: Fft<f32>,
    /// Samples not yet converted, less than a block.
    waiting: Vec<f32>,
    /// The last converted block.
    converted: Vec<f32>,
    /// Samples at the front of the stream that are the filter's delay, not yet dropped.
    delay: usize,
}

impl Resampler {
    pub(super) fn new(from: u32, to: u32) -> Result<Self> {
        if let Some(rate) = [from, to].into_iter().find(|rate| !RATES.contains(rate)) {
            return Err(Fault::input(format!("sound at {rate} samples per second cannot be converted")).help(format!(
                "rates from {} to {} Hz can",
                RATES.start(),
                RATES.end()
            )));
        }
        let blocks = (from != to).then(|| Blocks::new(from, to)).transpose()?;
        Ok(Self { blocks, from: u64::from(from), to: u64::from(to), taken: 0, given: 0 })
    }

    /// Takes `samples`; appends what is ready to `out`.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        self.taken += samples.len() as u64;
        let before = out.len();
        match &mut self.blocks {
            Some(blocks) => blocks.push(samples, out)?,
            None => out.extend_from_slice(samples),
        }
        self.given += (out.len() - before) as u64;
        Ok(())
    }

    /// Appends the rest to `out`, as if silence followed.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let due = (self.taken * self.to).div_ceil(self.from);
        while let Some(blocks) = &mut self.blocks
            && self.given < due
        {
            let before = out.len();
            blocks.push(&vec![0.0; blocks.fft.input_frames_next() - blocks.waiting.len()], out)?;
            self.given += (out.len() - before) as u64;
        }
        out.truncate(out.len() - self.given.saturating_sub(due) as usize);
        Ok(())
    }
}

impl Blocks {
    fn new(from: u32, to: u32) -> Result<Self> {
        // A block is an even multiple of the smallest one, so that the delay of half a block is whole on both sides.
        let (from, to) = (u64::from(from), u64::from(to));
        let smallest_in = 2 * from / gcd(from, to);
        let wanted_in = BLOCK_SAMPLES.max(BLOCK_SAMPLES * from / to);
        let block_in = wanted_in.div_ceil(smallest_in) * smallest_in;
        let fft = Fft::new_custom(
            from as usize,
            to as usize,
            block_in as usize,
            1,
            1,
            rubato::WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|error| Fault::internal(format!("resampling {from} to {to} Hz: {error}")))?;
        Ok(Self { waiting: Vec::new(), converted: vec![0.0; fft.output_frames_max()], delay: fft.output_delay(), fft })
    }

    fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        loop {
            let missing = self.fft.input_frames_next() - self.waiting.len();
            let (now, later) = samples.split_at(missing.min(samples.len()));
            self.waiting.extend_from_slice(now);
            if now.len() < missing {
                return Ok(());
            }
            samples = later;
            self.convert(out)?;
        }
    }

    /// Converts the full block that waits.
    fn convert(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let internal = |error: &dyn std::fmt::Display| Fault::internal(format!("resampling a block: {error}"));
        let room = self.converted.len();
        let input = InterleavedSlice::new(&self.waiting, 1, self.waiting.len()).map_err(|e| internal(&e))?;
        let mut output = InterleavedSlice::new_mut(&mut self.converted, 1, room).map_err(|e| internal(&e))?;
        let (_, written) = self.fft.process_into_buffer(&input, &mut output, None).map_err(|e| internal(&e))?;
        self.waiting.clear();
        let dropped = self.delay.min(written);
        self.delay -= dropped;
        out.extend_from_slice(&self.converted[dropped..written]);
        Ok(())
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(hz: f64, rate: u32, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (TAU * hz * i as f64 / f64::from(rate)).sin() as f32).collect()
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_phase() {
        for (from, to) in [
            (44_100, 16_000),
            (48_000, 16_000),
            (8000, 16_000),
            (22_050, 16_000),
            (11_025, 16_000),
            (96_000, 16_000),
            (16_001, 16_000),
        ] {
            for hz in [220.0, 1500.0, 3200.0] {
                let samples = from as usize;
                let converted = resample(&tone(hz, from, samples), from, to).unwrap();
                assert_eq!(converted.len(), to as usize, "{from} to {to}");
                // Away from the ends, where the tone begins and stops abruptly.
                let same = tone(hz, to, to as usize);
                let inside = 2000..to as usize - 2000;
                let difference =
                    converted[inside.clone()].iter().zip(&same[inside]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(difference < 1e-4, "{hz} Hz, {from} to {to}: {difference}");
            }
        }
    }

    #[test]
    fn what_the_new_rate_cannot_hold_is_gone() {
        for (hz, from) in [(9000.0, 44_100), (12_000.0, 48_000), (20_000.0, 44_100)] {
            let converted = resample(&tone(hz, from, from as usize), from, 16_000).unwrap();
            let loudest = converted[2000..14_000].iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(loudest < 1e-4, "{hz} Hz: {loudest}");
        }
    }

    #[test]
    fn the_length_is_exact_and_pieces_make_no_difference() {
        for samples in [0, 1, 2, 441, 1023, 1024, 5000] {
            let sound = tone(300.0, 44_100, samples);
            let whole = resample(&sound, 44_100, 16_000).unwrap();
            assert_eq!(whole.len(), (samples * 160).div_ceil(441));
            let mut resampler = Resampler::new(44_100, 16_000).unwrap();
            let mut pieces = Vec::new();
            for piece in sound.chunks(313) {
                resampler.push(piece, &mut pieces).unwrap();
            }
            resampler.finish(&mut pieces).unwrap();
            assert_eq!(whole, pieces);
        }
    }

    #[test]
    fn equal_rates_change_nothing() {
        let sound = tone(440.0, 16_000, 1000);
        assert_eq!(resample(&sound, 16_000, 16_000).unwrap(), sound);
    }
}
