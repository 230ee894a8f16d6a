//! What comes in: models from elsewhere, and rows that cannot be used.

use super::*;

#[test]
fn models_that_hold_more_than_numbers_do_not_come_in() {
    let place = Place::new();
    let begin = |call: &str| format!("edition 2026\nmodel = {call}\nexport(model, to: \"out/tiny\", format: safetensors)\n");
    let quantized = "edition 2026\ndense = load(\"model\")\n\
        int8 = quantize(dense, layers: linear in encoder, scheme: w8a8(activations: dynamic), method: rtn)\n\
        export(int8, to: \"out/tiny\", format: safetensors)\n";
    place.run(quantized, |_| {}, &mut Silent).unwrap();
    let mut checkpoint = Checkpoint::read(&place.artifact()).unwrap();
    let weight = checkpoint.quantized.values_mut().next().unwrap();
    weight.scales = weight.scales.iter().map(|_| f32::MAX).collect();
    fs::create_dir(place.path().join("huge")).unwrap();
    checkpoint.write_into(&place.path().join("huge")).unwrap();
    let failure = place.run(&begin("load(\"huge\")"), |_| {}, &mut Silent).unwrap_err();
    assert_eq!(failure.fault.kind, FaultKind::Input);
    assert!(failure.fault.message.contains("not finite") && failure.fault.path.unwrap().ends_with("huge"));

    let config = place.path().join("model/config.json");
    let mut fields: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    fields["init_std"] = 1e300.into();
    fs::write(&config, fields.to_string()).unwrap();
    let failure = place.run(&begin("initialize(\"model\")"), |_| {}, &mut Silent).unwrap_err();
    assert!(failure.fault.message.contains("not finite") && failure.fault.path.is_some(), "{}", failure.fault);
}

