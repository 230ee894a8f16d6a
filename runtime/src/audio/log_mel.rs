//! Log-mel spectrograms, equal to those of Hugging Face's `WhisperFeatureExtractor` for the same `preprocessor_config.json`.
//!
//! Audio is padded with zeros to one window; frames are centred on multiples of the hop, the window reflected at both ends; the
//! power spectrum under a periodic Hann window goes through Slaney's mel filters of unit area (M. Slaney, *Auditory Toolbox*,
//! 1998); then log10, a floor 8 decades below the loudest value of the window, and a scale. The last frame is dropped.
//!
//! Computed in FP64, for a quiet band beside a loud one is lost in the rounding of an FP32 transform. Frames that hear padding
//! alone are not computed: all their values are the floor.

use std::f64::consts::PI;
use std::sync::Arc;

use rayon::prelude::*;
use realfft::{RealFftPlanner, RealToComplex};
use serde::Deserialize;
use serde_json::Value;

use crate::{Fault, Result};

/// The upper edge of the highest mel filter, Hz; the extractor fixes it.
const TOP_HZ: f64 = 8000.0;
/// Smallest power that is told from silence.
const POWER_FLOOR: f64 = 1e-10;
/// Decades below the loudest value that are kept.
const DECADES: f64 = 8.0;

/// The fields of `preprocessor_config.json` that decide the spectrogram, with the extractor's defaults.
#[derive(Deserialize)]
#[serde(default)]
struct Settings {
    feature_size: usize,
    sampling_rate: u32,
    hop_length: usize,
    chunk_length: usize,
    n_fft: usize,
    padding_value: f64,
    dither: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            feature_size: 80,
            sampling_rate: 16_000,
            hop_length: 160,
            chunk_length: 30,
            n_fft: 400,
            padding_value: 0.0,
            dither: 0.0,
        }
    }
}

impl Settings {
    /// What is wrong with them, if anything: limits that no front end for speech comes near, so that no file can ask for the
    /// machine's whole memory.
    fn objection(&self) -> Option<String> {
        let within = |name: &str, value: usize, low: usize, high: usize| {
            (!(low..=high).contains(&value)).then(|| format!("`{name}` is {value}, outside {low}..{high}"))
        };
        within("feature_size", self.feature_size, 1, 1024)
            .or_else(|| within("sampling_rate", self.sampling_rate as usize, 1000, 384_000))
            .or_else(|| within("n_fft", self.n_fft, 2, 65_536))
            .or_else(|| within("hop_length", self.hop_length, 1, 65_536))
            .or_else(|| within("chunk_length", self.chunk_length, 1, 3600))
            .or_else(|| (!self.n_fft.is_multiple_of(2)).then(|| format!("`n_fft` is {}, an odd number", self.n_fft)))
            .or_else(|| (self.padding_value != 0.0).then(|| "`padding_value` is not 0".to_owned()))
            .or_else(|| (self.dither != 0.0).then(|| "`dither` adds noise that differs at every run".to_owned()))
            .or_else(|| {
                (self.chunk_length * self.sampling_rate as usize <= self.n_fft.max(self.hop_length))
                    .then(|| "the window is shorter than one frame".to_owned())
            })
    }
}

/// One triangular filter: its weights from bin `first` on.
struct Filter {
    first: usize,
    weights: Vec<f64>,
}

/// The front end of a Whisper model. Making one costs about as much as one second of audio; keep it.
pub struct LogMel {
    sample_rate: u32,
    hop: usize,
    window_samples: usize,
    /// The analysis window, `[n_fft]`.
    hann: Vec<f64>,
    /// `[mels]`.
    filters: Vec<Filter>,
    transform: Arc<dyn RealToComplex<f64>>,
}

