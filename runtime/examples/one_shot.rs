//! How much memory the one-shot path takes for a model that is larger than it: random MPT weights in BF16 shards are loaded, pruned by
//! magnitude to 75 %, rounded to INT8, exported, read back, and run on the engine. The peak of the resident set stands behind each.
//!
//!     cargo run --release --workspace --example one_shot -- FOLDER [LAYERS [WIDTH]]
//!     cargo run --release --workspace --example one_shot -- FOLDER 2 4096 sparsegpt
//!
//! FOLDER is made where it is missing: 13.3 GB at the 32 layers and the width 4096 of MPT-7B, which are the default. Remove it, and
//! `FOLDER.int8` beside it, afterwards. With `sparsegpt`, SparseGPT prunes to 50 % in place of magnitude, on 4 rows of 512 tokens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use sparsec_kernels::Tuning;
use sparsec_runtime::export::{Provenance, Safetensors, export};
use sparsec_runtime::generate::Asked;
use sparsec_runtime::model::{self, ModuleKind, Parameter};
use sparsec_runtime::pruner::{Magnitude, Pattern, Pruner, Request, RowCalibration, Scope, SparseGpt};
use sparsec_runtime::quantizer::{Activations, Rtn, Scheme, W8A8};
use sparsec_runtime::shelf::Ratio;
use sparsec_runtime::{Batch, Checkpoint, Fault, Inputs, Result, Tokens, checkpoint, engine, measure};

/// Allocates as the command does.
#[global_allocator]
static ALLOCATOR: sparsec_runtime::memory::Allocator = sparsec_runtime::memory::Allocator;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first() else {
        eprintln!("usage: one_shot FOLDER [LAYERS [WIDTH [sparsegpt]]]");
        return ExitCode::from(2);
    };
    let number = |at: usize, default| arguments.get(at).map_or(Some(default), |text| text.parse().ok()).unwrap_or(default);
    let uses_sparsegpt = arguments.get(3).is_some_and(|method| method == "sparsegpt");
    match run(Path::new(folder), number(1, 32), number(2, 4096), uses_sparsegpt) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::from(3)
        }
    }
}

fn run(folder: &Path, layers: usize, width: usize, uses_sparsegpt: bool) -> Result<()> {
    if !folder.exists() {
        make(folder, &config(layers, width))?;
    }
    let clock = &mut Instant::now();
    // As if it were too large for the memory, whatever its size; SparseGPT holds it there.
    let limit = if uses_sparsegpt { checkpoint::IN_MEMORY } else { 0 };
    let mut checkpoint = Checkpoint::read_keeping(folder, limit)?;
    tell("loaded", clock);
    let modules = model::family(&checkpoint.config)?.modules(&checkpoint.config)?;
    let linear = modules.iter().filter(|module| module.kind == ModuleKind::Linear && module.role != "output_head");
    let paths: Vec<String> = linear.map(|module| module.path.clone()).collect();
    let sparsity = if uses_sparsegpt { 0.5 } else { 0.75 };
    let request = Request { layers: &paths, sparsity, pattern: Pattern::Unstructured };
    if uses_sparsegpt {
        let mut rows = |row: usize| Ok(noise(row as u64));
        let mut calibration = RowCalibration { build: &|checkpoint| checkpoint.model(), rows: 4, batch: &mut rows };
        let method = SparseGpt { damping: Ratio(0.01), block: 128 };
        method.prune(&mut checkpoint, &request, Some(&mut calibration), &mut |_, _| Ok(()))?;
    } else {
        Magnitude { scope: Scope::Uniform }.prune(&mut checkpoint, &request, None, &mut |_, _| Ok(()))?;
    }
    tell("pruned", clock);
    W8A8 { activations: Activations::Dynamic }.apply(&mut checkpoint, &paths, &Rtn {}, &mut |_| Ok(()))?;
    tell("quantized", clock);
    let to = PathBuf::from(format!("{}.int8", folder.display()));
    export(&Safetensors {}, &checkpoint, &Provenance::default(), None, &to)?;
    drop(checkpoint);
    tell("exported and read back", clock);
    let artifact = Checkpoint::read(&to)?;
    let model = artifact.compiled(&engine::frozen(Tuning::default()))?.model;
    tell("compiled", clock);
    let processor = model::family(&artifact.config)?.processor(&artifact)?;
    let asked = Asked { max_new: Some(8), ..Asked::default() };
    let (said, _) = processor.continue_text(&*model, "the", &asked, &mut |_| Ok(()))?;
    tell(&format!("{} tokens said", said.tokens.len()), clock);
    Ok(())
}