#[test]
fn zeros_of_a_sparse_checkpoint_from_elsewhere_stay_zero() {
    let place = Place::new();
    let model = place.path().join("model");
    let mut checkpoint = Checkpoint::read(&model).unwrap();
    let name = "model.encoder.layers.0.fc1.weight";
    let zeros = |checkpoint: &Checkpoint| {
        let values = checkpoint.tensors[name].values().unwrap();
        values.iter().map(|&value| value == 0.0).collect::<Vec<_>>()
    };
    let tensor = checkpoint.tensors.get_mut(name).unwrap();
    *tensor = tensor.tensor().unwrap().relu().unwrap().into();
    checkpoint.write_into(&model).unwrap();
    fs::remove_file(model.join("sparsec.masks.safetensors")).unwrap();
    let text = "edition 2026\nsparse = load(\"model\")\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
        tuned = finetune(sparse, data: speech, loss: task, optimizer: adamw(rate: 1e-2), for: 3 steps)\n\
        export(tuned, to: \"out/tiny\", format: safetensors)\n";
    let outcome = place.run(text, |_| {}, &mut Silent).unwrap();
    let loaded = outcome.report.stages.iter().find(|stage| stage.name == "sparse").unwrap();
    assert!(loaded.notes[0].starts_with("1 layers have at least 10 % zeros"), "{:?}", loaded.notes);
    let tuned = Checkpoint::read(&place.artifact()).unwrap();
    assert_eq!(zeros(&tuned), zeros(&checkpoint));
    assert!(zeros(&tuned).contains(&true) && tuned.masks.len() == 1);
}

#[test]
fn a_multilingual_checkpoint_is_told_its_language_by_the_recipe() {
    let place = Place::new();
    let settings = place.path().join("model/generation_config.json");
    let mut fields: serde_json::Value = serde_json::from_slice(&fs::read(&settings).unwrap()).unwrap();
    fields.as_object_mut().unwrap().retain(|key, _| !["language", "task"].contains(&key.as_str()));
    fs::write(&settings, fields.to_string()).unwrap();
    let text = |told: &str| {
        format!(
            "edition 2026\ndense = load(\"model\"{told})\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
             tuned = finetune(dense, data: speech, loss: task, optimizer: adamw(rate: 1e-3), for: 2 steps)\n\
             require wer(tuned, speech) <= 99900%\nexport(tuned, to: \"out/tiny\", format: safetensors)\n"
        )
    };
    let fault = place.run(&text(""), |_| {}, &mut Silent).unwrap_err().fault;
    assert!(fault.message.contains("needs to know the language"), "{fault}");
    let fault = place.run(&text(", language: \"hi\""), |_| {}, &mut Silent).unwrap_err().fault;
    assert!(fault.message.contains("`language` is `hi`") && fault.path.unwrap().ends_with("model/generation_config.json"));
    place.run(&text(", language: \"en\", task: \"transcribe\""), |_| {}, &mut Silent).unwrap();
    let exported: serde_json::Value =
        serde_json::from_slice(&fs::read(place.artifact().join("generation_config.json")).unwrap()).unwrap();
    assert_eq!((&exported["language"], &exported["task"]), (&"en".into(), &"transcribe".into()));
    assert_eq!(exported["lang_to_id"], fields["lang_to_id"]);
}

/// A WAV file like [`tone`] with `samples` samples of `level`.
fn wave(samples: usize, level: i16) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend((36 + 2 * samples as u32).to_le_bytes());
    file.extend(&tone(440.0)[8..40]);
    file.extend((2 * samples as u32).to_le_bytes());
    file.extend((0..samples).flat_map(|at| (if at % 20 < 10 { level } else { -level }).to_le_bytes()));
    file
}

#[test]
fn rows_that_cannot_be_used_are_found_before_anything_is_trained() {
    let place = Place::new();
    let row = |audio: &str, split: &str| serde_json::json!({"audio": audio, "text": "one two", "split": split}).to_string();
    let rows = [row("0.wav", "train"), row("1.wav", "train"), row("2.wav", "train"), row("3.wav", "test"), row("4.wav", "test")];
    fs::write(place.path().join("manifest.jsonl"), rows.join("\n")).unwrap();
    let text = "edition 2026\ndense = load(\"model\")\nspeech = dataset(jsonl(\"manifest.jsonl\"))\n\
        pruned = prune(dense, layers: linear in encoder, method: sparsegpt, calibration: take(speech.train, 3 rows), sparsity: 50%)\n\
        healed = finetune(dense, data: speech.train, loss: task, optimizer: adamw(rate: 1e-3), batch: 1 row, for: 3 steps)\n\
        require wer(healed, speech.test) <= wer(pruned, speech.test) + 900 points\n";
    // One stage at a time, so that each is seen to look at its own rows.
    let without =
        |word: &str| text.lines().filter(|line| !line.starts_with(word)).map(|line| format!("{line}\n")).collect::<String>();
    let tuned = without("pruned").replace("wer(pruned, speech.test)", "50%");
    let pruned = without("healed").replace("wer(healed, speech.test)", "50%");
    let check = |text: &str, expected: &[&str]| {
        let mut worked = false;
        let mut listen = |event: Event<'_>| {
            worked |= matches!(event, Event::Losses { .. } | Event::Progress { unit: "layers", .. });
        };
        let fault = place.run(text, |_| {}, &mut listen).unwrap_err().fault;
        assert!(!worked, "work was done before: {fault}");
        assert_eq!(fault.kind, FaultKind::Input);
        expected.iter().for_each(|part| assert!(fault.to_string().contains(part), "{part}: {fault}"));
    };
    for (name, samples, level, complaint) in [("2.wav", 8000, 0, "only silence"), ("2.wav", 16000 * 5, 9000, "does not fit")] {
        fs::write(place.path().join(name), wave(samples, level)).unwrap();
        check(&tuned, &[complaint, name, "line 3 of", "manifest.jsonl"]);
        check(&pruned, &[complaint, name, "line 3 of", "manifest.jsonl"]);
    }
    fs::write(place.path().join("0.wav"), b"RIFF").unwrap();
    check(&tuned, &["manifest.jsonl: 2 of 3 rows cannot be used", "0.wav: ", "(line 1 of", "2.wav: ", "(line 3 of"]);
    for name in ["0.wav", "2.wav"] {
        fs::write(place.path().join(name), tone(300.0)).unwrap();
    }
    fs::write(place.path().join("4.wav"), wave(8000, 0)).unwrap();
    check(text, &["only silence", "4.wav", "line 5 of"]);
    fs::write(place.path().join("4.wav"), wave(16000 * 5, 9000)).unwrap();
    place.run(text, |_| {}, &mut Silent).expect("what is longer than a window is scored window by window");
}