impl LogMel {
    /// The front end that `preprocessor_config.json` describes.
    ///
    /// # Errors
    /// A field of the wrong type, out of range, or that asks for something else than Whisper's spectrogram.
    pub fn from_config(config: &Value) -> Result<Self> {
        let help = "use the preprocessor_config.json that came with the checkpoint";
        let settings = Settings::deserialize(config)
            .map_err(|error| Fault::input(format!("the feature extractor's settings do not parse: {error}")).help(help))?;
        if let Some(objection) = settings.objection() {
            return Err(Fault::input(format!("the feature extractor cannot be built: {objection}")).help(help));
        }
        let n_fft = settings.n_fft;
        Ok(Self {
            sample_rate: settings.sampling_rate,
            hop: settings.hop_length,
            window_samples: settings.chunk_length * settings.sampling_rate as usize,
            hann: (0..n_fft).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / n_fft as f64).cos()).collect(),
            filters: mel_filters(settings.feature_size, n_fft, settings.sampling_rate),
            transform: RealFftPlanner::new().plan_fft_forward(n_fft),
        })
    }

    /// Samples per second it hears.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Samples of one window.
    pub fn window_samples(&self) -> usize {
        self.window_samples
    }

    /// Rows of a spectrogram.
    pub fn mels(&self) -> usize {
        self.filters.len()
    }

    /// Columns of a spectrogram.
    pub fn frames(&self) -> usize {
        self.window_samples / self.hop
    }

    /// The windows of a longer recording that is already in memory.
    pub fn windows<'a>(&self, samples: &'a [f32]) -> std::slice::Chunks<'a, f32> {
        samples.chunks(self.window_samples)
    }

    /// The spectrogram `[mels, frames]`, row-major, of the first window of `samples`.
    pub fn features(&self, samples: &[f32]) -> Vec<f32> {
        let mut features = vec![0.0; self.mels() * self.frames()];
        self.write(samples, &mut features);
        features
    }

    /// The spectrograms `[batch, mels, frames]`, row-major, of the first window of every row; rows in parallel.
    pub fn batch<S: AsRef<[f32]> + Sync>(&self, rows: &[S]) -> Vec<f32> {
        let size = self.mels() * self.frames();
        let mut features = vec![0.0; rows.len() * size];
        features.par_chunks_mut(size).zip(rows).for_each(|(features, row)| self.write(row.as_ref(), features));
        features
    }

    /// Writes the spectrogram of `samples` to `features`, `[mels, frames]`.
    fn write(&self, samples: &[f32], features: &mut [f32]) {
        let samples = &samples[..samples.len().min(self.window_samples)];
        let (n_fft, frames) = (self.hann.len(), self.frames());
        let heard = (samples.len() + n_fft / 2).div_ceil(self.hop).min(frames);
        let mut frame = vec![0.0; n_fft];
        let mut spectrum = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut power = vec![0.0; spectrum.len()];
        // Logarithms `[heard, mels]`.
        let mut logs = vec![0.0f64; heard * self.mels()];
        for (t, logs) in logs.chunks_exact_mut(self.mels()).enumerate() {
            self.cut(samples, t, &mut frame);
            self.transform
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("all buffers were made by this transform");
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power = bin.norm_sqr();
            }
            for (log, filter) in logs.iter_mut().zip(&self.filters) {
                let energy: f64 = filter.weights.iter().zip(&power[filter.first..]).map(|(w, p)| w * p).sum();
                *log = energy.max(POWER_FLOOR).log10();
            }
        }
        let floor = logs.iter().copied().fold(POWER_FLOOR.log10(), f64::max) - DECADES;
        let scaled = |log: f64| ((log.max(floor) + 4.0) / 4.0) as f32;
        for (mel, row) in features.chunks_exact_mut(frames).enumerate() {
            let (voiced, padding) = row.split_at_mut(heard);
            for (value, logs) in voiced.iter_mut().zip(logs.chunks_exact(self.mels())) {
                *value = scaled(logs[mel]);
            }
            padding.fill(scaled(POWER_FLOOR.log10()));
        }
    }

    /// Frame `t` under the analysis window: centred on sample `t * hop`, the padded window reflected at its ends.
    fn cut(&self, samples: &[f32], t: usize, frame: &mut [f64]) {
        let half = frame.len() / 2;
        let centre = t * self.hop;
        for (i, (value, hann)) in frame.iter_mut().zip(&self.hann).enumerate() {
            let at = (centre + i).abs_diff(half);
            let at = if at < self.window_samples { at } else { 2 * (self.window_samples - 1) - at };
            *value = samples.get(at).map_or(0.0, |&x| f64::from(x) * hann);
        }
    }
}

