//! A family that reads text, from a recipe to an artifact.

use std::fs;
use std::path::Path;

use sparsec_kernels::Tuning;
use sparsec_runtime::model::{NoTaps, Row, family};
use sparsec_runtime::run::Silent;
use sparsec_runtime::{Batch, Checkpoint, engine};

use super::Place;

const RECIPE: &str = r#"
edition 2026
dense = load("model", family: t5)
pairs = dataset(jsonl("manifest.jsonl", source: "en", text: "de"), split: [train: 60%, test: 40%], seed: 17)
prunable = linear in (encoder | decoder) except output_head      expect >= 20
pruned = prune(dense, layers: prunable, method: sparsegpt, calibration: take(pairs.train, 2 rows), sparsity: 75%)
healed = finetune(pruned,
  teacher: dense, data: pairs.train, loss: 0.5 * task + squarehead(eps: 1e-9) + kl(temperature: 2),
  optimizer: adamw(rate: 1e-3), batch: 2 rows, clip: 1.0, for: 6 steps, augment: [worddropout(share: 10%)], seed: 3,
)
int8 = quantize(healed, layers: prunable, scheme: w8a8(activations: dynamic), method: rtn)
require wer(int8, pairs.test) <= wer(dense, pairs.test) + 9000 points
export(int8, to: "out/tiny", format: safetensors)
"#;

/// Writes the folder `model`, which is the fixture `name`, and `manifest.jsonl` into `folder`.
fn furnish(name: &str, folder: &Path) {
    let model = folder.join("model");
    fs::create_dir(&model).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/t5").join(name);
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "expected.safetensors") {
            fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
        }
    }
    let pairs = [
        ("I have two old dogs.", "dogs two old have I"),
        ("She reads.", "reads she"),
        ("It is cold.", "cold it is"),
        ("Give me the key!", "the key me give"),
        ("Who is there?", "there is who"),
        ("Tomorrow.", "on the morrow"),
        ("The train leaves at nine.", "at nine the train leaves"),
        ("No.", "no"),
    ];
    let lines = pairs.map(|(en, de)| serde_json::json!({"en": en, "de": de}).to_string());
    fs::write(folder.join("manifest.jsonl"), lines.join("\n")).unwrap();
}

#[test]
fn a_text_model_is_pruned_taught_quantized_exported_and_run() {
    for fixture in ["plain", "gated"] {
        let place = Place::furnished(|folder| furnish(fixture, folder));
        let outcome = place.run(RECIPE, |_| {}, &mut Silent).unwrap_or_else(|failure| panic!("{fixture}: {}", failure.fault));
        let int8 = &outcome.report.models[1];
        assert!((int8.sparsity - 0.75).abs() < 0.01 && int8.encoder_ms.is_some());
        let export = outcome.report.stages.iter().find(|stage| stage.word == "export").unwrap();
        assert!(export.notes.is_empty(), "logits were compared: {:?}", export.notes);
        let artifact = Checkpoint::read(&place.artifact()).unwrap();
        assert!(artifact.quantized.len() >= 20 && artifact.masks.len() == artifact.quantized.len());

        let engine = artifact.compiled(&engine::measured(Tuning::default())).unwrap().model;
        let processor = family(&artifact.config).unwrap().processor(&artifact).unwrap();
        let rows = ["It is cold.", "", "The train leaves at nine."].map(|en| Row {
            source: Some(en.to_owned()),
            text: "it is".to_owned(),
            ..Row::default()
        });
        let examples = [&rows[0], &rows[2]].map(|row| processor.example(row).unwrap());
        let batch = Batch::of(&examples, processor.pad()).unwrap();
        let plain = artifact.model().unwrap();
        let (fast, slow) = (engine.forward(&batch, &mut NoTaps).unwrap(), plain.forward(&batch, &mut NoTaps).unwrap());
        let worst = (fast - slow).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-3, "{fixture}: kernels and plain products differ by {worst}");
        let said = processor.decode(&*engine, &rows, None).unwrap();
        assert!(said[1].text.is_empty() && !said[0].tokens.is_empty());
    }
}
