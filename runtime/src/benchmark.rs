//! A model dense and sparse, both on the engine, side by side: how long each takes and where the time goes.
//!
//! No data and no weights are needed: a folder with a `config.json` gives a random model, and masks are drawn where the checkpoint has
//! none. Times do not depend on what the weights are.

use std::path::Path;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sparsec_kernels::{Element, Options};

use crate::batch::{Inputs, Tokens};
use crate::checkpoint::Header;
use crate::engine::Engine;
use crate::generate::likeliest;
use crate::measure::timing;
use crate::model::{self, Module, ModuleKind, NoTaps};
use crate::profile::{Cost, Profile, profile};
use crate::quantizer::{Activations, Rtn, Scheme, W8A8};
use crate::report::Timing;
use crate::{Checkpoint, Fault, Mask, Result, op, weight};

/// Decides the random weights and masks.
const SEED: u64 = 1;

/// A model to be timed.
pub struct Subject {
    /// How it is called in tables: `dense fp32`, `sparse int8`.
    pub name: String,
    /// The model and its kernels.
    pub engine: Engine,
}

/// What is timed.
pub struct Work {
    /// What the encoder reads.
    pub inputs: Inputs,
    /// What decoding begins with.
    pub prompt: Tokens,
    /// Tokens decoded then.
    pub tokens: usize,
    /// Counted runs of each model, after one that is not counted.
    pub repeats: usize,
}

/// How fast one model is, and where its time goes.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The subject.
    pub name: String,
    /// Milliseconds of the encoder.
    pub encoder_ms: Timing,
    /// Milliseconds from its output to the first token: keys and values of the encoder's output, and the prompt.
    pub prompt_ms: Timing,
    /// Milliseconds of each token after the first.
    pub token_ms: Timing,
    /// Parts of the encoder and the prompt, mean of the runs.
    pub encoder: Profile,
    /// Parts of one token, mean of the runs.
    pub token: Profile,
}

/// The checkpoint in `folder`, or a random one where it has no weights.
///
/// # Errors
/// As [`Checkpoint::read`] and [`Checkpoint::initialize`].
pub fn checkpoint(folder: &Path) -> Result<Checkpoint> {
    if Header::has_weights(folder) { Checkpoint::read(folder) } else { Checkpoint::initialize(folder, SEED) }
}

/// The linear layers that a recipe would prune: those with a weight of their own, the output head left out.
///
/// # Errors
/// When no family reads the configuration.
pub fn prunable(checkpoint: &Checkpoint) -> Result<Vec<Module>> {
    let modules = model::family(&checkpoint.config)?.modules(&checkpoint.config)?;
    let is_prunable =
        |module: &Module| module.kind == ModuleKind::Linear && module.initial.is_some() && module.role != "output_head";
    Ok(modules.into_iter().filter(is_prunable).collect())
}

/// `checkpoint` with every prunable layer dense and in FP32, as a layer of the engine.
///
/// # Errors
/// As [`prunable`].
pub fn dense(checkpoint: &Checkpoint) -> Result<Checkpoint> {
    let mut dense = checkpoint.clone();
    for Module { path, shape, .. } in prunable(checkpoint)? {
        if let Some(weight) = dense.quantized.remove(&path) {
            let values = Tensor::from_vec(weight.dequantized(), (weight.out, weight.inputs), &Device::Cpu)?;
            dense.tensors.insert(weight::name(&path), values.into());
        }
        dense.masks.insert(path, Mask::from_fn(shape[0], shape[1], |_, _| true));
    }
    Ok(dense)
}

