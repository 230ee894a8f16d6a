//! A place for whole runs: a tiny random Whisper, a few tones with their texts, and a recipe that uses every stage.

use std::fs;
use std::path::Path;

use sparsec_runtime::Checkpoint;

/// A recipe with every stage; `{…}` are filled in by the tests.
const RECIPE: &str = r#"
edition 2026
dense  = load("model", family: whisper)
speech = dataset(jsonl("manifest.jsonl"), split: [train: 50%, test: 50%], seed: 17)
prunable = linear in (encoder | decoder) except output_head      expect >= 8
pruned = prune(dense, layers: prunable, method: {method}, calibration: take(speech.train, 2 rows), sparsity: {sparsity})
healed = finetune(pruned,
  teacher: dense, data: speech.train, loss: 0.5 * task + squarehead + linear(0 to 1) * kl(temperature: 2),
  optimizer: adamw(rate: linear(0 to 1e-3, for: 2 steps) then cosine(1e-3 to 0)),
  batch: 2 rows, clip: 1.0, for: 6 steps, augment: [specaugment, shift(frames: 3)], seed: 3,
)
int8 = quantize(healed, layers: prunable, scheme: w8a8(activations: dynamic), method: rtn)
require wer(int8, speech.test) <= wer(dense, speech.test) + {margin} points
export(int8, to: "out/tiny", format: safetensors)
"#;

/// The recipe, filled in.
pub(crate) fn recipe(method: &str, sparsity: &str, margin: &str) -> String {
    RECIPE.replace("{method}", method).replace("{sparsity}", sparsity).replace("{margin}", margin)
}

/// Writes the folder `model`, eight tones and `manifest.jsonl` into `folder`.
pub(crate) fn furnish(folder: &Path) {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let nano = above.map(|root| root.join("recipes/models/whisper-nano")).find(|nano| nano.is_dir()).unwrap();
    let model = folder.join("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(nano).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
        }
    }
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
    for (key, value) in
        [("d_model", 16), ("encoder_ffn_dim", 32), ("decoder_ffn_dim", 32), ("encoder_layers", 1), ("decoder_layers", 1)]
    {
        config[key] = value.into();
    }
    for key in ["encoder_attention_heads", "decoder_attention_heads"] {
        config[key] = 2.into();
    }
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    Checkpoint::initialize(&model, 5).unwrap().write_into(&model).unwrap();

    let texts = ["one", "two three", "four", "five six", "seven", "eight", "nine ten", "eleven"];
    let mut manifest = String::new();
    for (index, text) in texts.iter().enumerate() {
        let name = format!("{index}.wav");
        fs::write(folder.join(&name), tone(220.0 + 60.0 * index as f32)).unwrap();
        manifest += &format!("{}\n", serde_json::json!({"audio": name, "text": text}));
    }
    fs::write(folder.join("manifest.jsonl"), manifest).unwrap();
}

/// Half a second of a tone at 16 kHz, as a WAV file; silence at 0 Hz.
pub(crate) fn tone(hertz: f32) -> Vec<u8> {
    let sample = |at| ((at as f32 * hertz * std::f32::consts::TAU / 16000.0).sin() * 12000.0) as i16;
    wav(16000, &(0..8000).map(sample).collect::<Vec<_>>())
}

/// Samples of 16 bits as a WAV file.
pub(crate) fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1u16, 1].iter().flat_map(|value| value.to_le_bytes()));
    file.extend([rate, 2 * rate].iter().flat_map(|value| value.to_le_bytes()));
    file.extend([2u16, 16].iter().flat_map(|value| value.to_le_bytes()));
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}
