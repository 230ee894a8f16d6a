//! Sound: from the bytes of a file to what an encoder hears.
//!
//! [`read`] gives one utterance, [`Windows`] a recording of any length piece by piece in bounded memory; both decode, mix to mono
//! and resample on the way. [`LogMel`] turns samples into the spectrogram that Whisper was trained on.

mod decode;
mod log_mel;
mod resample;

use std::path::{Path, PathBuf};

pub use log_mel::LogMel;
pub use resample::resample;

use crate::{Fault, Result};
use decode::Decoder;
use resample::Resampler;

/// Samples whose size never exceeds this are silence: less than one step of 16-bit sound.
const SILENCE: f32 = 1.0 / 65536.0;

/// Whether nothing can be heard in `samples`.
pub fn is_silent(samples: &[f32]) -> bool {
    samples.iter().all(|x| x.abs() <= SILENCE)
}

/// A sound file read from its start: mono samples at the rate asked for, a packet at a time.
struct Reader {
    decoder: Decoder,
    resampler: Resampler,
}

impl Reader {
    fn open(path: &Path, sample_rate: u32) -> Result<Self> {
        let decoder = Decoder::open(path)?;
        let resampler = Resampler::new(decoder.sample_rate(), sample_rate).map_err(|fault| fault.at(path))?;
        Ok(Self { decoder, resampler })
    }

    /// Appends what the next packet brings to `samples`; `false` after the last.
    fn append_to(&mut self, samples: &mut Vec<f32>) -> Result<bool> {
        match self.decoder.packet()? {
            Some(packet) => {
                self.resampler.push(packet, samples)?;
                Ok(true)
            }
            None => {
                self.resampler.finish(samples)?;
                Ok(false)
            }
        }
    }
}

/// One utterance: mono samples in -1..1 at `sample_rate`, at most `limit_seconds` of them.
///
/// # Errors
/// A file that is missing, of an unknown format, damaged, cut short, empty, silent or longer than the limit. Decoding stops at the
/// limit, so that a file of hours costs no more than one of `limit_seconds`.
pub fn read(path: &Path, sample_rate: u32, limit_seconds: u32) -> Result<Vec<f32>> {
    let mut reader = Reader::open(path, sample_rate)?;
    let limit = sample_rate as usize * limit_seconds as usize;
    let mut samples = Vec::new();
    while reader.append_to(&mut samples)? {
        if samples.len() > limit {
            return Err(Fault::input(format!("this recording is longer than {limit_seconds} s, the limit for one utterance"))
                .at(path)
                .help("cut it into utterances, each with its own text"));
        }
    }
    if is_silent(&samples) {
        return Err(silence(path));
    }
    Ok(samples)
}

fn silence(path: &Path) -> Fault {
    Fault::input("there is only silence in this recording").at(path).help("record it again, or leave it out")
}

/// A recording of any length in consecutive windows of at most so many samples; memory holds one window. Each ends where it is
/// quietest, so that no word is cut in two. Windows without a sound are left out, for a model that is given silence makes words up.
pub struct Windows {
    path: PathBuf,
    reader: Reader,
    sample_rate: u32,
    window_samples: usize,
    ahead: Vec<f32>,
    more: bool,
    heard: bool,
}

impl Windows {
    /// Opens `path`; windows of at most `window_samples` at `sample_rate`.
    ///
    /// # Errors
    /// A file that is missing, of an unknown format or empty. What is wrong further in is said by the iterator, which then ends; so
    /// is silence from the first window to the last.
    pub fn open(path: &Path, sample_rate: u32, window_samples: usize) -> Result<Self> {
        if window_samples == 0 {
            return Err(Fault::internal("a window of no samples"));
        }
        let reader = Reader::open(path, sample_rate)?;
        Ok(Self { path: path.to_owned(), reader, sample_rate, window_samples, ahead: Vec::new(), more: true, heard: false })
    }

    /// The next window, silent or not; empty at the end.
    fn window(&mut self) -> Result<Vec<f32>> {
        while self.more && self.ahead.len() <= self.window_samples {
            self.more = self.reader.append_to(&mut self.ahead)?;
        }
        let end = match self.ahead.get(..self.window_samples) {
            Some(window) if self.ahead.len() > window.len() => quietest_end(window, self.sample_rate),
            _ => self.ahead.len(),
        };
        Ok(self.ahead.drain(..end).collect())
    }
}

/// Where to end a window that more sound follows: amid the quietest 100 ms of its last 2 s, at its end where it is too short for that.
fn quietest_end(window: &[f32], sample_rate: u32) -> usize {
    let rate = sample_rate as usize;
    let (pause, step) = (rate / 10, (rate / 100).max(1));
    let first = window.len() - (2 * rate).min(window.len() / 2);
    let starts = (first..(window.len() + 1).saturating_sub(pause)).step_by(step);
    let loudness = |start: &usize| window[*start..start + pause].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    let quietest = starts.rev().min_by(|a, b| loudness(a).total_cmp(&loudness(b)));
    quietest.map_or(window.len(), |start| start + pause / 2)
}

impl Iterator for Windows {
    type Item = Result<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.window() {
                Ok(window) if window.is_empty() => {
                    // Once is enough.
                    let heard = std::mem::replace(&mut self.heard, true);
                    return (!heard).then(|| Err(silence(&self.path)));
                }
                Ok(window) if is_silent(&window) => {}
                Ok(window) => {
                    self.heard = true;
                    return Some(Ok(window));
                }
                Err(fault) => {
                    (self.more, self.heard) = (false, true);
                    self.ahead.clear();
                    return Some(Err(fault));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
