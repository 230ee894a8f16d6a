//! Between rows of data and Whisper: spectrograms, labels, and decoding to text.

use candle_core::{Device, Tensor};

use super::config::Config;
use super::prompt::Decoding;
use crate::audio::LogMel;
use crate::batch::{Example, IGNORE, Input, Inputs};
use crate::generate::Search;
use crate::model::{Decoded, Encoded, Model, NoTaps, Processor, Row};
use crate::tokenizer::Tokenizer;
use crate::{Checkpoint, Fault, Result};

/// Windows decoded together.
const BATCH: usize = 16;

pub(super) struct WhisperProcessor {
    log_mel: LogMel,
    tokenizer: Tokenizer,
    decoding: Decoding,
    positions: usize,
}

impl WhisperProcessor {
    /// Reads the companions of `checkpoint` and checks that they fit its configuration.
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let config = Config::parse(&checkpoint.config)?;
        let (file, settings) = extractor(checkpoint)?;
        let log_mel = LogMel::from_config(&settings).map_err(|fault| fault.at(file))?;
        let (made, heard) = ([log_mel.mels(), log_mel.frames()], [config.num_mel_bins, 2 * config.max_source_positions]);
        if made != heard {
            return Err(Fault::input(format!(
                "the feature extractor makes spectrograms {made:?}, and the model hears {heard:?}"
            ))
            .at(file)
            .help("`feature_size` is `num_mel_bins`, and `chunk_length` seconds make twice `max_source_positions` frames"));
        }
        Ok(Self {
            log_mel,
            tokenizer: Tokenizer::of(checkpoint, config.vocab_size)?,
            decoding: Decoding::of(checkpoint, &config)?,
            positions: config.max_target_positions,
        })
    }

    /// Spectrograms `[batch, mels, frames]`.
    fn features<S: AsRef<[f32]> + Sync>(&self, windows: &[S]) -> Result<Tensor> {
        let shape = (windows.len(), self.log_mel.mels(), self.log_mel.frames());
        Ok(Tensor::from_vec(self.log_mel.batch(windows), shape, &Device::Cpu)?)
    }

    /// What is said in each of `windows`, at most a window long.
    fn say(&self, model: &dyn Model, windows: &[&[f32]], search: &Search) -> Result<Vec<Vec<u32>>> {
        let encoded = model.encode(&Inputs::Features(self.features(windows)?), &mut NoTaps)?;
        self.decoding.say(model, Encoded::expect(encoded.as_ref())?, search)
    }

    fn text(&self, tokens: &[u32]) -> Result<String> {
        let is_text = |token: &&u32| self.decoding.timestamps.is_none_or(|first| **token < first);
        self.tokenizer.decode(&tokens.iter().filter(is_text).copied().collect::<Vec<_>>())
    }
}

impl Processor for WhisperProcessor {
    fn sample_rate(&self) -> Option<u32> {
        Some(self.log_mel.sample_rate())
    }

    fn window_samples(&self) -> Option<usize> {
        Some(self.log_mel.window_samples())
    }

    /// The decoder reads the prompt and the text; each position's label is the token after it. The prompt is told and never
    /// guessed, so that none of its tokens is a label.
    fn example(&self, row: &Row) -> Result<Example> {
        let audio = heard(row)?;
        if audio.len() > self.log_mel.window_samples() {
            return Err(Fault::input(format!(
                "an utterance of {:.1} s does not fit the model's window of {} s",
                audio.len() as f64 / f64::from(self.log_mel.sample_rate()),
                self.log_mel.window_samples() / self.log_mel.sample_rate() as usize
            ))
            .help("cut it into shorter utterances, each with its own text"));
        }
        if !self.decoding.prompt.languages.is_empty() {
            return Err(Fault::input("training needs to know the language, and generation_config.json names none")
                .help("say so where the model is loaded: `load(…, language: \"en\", task: \"transcribe\")`"));
        }
        let mut decoder = self.decoding.prompt.tokens.clone();
        let prompt = decoder.len();
        decoder.extend(self.tokenizer.encode(&self.decoding.spelled(&row.text))?);
        if decoder.len() > self.positions {
            return Err(Fault::input(format!("the text {:?} needs {} of {} positions", row.text, decoder.len(), self.positions))
                .help("cut the utterance, or leave it out of the manifest"));
        }
        let after = decoder[prompt..].iter().chain([&self.decoding.end]).map(|&token| i64::from(token));
        let labels = std::iter::repeat_n(IGNORE, prompt - 1).chain(after).collect();
        let shape = (self.log_mel.mels(), self.log_mel.frames());
        let input = Input::Features(Tensor::from_vec(self.log_mel.features(audio), shape, &Device::Cpu)?);
        Ok(Example { input, decoder, labels })
    }

    fn pad(&self) -> u32 {
        self.decoding.pad
    }

    /// A window of a tone.
    fn probe(&self) -> Row {
        let tone: Vec<f32> = (0..self.log_mel.window_samples()).map(|at| (at as f32 * 0.05).sin() * 0.1).collect();
        Row { audio: Some(tone.into()), ..Row::default() }
    }

    /// Audio longer than a window is decoded window by window, and the texts are joined.
    fn decode(&self, model: &dyn Model, rows: &[Row], search: Option<&Search>) -> Result<Vec<Decoded>> {
        let search = search.cloned().unwrap_or_default();
        let mut windows = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            windows.extend(self.log_mel.windows(heard(row)?).map(|window| (index, window)));
        }
        let mut decoded = vec![Decoded { text: String::new(), tokens: Vec::new() }; rows.len()];
        for group in windows.chunks(BATCH) {
            let said = self.say(model, &group.iter().map(|(_, window)| *window).collect::<Vec<_>>(), &search)?;
            for ((index, _), tokens) in group.iter().zip(said) {
                let Decoded { text, tokens: all } = &mut decoded[*index];
                let addition = self.text(&tokens)?;
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(addition.trim());
                all.extend(tokens);
            }
        }
        Ok(decoded)
    }
}

/// The row's audio.
fn heard(row: &Row) -> Result<&[f32]> {
    row.audio.as_deref().filter(|audio| !audio.is_empty()).ok_or_else(|| {
        Fault::input(format!("the row {:?} has no audio", row.text)).help("Whisper needs a manifest with recordings")
    })
}

/// The settings of the feature extractor; newer versions of transformers keep them inside the processor's.
fn extractor(checkpoint: &Checkpoint) -> Result<(&'static str, serde_json::Value)> {
    const OLD: &str = "preprocessor_config.json";
    const NEW: &str = "processor_config.json";
    if !checkpoint.companions.contains_key(OLD)
        && checkpoint.companions.contains_key(NEW)
        && let Some(settings) = checkpoint.companion_json(NEW)?.get("feature_extractor")
    {
        return Ok((NEW, settings.clone()));
    }
    Ok((OLD, checkpoint.companion_json(OLD)?))
}
