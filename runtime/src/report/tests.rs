//! The page of a report: what it shows, and that it fetches nothing.

use std::collections::BTreeMap;

use super::*;

fn curve(name: &str, value: impl Fn(f64) -> f64) -> Curve {
    Curve { name: name.to_owned(), points: (1..=40).map(|step| (step, value(step as f64))).collect() }
}

fn model(name: &str, sparsity: f64, wer: f64, milliseconds: f64) -> ModelRecord {
    let timing = |median: f64| Some(Timing { median, min: 0.9 * median, max: 1.2 * median, repeats: 9 });
    let layer = "model.encoder.layers.0.fc1".to_owned();
    let micros = BTreeMap::from([("dense".to_owned(), 40.0), ("rowblock".to_owned(), 12.5)]);
    let kernel = KernelRecord {
        path: layer,
        shape: [512, 128],
        sparsity,
        tokens: 1,
        kernel: "rowblock".into(),
        reason: "fastest".into(),
        micros,
        refused: BTreeMap::new(),
        miscompiled: Default::default(),
    };
    ModelRecord {
        name: name.to_owned(),
        parameters: 1_234_567,
        kept_parameters: 300_000,
        sparsity,
        bytes_on_disk: 2 << 20,
        peak_resident_bytes: None,
        scores: vec![Score {
            unit: Unit::Share,
            metric: "wer".into(),
            data: "speech.test".into(),
            value: wer,
            low: wer - 0.02,
            high: wer + 0.02,
            rows: 300,
            words: Some(2286),
        }],
        encoder_ms: timing(milliseconds),
        decode_tokens_per_second: timing(1e3 / milliseconds),
        kernels: if sparsity > 0.0 { vec![kernel] } else { Vec::new() },
    }
}

fn report() -> Report {
    let layer =
        LayerRecord { path: "model.encoder.layers.0.fc1".into(), shape: [512, 128], sparsity: 0.75, relative_error: Some(0.031) };
    let healed = StageRecord {
        name: "healed".into(),
        word: "finetune".into(),
        seconds: 61.5,
        losses: vec![curve("total", |step| 3.0 / step), curve("squarehead", |step| 1.0 / step)],
        schedules: vec![curve("rate", |step| 5e-4 * (1.0 - step / 40.0)), curve("weight of task", |_| 0.5)],
        layers: vec![layer],
        notes: vec!["going on behind step 7".into(), "slowly, because of `fc1`".into()],
        ..StageRecord::default()
    };
    let text = "wer(int8, speech.test) <= wer(dense, speech.test) + 1.0 points";
    Report {
        recipe: "recipes/<whisper>.sq".into(),
        params: vec![Param { name: "sparsity".into(), value: "80%".into(), origin: "--set".into() }],
        environment: Environment {
            version: "0.1.0".into(),
            cpu: "a processor".into(),
            tier: "avx2".into(),
            threads: 2,
            build: "release".into(),
        },
        stages: vec![healed],
        models: vec![model("dense", 0.0, 0.1, 8.0), model("int8", 0.75, 0.105, 4.0)],
        requires: vec![Verdict {
            text: text.into(),
            measured: 0.105,
            bar: 0.11,
            difference: Some((-0.02, 0.01)),
            outcome: Bar::Undecided,
        }],
        exports: vec![ExportRecord { model: "int8".into(), to: "out/whisper".into(), held_back: None, bytes: 2 << 20 }],
        notes: vec!["scores are scores of exactly this arithmetic".into()],
    }
}

#[test]
fn the_page_shows_everything_and_fetches_nothing() {
    let page = report().to_html().unwrap();
    let shown = [
        "recipes/&lt;whisper&gt;.sq",
        "a processor",
        "undecided",
        "wer on speech.test",
        "10.00 % (8.00 % … 12.00 %)",
        "10.50 % (8.50 % … 12.50 %)",
        "8.00 ms (7.20 … 9.60)",
        "250 tokens/s",
        "not measured",
        "2 threads",
        "left:64.0%;width:32.0%",
        "left:68.0%;width:32.0%",
        "because of <code>fc1</code>",
        "1 layer, 75.00 % of the weights removed",
        "1 234 567",
        "75.00 %",
        "width:75.0%",
        "3.10e-2",
        "rowblock",
        "squarehead",
        "training step",
        "going on behind step 7",
        "out/whisper",
        "--set",
    ];
    for text in shown {
        assert!(page.contains(text), "{text} is not shown");
    }
    // Losses together, and the one schedule that changes; both drawn where they stand.
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.matches("<polyline").count() >= 3);
    let namespace = "http://www.w3.org/2000/svg";
    let own = page.replace(namespace, "");
    for reference in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img", "<iframe"] {
        assert!(!own.contains(reference), "{reference}");
    }
}

#[test]
fn a_bare_report_is_a_page_too() {
    let bare = Report {
        params: Vec::new(),
        stages: Vec::new(),
        models: Vec::new(),
        requires: Vec::new(),
        exports: Vec::new(),
        notes: Vec::new(),
        ..report()
    };
    let page = bare.to_html().unwrap();
    assert!(page.ends_with("</html>") && !page.contains("<svg"));
}
