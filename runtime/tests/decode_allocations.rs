//! Decoding a token allocates nothing: caches grow in steps, and everything else is written where the token before was computed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sparsec_kernels::{Element, Tuning};
use sparsec_runtime::batch::{Inputs, Tokens};
use sparsec_runtime::benchmark::{checkpoint, sparse};
use sparsec_runtime::engine;
use sparsec_runtime::model::{Model, NoTaps, family};

/// The system's allocator, which counts what is asked of it.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tokens decoded.
const TOKENS: usize = 100;

/// Small models of every family; of T5 both kinds of feed-forward parts.
fn configs() -> [Value; 4] {
    let t5 = |feed_forward: &str| {
        json!({
            "model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 128, "num_heads": 4, "num_layers": 2, "vocab_size": 500,
            "n_positions": 200, "feed_forward_proj": feed_forward, "tie_word_embeddings": feed_forward == "relu",
        })
    };
    let whisper = json!({
        "model_type": "whisper", "d_model": 64, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_mel_bins": 4, "vocab_size": 500,
        "max_source_positions": 30, "max_target_positions": 120,
    });
    let mpt = json!({
        "model_type": "mpt", "d_model": 64, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2, "max_seq_len": 120, "vocab_size": 500,
    });
    [whisper, t5("relu"), t5("gated-gelu"), mpt]
}

/// What each of `TOKENS` tokens allocates behind the prompt.
fn counts(model: &dyn Model, inputs: &Inputs, prompt: &Tokens) -> Vec<usize> {
    let encoded = model.encode(inputs, &mut NoTaps).unwrap();
    let mut cache = model.start(encoded.as_ref()).unwrap();
    model.step(prompt, cache.as_mut()).unwrap();
    let mut tokens = Tokens::column(vec![1]);
    let mut counts = Vec::with_capacity(TOKENS);
    for token in 0..TOKENS {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        tokens.set_column(&[token as u32]);
        model.step(&tokens, cache.as_mut()).unwrap();
        counts.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
    }
    counts
}

#[test]
fn a_token_allocates_nothing() {
    for config in configs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let random = checkpoint(folder.path()).unwrap();
        let (inputs, prompt) = family(&config).unwrap().trial(&config, 4).unwrap();
        // The token that the room of the first 64 is too small for.
        let full = 64 - prompt.time();
        let options = engine::frozen(Tuning::default());
        let compiled = |element| sparse(&random, 0.75, element).unwrap().compiled(&options).unwrap().model;
        let models = [("plain", random.model().unwrap()), ("fp32", compiled(Element::Fp32)), ("int8", compiled(Element::Int8))];
        for (name, model) in models {
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let counts = pool.install(|| counts(&*model, &inputs, &prompt));
                // The first tokens find the sizes of everything. A second thread finds sizes of its own whenever it first comes to some work.
                let growing: Vec<usize> = (8..TOKENS).filter(|token| counts[*token] > 0).collect();
                match threads {
                    1 => assert_eq!(growing, [full], "{} {name}: {counts:?}", config["model_type"]),
                    _ => assert!(
                        growing.len() <= 8 && growing.contains(&full),
                        "{} {name}, {threads} threads: {counts:?}",
                        config["model_type"]
                    ),
                }
            }
        }
    }
}