/// Prints what is done, how long it took, and the most memory until now.
fn tell(what: &str, clock: &mut Instant) {
    let peak =
        measure::peak_resident_bytes().map_or("unknown".to_owned(), |bytes| format!("{:.2} GiB", bytes as f64 / 2f64.powi(30)));
    println!("{what:<24} {:>7.1} s   peak {peak}", clock.elapsed().as_secs_f64());
    *clock = Instant::now();
}

/// 512 tokens of no meaning.
fn noise(seed: u64) -> Batch {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let tokens: Vec<u32> = (0..512).map(|_| random.random_range(1..259)).collect();
    Batch { inputs: Inputs::Nothing, decoder: Tokens::padded(&[tokens], 0), labels: Vec::new() }
}

/// That of MPT-7B, with other sizes.
fn config(layers: usize, width: usize) -> Value {
    json!({
        "model_type": "mpt", "architectures": ["MPTForCausalLM"], "d_model": width, "n_heads": width / 128, "n_layers": layers,
        "vocab_size": 50432, "max_seq_len": 2048, "expansion_ratio": 4, "no_bias": true, "learned_pos_emb": true, "eos_token_id": 0,
        "attn_config": {"alibi": true, "alibi_bias_max": 8, "attn_type": "multihead_attention", "clip_qkv": null, "qk_ln": false},
        "norm_type": "low_precision_layernorm", "torch_dtype": "bfloat16",
    })
}

/// Writes random weights, a file for each block and one for the rest, with the tokenizer of the tests.
fn make(folder: &Path, config: &Value) -> Result<()> {
    let disk = |error: std::io::Error| Fault::environment(error.to_string()).at(folder);
    std::fs::create_dir_all(folder).map_err(disk)?;
    std::fs::write(folder.join("config.json"), config.to_string()).map_err(disk)?;
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mpt/plain/tokenizer.json");
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).map_err(disk)?;
    let modules = model::family(config)?.modules(config)?;
    let block = |name: &str| name.split("blocks.").nth(1).and_then(|rest| rest.split('.').next()).unwrap_or("rest").to_owned();
    let parameters: Vec<Parameter> = modules.iter().flat_map(model::Module::parameters).collect();
    let mut files = HashMap::new();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for group in parameters.chunk_by(|a, b| block(&a.name) == block(&b.name)) {
        let file = format!("model-{}-{}.safetensors", block(&group[0].name), files.len());
        let values: Vec<Vec<u8>> = group.iter().map(|parameter| draw(parameter, &mut random)).collect();
        let views = group.iter().zip(&values).map(|(parameter, values)| {
            let view = TensorView::new(Dtype::BF16, parameter.shape.clone(), values);
            view.map(|view| (parameter.name.clone(), view)).map_err(|error| Fault::internal(error.to_string()))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        safetensors::serialize_to_file(views, None, &folder.join(&file))
            .map_err(|error| Fault::environment(error.to_string()))?;
        files.extend(group.iter().map(|parameter| (parameter.name.clone(), file.clone())));
    }
    std::fs::write(folder.join("model.safetensors.index.json"), json!({"weight_map": files}).to_string()).map_err(disk)
}

/// Norms are 1, all else is uniform around 0.
fn draw(parameter: &Parameter, random: &mut ChaCha8Rng) -> Vec<u8> {
    let count = parameter.shape.iter().product();
    let mut value = || if parameter.shape.len() == 1 { 1.0 } else { random.random_range(-0.035..0.035) };
    (0..count).flat_map(|_| bf16::from_f32(value()).to_le_bytes()).collect()
}
