//! Decoding allocates no memory for the values of a token: caches grow in steps, and everything else is used again.
//!
//! What is left is one list of sides for each operation: candle makes it, and frees it, before it lets a tensor be changed in place.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sparsec_kernels::{Element, Tuning};
use sparsec_runtime::batch::Tokens;
use sparsec_runtime::benchmark::{checkpoint, sparse};
use sparsec_runtime::engine;
use sparsec_runtime::model::{NoTaps, family};

/// The system's allocator, which counts what is asked of it, lists of sides left out.
struct Counting;

/// Bytes of the sides and strides of a tensor of up to four dimensions.
const LIST: usize = 4 * size_of::<(usize, usize)>();

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(usize::from(layout.size() > LIST), Ordering::Relaxed);
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

#[test]
fn a_token_allocates_nothing_for_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "whisper", "d_model": 64, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_mel_bins": 4, "vocab_size": 500,
        "max_source_positions": 30, "max_target_positions": 120,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let random = checkpoint(folder.path()).unwrap();
    let (inputs, prompt) = family(&config).unwrap().trial(&config, 4).unwrap();
    for element in [Element::Fp32, Element::Int8] {
        let model = sparse(&random, 0.75, element).unwrap().compiled(&engine::frozen(Tuning::default())).unwrap().model;
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let counts = pool.install(|| {
                let encoded = model.encode(&inputs, &mut NoTaps).unwrap();
                let mut cache = model.start(encoded.as_ref()).unwrap();
                model.step(&prompt, cache.as_mut()).unwrap();
                let mut tokens = Tokens::column(vec![1]);
                let mut counts = Vec::with_capacity(TOKENS);
                for token in 0..TOKENS {
                    let before = ALLOCATIONS.load(Ordering::Relaxed);
                    tokens.set_column(&[token as u32]);
                    model.step(&tokens, cache.as_mut()).unwrap();
                    counts.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
                }
                counts
            });
            // The first tokens find the sizes of everything; the cache is full once, when the prompt and 60 tokens are in it. A second
            // thread finds sizes of its own whenever it first comes to some work.
            let growing: Vec<usize> = (8..TOKENS).filter(|token| counts[*token] > 0).collect();
            match threads {
                1 => assert_eq!(growing, [60], "{element}: {counts:?}"),
                _ => assert!(growing.len() <= 8 && growing.contains(&60), "{element}, {threads} threads: {counts:?}"),
            }
        }
    }
}