/// Slaney's mel scale: linear below 1000 Hz, logarithmic above.
fn mel(hz: f64) -> f64 {
    if hz < 1000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1000.0).ln() * 27.0 / 6.4f64.ln() }
}

/// The inverse of [`mel`].
fn hz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

/// `mels` triangles between 0 Hz and [`TOP_HZ`], evenly spaced in mel, each of area 2 per Hz of its width.
fn mel_filters(mels: usize, n_fft: usize, sample_rate: u32) -> Vec<Filter> {
    let corner = |i: usize| hz(mel(TOP_HZ) * i as f64 / (mels + 1) as f64);
    let nyquist = f64::from(sample_rate / 2);
    let bins = n_fft / 2 + 1;
    let bin_hz = |bin: usize| nyquist * bin as f64 / (bins - 1) as f64;
    (0..mels)
        .map(|i| {
            let (low, peak, high) = (corner(i), corner(i + 1), corner(i + 2));
            let weight = |f: f64| ((f - low) / (peak - low)).min((high - f) / (high - peak)) * 2.0 / (high - low);
            let first = (0..bins).find(|&bin| bin_hz(bin) > low).unwrap_or(bins);
            let weights = (first..bins).map(bin_hz).take_while(|&f| f < high).map(weight).collect();
            Filter { first, weights }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spectrogram by its definition: every frame, every bin, every filter.
    fn plain(log_mel: &LogMel, samples: &[f32]) -> Vec<f32> {
        let (n_fft, window) = (log_mel.hann.len(), log_mel.window_samples);
        let mut padded = samples.to_vec();
        padded.resize(window, 0.0);
        let at = |i: i64| {
            let reflected = if i < 0 { -i } else { i };
            padded[(if reflected < window as i64 { reflected } else { 2 * (window as i64 - 1) - reflected }) as usize]
        };
        let mut logs = vec![0.0; log_mel.mels() * log_mel.frames()];
        for t in 0..log_mel.frames() {
            let start = (t * log_mel.hop) as i64 - n_fft as i64 / 2;
            let power: Vec<f64> = (0..=n_fft / 2)
                .map(|bin| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for i in 0..n_fft {
                        let x = f64::from(at(start + i as i64)) * log_mel.hann[i];
                        let angle = 2.0 * PI * (bin * i) as f64 / n_fft as f64;
                        re += x * angle.cos();
                        im -= x * angle.sin();
                    }
                    re * re + im * im
                })
                .collect();
            for (mel, filter) in log_mel.filters.iter().enumerate() {
                let energy: f64 = filter.weights.iter().enumerate().map(|(i, w)| w * power[filter.first + i]).sum();
                logs[mel * log_mel.frames() + t] = energy.max(1e-10).log10();
            }
        }
        let loudest = logs.iter().copied().fold(f64::MIN, f64::max);
        logs.iter().map(|log| ((log.max(loudest - 8.0) + 4.0) / 4.0) as f32).collect()
    }

    #[test]
    fn fast_and_plain_agree() {
        let config =
            serde_json::json!({"sampling_rate": 4000, "n_fft": 64, "hop_length": 20, "feature_size": 12, "chunk_length": 1});
        let log_mel = LogMel::from_config(&config).unwrap();
        for samples in [0, 1, 33, 400, 3961, 3999, 4000] {
            let sound: Vec<f32> = (0..samples).map(|i| ((i * i) as f32 * 0.001).sin() * 0.3).collect();
            let (fast, plain) = (log_mel.features(&sound), plain(&log_mel, &sound));
            for (i, (fast, plain)) in fast.iter().zip(&plain).enumerate() {
                assert!((fast - plain).abs() < 1e-6, "{samples} samples, value {i}: {fast} and {plain}");
            }
        }
    }

    #[test]
    fn silence_is_the_floor() {
        let log_mel = LogMel::from_config(&serde_json::json!({"chunk_length": 1})).unwrap();
        assert!(log_mel.features(&[]).iter().all(|&x| x == -1.5));
    }
}
