//! Writes what `runtime/scripts/check_export.py` compares with: our logits and weights for an exported model.
//!
//!     cargo run -p sparsec-runtime --example export_parity -- FOLDER FILE
//!
//! FOLDER is an exported Whisper model. Where there is none, a small random one is made there first: pruned by magnitude to 75 %,
//! the linear layers of its blocks INT8. The batch is noise of the model's own shape, drawn from a fixed seed.

use std::path::Path;
use std::process::ExitCode;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sparsec_runtime::export::{Provenance, Safetensors, export, parity};
use sparsec_runtime::model::{self, ModuleKind};
use sparsec_runtime::pruner::{Magnitude, Pattern, Pruner, Request, Scope};
use sparsec_runtime::quantizer::{Activations, Rtn, Scheme, W8A8};
use sparsec_runtime::{Batch, Checkpoint, Fault, Inputs, Result, Tokens};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file] = arguments.as_slice() else {
        eprintln!("usage: export_parity FOLDER FILE");
        return ExitCode::from(2);
    };
    match write(Path::new(folder), Path::new(file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::from(3)
        }
    }
}

fn write(folder: &Path, file: &Path) -> Result<()> {
    if !folder.exists() {
        let model = random_model()?;
        export(&Safetensors {}, &model, &Provenance::default(), Some(&noise(&model)?), folder)?;
    }
    let checkpoint = Checkpoint::read(folder)?;
    parity::write(&checkpoint, &*checkpoint.model()?, &noise(&checkpoint)?, file)
}

/// A random Whisper with every kind of layer, pruned and quantized.
fn random_model() -> Result<Checkpoint> {
    let config = serde_json::json!({
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "vocab_size": 97, "num_mel_bins": 80,
        "d_model": 48, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_layers": 2,
        "decoder_attention_heads": 4, "decoder_ffn_dim": 96, "max_source_positions": 50, "max_target_positions": 24,
        "activation_function": "gelu", "dropout": 0.0, "init_std": 0.2, "is_encoder_decoder": true, "scale_embedding": false,
        "tie_word_embeddings": true, "use_cache": true, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
        "decoder_start_token_id": 1, "torch_dtype": "float32",
    });
    let folder = tempfile::tempdir().map_err(|error| Fault::environment(error.to_string()))?;
    let path = folder.path().join("config.json");
    std::fs::write(&path, config.to_string()).map_err(|error| Fault::writing(&path, &error))?;
    let mut checkpoint = Checkpoint::initialize(folder.path(), 17)?;
    let modules = model::family(&checkpoint.config)?.modules(&checkpoint.config)?;
    let linear = modules.into_iter().filter(|module| module.kind == ModuleKind::Linear && module.path.contains("layers"));
    let layers: Vec<String> = linear.map(|module| module.path).collect();
    let request = Request { layers: &layers, sparsity: 0.75, pattern: Pattern::Unstructured };
    Magnitude { scope: Scope::Uniform }.prune(&mut checkpoint, &request, None, &mut |_, _| Ok(()))?;
    W8A8 { activations: Activations::Dynamic }.apply(&mut checkpoint, &layers, &Rtn {}, &mut |_| Ok(()))?;
    Ok(checkpoint)
}

/// Two rows of noise and of random tokens.
fn noise(checkpoint: &Checkpoint) -> Result<Batch> {
    let size = |field: &str| {
        let value = checkpoint.config.get(field).and_then(serde_json::Value::as_u64);
        value.map(|value| value as usize).ok_or_else(|| Fault::input(format!("config.json has no `{field}`")))
    };
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let shape = (2, size("num_mel_bins")?, 2 * size("max_source_positions")?);
    let features: Vec<f32> = (0..shape.0 * shape.1 * shape.2).map(|_| random.random_range(-1.0..1.0)).collect();
    let (vocab, time) = (size("vocab_size")? as u32, size("max_target_positions")?.min(12));
    let rows: Vec<Vec<u32>> = (0..2).map(|_| (0..time).map(|_| random.random_range(0..vocab)).collect()).collect();
    let decoder = Tokens::padded(&rows, 0);
    let labels = decoder.ids().iter().map(|&id| i64::from(id)).collect();
    Ok(Batch { inputs: Inputs::Features(Tensor::from_vec(features, shape, &Device::Cpu)?), decoder, labels })
}