/// `checkpoint` with the masks it has, or uniform random ones that keep `1 - sparsity` of each prunable layer where it has none; in
/// `element`.
///
/// # Errors
/// As [`prunable`]; BF16, which no model stores; another element than the one that the checkpoint is quantized to.
pub fn sparse(checkpoint: &Checkpoint, sparsity: f64, element: Element) -> Result<Checkpoint> {
    let mut sparse = checkpoint.clone();
    let layers = prunable(checkpoint)?;
    if sparse.masks.is_empty() {
        for Module { path, shape, .. } in &layers {
            let mut stream = ChaCha8Rng::from_seed(*blake3::hash(path.as_bytes()).as_bytes());
            let kept: Vec<bool> = (0..shape[0] * shape[1]).map(|_| stream.random::<f64>() >= sparsity).collect();
            sparse.masks.insert(path.clone(), Mask::from_fn(shape[0], shape[1], |row, col| kept[row * shape[1] + col]));
        }
    }
    match element {
        Element::Fp32 if sparse.quantized.is_empty() => Ok(sparse),
        Element::Int8 if !sparse.quantized.is_empty() => Ok(sparse),
        Element::Int8 => {
            let paths: Vec<String> = layers.into_iter().map(|module| module.path).collect();
            W8A8 { activations: Activations::Dynamic }.apply(&mut sparse, &paths, &Rtn {}, &mut |_| Ok(()))?;
            Ok(sparse)
        }
        element => Err(Fault::input(format!("this model cannot be timed in {element}"))
            .help("a checkpoint that is quantized is timed in int8, another in fp32 or int8")),
    }
}

/// The subject called `name`: `checkpoint` on the engine.
///
/// # Errors
/// As [`Checkpoint::compiled_telling`].
pub fn subject(
    name: String,
    checkpoint: &Checkpoint,
    options: &Options,
    told: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Subject> {
    Ok(Subject { name, engine: checkpoint.compiled_telling(options, told)? })
}

/// Times the subjects in turns; `told` hears how many of how many runs are done, and its fault ends the work at once.
///
/// # Errors
/// When a model fails, and those of `told`.
pub fn compare(subjects: &[Subject], work: &Work, told: &mut dyn FnMut(usize, usize) -> Result<()>) -> Result<Vec<Outcome>> {
    let mut runs: Vec<Vec<Run>> = subjects.iter().map(|_| Vec::new()).collect();
    for repeat in 0..=work.repeats {
        for (at, subject) in subjects.iter().enumerate() {
            let run = Run::of(subject, work)?;
            if repeat > 0 {
                runs[at].push(run);
            }
            told(repeat * subjects.len() + at + 1, (work.repeats + 1) * subjects.len())?;
        }
    }
    let outcomes = subjects.iter().zip(&runs).map(|(subject, runs)| outcome(&subject.name, runs));
    outcomes.collect::<Option<_>>().ok_or_else(|| Fault::internal("models were timed without a repeat"))
}

/// Encoder, prompt and one token, from the mean of the tokens.
struct Run([Profile; 3]);

impl Run {
    fn of(Subject { engine, .. }: &Subject, work: &Work) -> Result<Self> {
        let (encoded, encoder) = profile(|| engine.model.encode(&work.inputs, &mut NoTaps));
        let encoded = encoded?;
        let (begun, prompt) = profile(|| {
            let mut cache = engine.model.start(encoded.as_ref())?;
            let logits = engine.model.step(&work.prompt, cache.as_mut())?;
            Ok::<_, Fault>((cache, next(&logits)?))
        });
        let (mut cache, mut token) = begun?;
        let mut tokens = Tokens::column(vec![token]);
        let (decoded, decoding) = profile(|| {
            for _ in 0..work.tokens {
                tokens.set_column(&[token]);
                token = next(&engine.model.step(&tokens, cache.as_mut())?)?;
            }
            Ok::<_, Fault>(())
        });
        decoded?;
        Ok(Self([encoder, prompt, scaled(&decoding, 1.0 / work.tokens as f64)]))
    }

    fn milliseconds(&self, part: usize) -> f64 {
        1e3 * seconds(&self.0[part])
    }
}

/// The likeliest token of the one sequence.
fn next(logits: &Tensor) -> Result<u32> {
    let logits = op::Values::of(logits)?;
    likeliest(&logits, 0..logits.len() as u32).ok_or_else(|| Fault::internal("no token to choose from"))
}

/// Time of all parts.
pub fn seconds(profile: &Profile) -> f64 {
    profile.values().map(|cost| cost.seconds).sum()
}

/// Bytes of all parts.
pub fn bytes(profile: &Profile) -> u64 {
    profile.values().map(|cost| cost.bytes).sum()
}

/// The share of the time that is matrix work.
pub fn matrix_share(profile: &Profile) -> f64 {
    let work = profile.iter().filter(|(part, _)| part.is_matrix_work()).map(|(_, cost)| cost.seconds);
    work.sum::<f64>() / seconds(profile).max(f64::MIN_POSITIVE)
}

fn scaled(profile: &Profile, by: f64) -> Profile {
    let scaled = |cost: &Cost| Cost { seconds: cost.seconds * by, bytes: (cost.bytes as f64 * by) as u64 };
    profile.iter().map(|(part, cost)| (*part, scaled(cost))).collect()
}

/// The mean of some profiles.
fn mean<'a>(profiles: impl Iterator<Item = &'a Profile>, count: usize) -> Profile {
    let mut sum = Profile::new();
    for (part, cost) in profiles.flatten() {
        let sum: &mut Cost = sum.entry(*part).or_default();
        *sum = Cost { seconds: sum.seconds + cost.seconds, bytes: sum.bytes + cost.bytes };
    }
    scaled(&sum, 1.0 / count.max(1) as f64)
}

