//! Writes what `runtime/scripts/check_export.py` compares with: our logits and weights for an exported model.
//!
//!     cargo run -p sparsec-runtime --example export_parity -- FOLDER FILE [FAMILY]
//!
//! FOLDER is an exported model of any family. Where there is none, a small random one of FAMILY (`whisper`, `t5` or `mpt`) is made there
//! first: pruned by magnitude to 75 %, the linear layers of its blocks INT8. The batch is noise of the model's own shape, drawn from a
//! fixed seed: sound or two texts of different lengths for an encoder, two texts of one length for a decoder.

use std::path::Path;
use std::process::ExitCode;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sparsec_runtime::export::{Provenance, Safetensors, export, parity};
use sparsec_runtime::model::{self, Module, ModuleKind};
use sparsec_runtime::pruner::{Magnitude, Pattern, Pruner, Request, Scope};
use sparsec_runtime::quantizer::{Activations, Rtn, Scheme, W8A8};
use sparsec_runtime::{Batch, Checkpoint, Fault, Inputs, Result, Tokens};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, file, family) = match arguments.as_slice() {
        [folder, file] => (folder, file, "whisper"),
        [folder, file, family] => (folder, file, family.as_str()),
        _ => {
            eprintln!("usage: export_parity FOLDER FILE [FAMILY]");
            return ExitCode::from(2);
        }
    };
    match write(Path::new(folder), Path::new(file), family) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::from(3)
        }
    }
}

fn write(folder: &Path, file: &Path, family: &str) -> Result<()> {
    if !folder.exists() {
        let model = random_model(&small(family)?)?;
        export(&Safetensors {}, &model, &Provenance::default(), Some(&noise(&model)?), folder)?;
    }
    let checkpoint = Checkpoint::read(folder)?;
    parity::write(&checkpoint, &*checkpoint.model()?, &noise(&checkpoint)?, file)
}

/// The configuration of a small model of `family` with every kind of layer that it has.
fn small(family: &str) -> Result<Value> {
    match family {
        "whisper" => Ok(json!({
            "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "vocab_size": 97, "num_mel_bins": 80,
            "d_model": 48, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_layers": 2,
            "decoder_attention_heads": 4, "decoder_ffn_dim": 96, "max_source_positions": 50, "max_target_positions": 24,
            "activation_function": "gelu", "dropout": 0.0, "init_std": 0.2, "is_encoder_decoder": true, "scale_embedding": false,
            "tie_word_embeddings": true, "use_cache": true, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
            "decoder_start_token_id": 1, "torch_dtype": "float32",
        })),
        "t5" => Ok(json!({
            "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": 97, "d_model": 48, "d_kv": 12,
            "d_ff": 96, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 16, "n_positions": 64, "feed_forward_proj": "relu", "dropout_rate": 0.0,
            "initializer_factor": 1.0, "layer_norm_epsilon": 1e-6, "is_encoder_decoder": true, "tie_word_embeddings": true,
            "use_cache": true, "eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0, "torch_dtype": "float32",
        })),
        "mpt" => Ok(json!({
            "architectures": ["MptForCausalLM"], "model_type": "mpt", "vocab_size": 97, "d_model": 48, "n_heads": 4, "n_layers": 2,
            "expansion_ratio": 4, "max_seq_len": 32, "no_bias": true, "learned_pos_emb": true, "initializer_range": 0.2,
            "norm_type": "low_precision_layernorm", "tie_word_embeddings": true, "torch_dtype": "float32",
            "attn_config": { "alibi": true, "alibi_bias_max": 8, "attn_type": "multihead_attention" },
        })),
        other => Err(Fault::input(format!("there is no family `{other}`")).help("the families are whisper, t5 and mpt")),
    }
}

/// A random model of this configuration, pruned and quantized.
fn random_model(config: &Value) -> Result<Checkpoint> {
    let folder = tempfile::tempdir().map_err(|error| Fault::environment(error.to_string()))?;
    let path = folder.path().join("config.json");
    std::fs::write(&path, config.to_string()).map_err(|error| Fault::writing(&path, &error))?;
    let mut checkpoint = Checkpoint::initialize(folder.path(), 17)?;
    let modules = model::family(&checkpoint.config)?.modules(&checkpoint.config)?;
    let is_in_block = |module: &Module| module.kind == ModuleKind::Linear && module.role != "output_head";
    let layers: Vec<String> = modules.into_iter().filter(is_in_block).map(|module| module.path).collect();
    let request = Request { layers: &layers, sparsity: 0.75, pattern: Pattern::Unstructured };
    Magnitude { scope: Scope::Uniform }.prune(&mut checkpoint, &request, None, &mut |_, _| Ok(()))?;
    W8A8 { activations: Activations::Dynamic }.apply(&mut checkpoint, &layers, &Rtn {}, &mut |_| Ok(()))?;
    Ok(checkpoint)
}

/// Two rows of noise and of random tokens.
fn noise(checkpoint: &Checkpoint) -> Result<Batch> {
    let config = &checkpoint.config;
    let given = |field: &str| config.get(field).and_then(Value::as_u64).map(|value| value as usize);
    let size = |field: &str| given(field).ok_or_else(|| Fault::input(format!("config.json has no `{field}`")));
    let vocab = size("vocab_size")? as u32;
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let mut text = |tokens: usize| (0..tokens).map(|_| random.random_range(1..vocab)).collect::<Vec<_>>();
    let longest = given("max_target_positions").or(given("n_positions")).or(given("max_seq_len")).unwrap_or(12).min(12);
    let decoder = Tokens::padded(&[text(longest), text(longest)], 0);
    let labels = decoder.ids().iter().map(|&id| i64::from(id)).collect();
    let inputs = match config.get("model_type").and_then(Value::as_str) {
        Some("whisper") => {
            let shape = (2, size("num_mel_bins")?, 2 * size("max_source_positions")?);
            let features: Vec<f32> = (0..shape.0 * shape.1 * shape.2).map(|_| random.random_range(-1.0..1.0)).collect();
            Inputs::Features(Tensor::from_vec(features, shape, &Device::Cpu)?)
        }
        Some("t5") => Inputs::Tokens(Tokens::padded(&[text(9), text(6)], 0)),
        _ => Inputs::Nothing,
    };
    Ok(Batch { inputs, decoder, labels })
}
