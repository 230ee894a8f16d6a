//! What a step of training computes, on a tiny random Whisper and a few tones.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::dataset::{Access, Jsonl};
use crate::loss::{Kl, Task};
use crate::optimizer::AdamW;
use crate::schedule::{Numbers, Schedule};
use crate::shelf::InputPath;

/// A student, a teacher, and eight rows whose texts are of many lengths.
fn place() -> (tempfile::TempDir, [Checkpoint; 2], Rows) {
    let folder = tempfile::tempdir().unwrap();
    let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/models/whisper-nano");
    for entry in fs::read_dir(nano).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let config = folder.path().join("config.json");
    let mut fields: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    for key in ["d_model", "encoder_ffn_dim", "decoder_ffn_dim"] {
        fields[key] = 16.into();
    }
    for key in ["encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"] {
        fields[key] = 1.into();
    }
    fs::write(&config, fields.to_string()).unwrap();
    let mut manifest = String::new();
    for row in 0..8 {
        let samples = (0..8000).flat_map(|at| (((at * (row + 3)) % 100) as i16 * 100).to_le_bytes());
        let header = b"RIFF\xa4\x3e\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\x80\x3e\0\0";
        fs::write(folder.path().join(format!("{row}.wav")), header.iter().copied().chain(samples).collect::<Vec<u8>>()).unwrap();
        let line = serde_json::json!({"audio": format!("{row}.wav"), "text": "seven ".repeat(row * row / 4 + 1)});
        manifest += &format!("{line}\n");
    }
    fs::write(folder.path().join("m.jsonl"), manifest).unwrap();
    let (text, split) = ("text".to_owned(), "split".to_owned());
    let jsonl = Jsonl { path: InputPath(String::new()), audio: None, source: None, text, split };
    let rows = Rows::open(&jsonl, &folder.path().join("m.jsonl"), Access::Folder).unwrap();
    let models = [1, 2].map(|seed| Checkpoint::initialize(folder.path(), seed).unwrap());
    (folder, models, rows)
}

/// For losses that are means over labels, accumulated passes are one large batch, however long the texts of each pass are.
#[test]
fn accumulated_passes_are_one_large_batch() {
    let (_folder, [student, teacher], rows) = place();
    let step = |batch, accumulate| -> (BTreeMap<String, Vec<f32>>, Vec<f64>) {
        let settings = Settings {
            objective: Objective::sum(vec![Arc::new(Task {}), Arc::new(Kl { temperature: 2.0 })]),
            optimizer: Arc::new(AdamW {
                rate: Numbers(Schedule::constant(1e-3)),
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                decay: 0.0,
            }),
            length: StageLength { steps: 1, steps_per_epoch: 1 },
            batch,
            accumulate,
            clip: None,
            seed: 3,
            pruning: None,
            augmentations: Augmentations::default(),
        };
        let mut training = Training::new(&student, Some(&teacher), rows.clone(), &settings).unwrap();
        training.examples.read_all(|_, _| Ok(())).unwrap();
        if accumulate > 1 {
            let order = training.order.step(0);
            let counts: Vec<usize> = order.chunks(batch).map(|rows| training.examples.counted(rows)).collect();
            assert!(counts.iter().any(|count| *count != counts[0]), "the passes must differ: {counts:?}");
        }
        let (gradients, values) = training.gradients().unwrap();
        (gradients.iter().map(|(name, gradient)| (name.clone(), gradient.clone())).collect(), values)
    };
    let (whole, losses) = step(8, 1);
    let norm = whole.values().flatten().map(|value| value * value).sum::<f32>().sqrt();
    for (batch, accumulate) in [(4, 2), (3, 3), (1, 8)] {
        let (parts, part_losses) = step(batch, accumulate);
        for (whole, part) in losses.iter().zip(part_losses) {
            assert!((whole - part).abs() < 1e-5, "{whole} {part}");
        }
        for (name, gradient) in &whole {
            let worst = gradient.iter().zip(&parts[name]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5 * norm, "{name} in passes of {batch}: off by {worst:e} of {norm:e}");
        }
    }
}

#[test]
fn a_saved_state_never_grows_old() {
    let due =
        |age, last_step, every| is_due(Duration::from_secs(age), Duration::from_secs(last_step), Duration::from_secs(every));
    assert!(!due(89, 1, 90) && due(91, 1, 90) && due(11, 1, 10));
    assert!(due(80, 40, 90), "after another step it would be two minutes old");
    assert!(due(1, 300, 90), "steps so long are saved one by one");
}