fn outcome(name: &str, runs: &[Run]) -> Option<Outcome> {
    let times = |part| timing(runs.iter().map(|run| run.milliseconds(part)).collect());
    Some(Outcome {
        name: name.to_owned(),
        encoder_ms: times(0)?,
        prompt_ms: times(1)?,
        token_ms: times(2)?,
        encoder: mean(runs.iter().flat_map(|run| &run.0[..2]), runs.len()),
        token: mean(runs.iter().map(|run| &run.0[2]), runs.len()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sparsec_kernels::Tuning;

    use super::*;
    use crate::engine;
    use crate::profile::Part;

    #[test]
    fn a_configuration_is_enough_to_time_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "model_type": "whisper", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 4, "vocab_size": 50,
            "max_source_positions": 10, "max_target_positions": 12,
        });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let random = checkpoint(folder.path()).unwrap();
        let options = engine::frozen(Tuning::default());
        let pruned = sparse(&random, 0.75, Element::Int8).unwrap();
        let kept: usize = pruned.masks.values().map(Mask::kept).sum();
        let all: usize = pruned.masks.values().map(|mask| mask.rows() * mask.cols()).sum();
        assert!((kept as f64 / all as f64 - 0.25).abs() < 0.03, "{kept} of {all}");
        assert_eq!(pruned.quantized.len(), prunable(&random).unwrap().len());
        assert!(dense(&pruned).unwrap().quantized.is_empty());
        assert!(sparse(&random, 0.75, Element::Bf16).is_err_and(|fault| fault.to_string().contains("bf16")));
        let subject = |name: &str, checkpoint| subject(name.into(), &checkpoint, &options, &mut |_, _| Ok(())).unwrap();
        let subjects = [subject("dense", dense(&random).unwrap()), subject("sparse", pruned)];
        let (inputs, prompt) = model::family(&config).unwrap().trial(&config, 3).unwrap();
        let work = Work { inputs, prompt, tokens: 5, repeats: 2 };
        let mut told = Vec::new();
        let outcomes = compare(&subjects, &work, &mut |done, total| {
            told.push((done, total));
            Ok(())
        });
        assert_eq!(told, (1..=6).map(|done| (done, 6)).collect::<Vec<_>>());
        let outcomes = outcomes.unwrap();
        for outcome in &outcomes {
            for part in [Part::Linear, Part::Attention, Part::LayerNorm] {
                assert!(outcome.encoder[&part].seconds > 0.0 && outcome.token[&part].seconds > 0.0, "{part:?}");
            }
            assert!(outcome.encoder[&Part::Convolution].bytes > 0 && !outcome.token.contains_key(&Part::Convolution));
            assert_eq!(outcome.token_ms.repeats, 2);
        }
        let weights = |outcome: &Outcome| outcome.token[&Part::Linear].bytes;
        assert!(weights(&outcomes[1]) < weights(&outcomes[0]), "fewer bytes per token");
    }
}
