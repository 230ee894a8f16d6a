//! Speed and memory of models: dense and result alternate in one run, medians are quoted with their extremes.

use std::time::Instant;

use crate::batch::{Inputs, Tokens};
use crate::model::{Model, NoTaps};
use crate::report::Timing;
use crate::{Fault, Result};

/// How fast one model is.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Milliseconds of the encoder for `inputs`, where there is one.
    pub encoder_ms: Option<Timing>,
    /// Greedy tokens per second of the decoder, the encoder's time not counted.
    pub decode_tokens_per_second: Timing,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Counted runs of each model, after one that is not counted.
    pub repeats: usize,
    /// Tokens decoded in each run; the end token does not stop it.
    pub tokens: usize,
    /// The token that decoding starts from.
    pub start: u32,
}

/// Times every model on the same `inputs` of one utterance, taking turns; `told` hears how many of how many runs are done, and its
/// fault ends the work at once.
///
/// # Errors
/// When a model fails on `inputs`, and those of `told`.
pub fn speed(
    models: &[&dyn Model],
    inputs: &Inputs,
    effort: Effort,
    told: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<Speed>> {
    let mut encoder = vec![Vec::new(); models.len()];
    let mut decoder = vec![Vec::new(); models.len()];
    for repeat in 0..=effort.repeats {
        for (at, model) in models.iter().enumerate() {
            let began = Instant::now();
            let encoded = model.encode(inputs, &mut NoTaps)?;
            let encoding = began.elapsed();
            let began = Instant::now();
            let mut cache = model.start(encoded.as_ref())?;
            let mut token = effort.start;
            for _ in 0..effort.tokens {
                let logits = model.step(&Tokens::column(vec![token]), cache.as_mut())?;
                token = logits.argmax(1)?.to_vec1::<u32>()?[0];
            }
            let decoding = began.elapsed();
            if repeat > 0 {
                encoder[at].extend(encoded.map(|_| 1e3 * encoding.as_secs_f64()));
                decoder[at].push(effort.tokens as f64 / decoding.as_secs_f64());
            }
            told(repeat * models.len() + at + 1, (effort.repeats + 1) * models.len())?;
        }
    }
    let speeds = encoder
        .into_iter()
        .zip(decoder)
        .map(|(encoder, decoder)| Some(Speed { encoder_ms: timing(encoder), decode_tokens_per_second: timing(decoder)? }));
    speeds.collect::<Option<Vec<Speed>>>().ok_or_else(|| Fault::internal("speed was measured without a repeat"))
}

/// The median and extremes of `samples`; none if there is none.
pub fn timing(mut samples: Vec<f64>) -> Option<Timing> {
    samples.sort_by(f64::total_cmp);
    let (min, max) = (*samples.first()?, *samples.last()?);
    let middle = samples.len() / 2;
    let median = if samples.len() % 2 == 1 { samples[middle] } else { (samples[middle - 1] + samples[middle]) / 2.0 };
    Some(Timing { median, min, max, repeats: samples.len() })
}

/// The largest resident set that this process has had, code included, in bytes; none where the system does not tell
/// (`VmHWM` of `/proc/self/status` on Linux).
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timing_is_the_median_of_its_samples() {
        assert!(timing(Vec::new()).is_none());
        let odd = timing(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max, odd.repeats), (2.0, 1.0, 3.0, 3));
        assert_eq!(timing(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_memory_grows_with_what_is_touched() {
        let before = peak_resident_bytes().unwrap();
        let touched = std::hint::black_box(vec![1u8; 96 << 20]);
        assert!(peak_resident_bytes().unwrap() >= before.max(touched.len() as u64));
    }
}
