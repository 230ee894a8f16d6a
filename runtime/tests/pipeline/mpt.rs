//! A family that only decodes: from prompts and answers to an artifact that continues texts.

use sparsec_kernels::Tuning;
use sparsec_runtime::engine;
use sparsec_runtime::generate::Asked;
use sparsec_runtime::model::family;
use sparsec_runtime::report::Unit;

use super::*;

const RECIPE: &str = r#"
edition 2026
dense    = load("mpt", family: mpt)
problems = dataset(jsonl("problems.jsonl", source: "source"), split: [train: 50%, test: 50%], seed: 17)
prunable = linear except output_head      expect >= 8
pruned   = prune(dense, layers: prunable, method: sparsegpt, calibration: take(problems.train, 4 rows), sparsity: 60%)
healed   = finetune(pruned,
  teacher: dense, data: problems.train, loss: task + squarehead(eps: 0.0078125), optimizer: adamw(rate: 1e-3), batch: 3 rows, for: 6 steps,
)
int8     = quantize(healed, layers: prunable, scheme: w8a8(activations: dynamic), method: rtn)
require exact_match(int8, problems.test, answer: last_number) >= exact_match(dense, problems.test, answer: last_number) - 100 points
require perplexity(int8, problems.test) <= 0.9 * perplexity(dense, problems.test)
export(int8, to: "out/tiny", format: safetensors)
"#;

/// A place with the random MPT of the fixtures and sums as rows.
fn place() -> Place {
    let place = Place::new();
    let model = place.path().join("mpt");
    fs::create_dir(&model).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mpt/plain");
    for file in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(fixture.join(file), model.join(file)).unwrap();
    }
    let rows: String = (0..24)
        .map(|a| (a % 6, a / 6))
        .map(|(a, b)| serde_json::json!({"source": format!("the sum of {a} and {b}?"), "text": format!(" #### {}", a + b)}))
        .map(|row| format!("{row}\n"))
        .collect();
    fs::write(place.path().join("problems.jsonl"), rows).unwrap();
    place
}

#[test]
fn prompts_and_answers_become_an_artifact_that_continues_texts() {
    let place = place();
    let outcome = place.run(RECIPE, |_| {}, &mut Silent).unwrap();
    let report = &outcome.report;
    assert!(report.requires.iter().all(|verdict| verdict.outcome == Bar::Met), "{:?}", report.requires);
    let result = report.models.iter().find(|model| model.name == "int8").unwrap();
    let scores: Vec<(&str, Unit)> = result.scores.iter().map(|score| (score.metric.as_str(), score.unit)).collect();
    assert_eq!(scores, [("exact_match(answer: last_number)", Unit::Share), ("perplexity", Unit::Number)]);
    assert!(result.encoder_ms.is_none() && result.decode_tokens_per_second.is_some());
    let healed = report.stages.iter().find(|stage| stage.name == "healed").unwrap();
    let curves: Vec<&str> = healed.losses.iter().map(|curve| curve.name.as_str()).collect();
    assert_eq!(curves, ["squarehead", "task", "total"]);
    let task = &healed.losses[1].points;
    assert!(task[task.len() - 1].1 < task[0].1, "it learns: {task:?}");
    assert!(place.run(RECIPE, |_| {}, &mut Silent).unwrap().nothing_to_do);

    let artifact = Checkpoint::read(&place.artifact()).unwrap();
    assert_eq!((artifact.quantized.len(), artifact.masks.len()), (8, 8));
    let processor = family(&artifact.config).unwrap().processor(&artifact).unwrap();
    let compiled = artifact.compiled(&engine::frozen(Tuning::default())).unwrap();
    assert_eq!(compiled.kernels.iter().map(|kernel| &kernel.path).collect::<std::collections::BTreeSet<_>>().len(), 8);
    let asked = Asked { max_new: Some(16), ..Asked::default() };
    for prompt in ["the sum of 3 and 3?", "hello", ""] {
        let say = |model: &dyn sparsec_runtime::model::Model| {
            processor.continue_text(model, prompt, &asked, &mut |_| Ok(())).unwrap().0.tokens
        };
        assert_eq!(say(&*compiled.model), say(&*artifact.model().unwrap()), "{prompt:?}: the engine and the plain model");
    }
}

#[test]
fn rows_that_do_not_fit_a_model_that_only_decodes_are_named() {
    let place = place();
    let manifest = place.path().join("problems.jsonl");
    let mut rows = fs::read_to_string(&manifest).unwrap();
    rows += &format!("{}\n", serde_json::json!({"source": "x".repeat(40), "text": "y".repeat(40)}));
    fs::write(&manifest, rows).unwrap();
    let text = "edition 2026\ndense = load(\"mpt\")\nproblems = dataset(jsonl(\"problems.jsonl\", source: \"source\"))\n\
        tuned = finetune(dense, data: problems, loss: task, optimizer: adamw(rate: 1e-3), for: 2 steps)\n\
        export(tuned, to: \"out/tiny\", format: safetensors)\n";
    let fault = place.run(text, |_| {}, &mut Silent).unwrap_err().fault;
    assert!(fault.message.contains("need 80 of 48 tokens") && fault.message.contains("line 25"), "{fault}");
    let heard = text.replace(", source: \"source\"", "");
    let fault = place.run(&heard.replace("problems.jsonl", "manifest.jsonl"), |_| {}, &mut Silent);
    fault.expect("a data set with sound has texts too, which are read without prompts");
    let spoken = text.replace("load(\"mpt\")", "load(\"mpt\", language: \"hi\")");
    let fault = place.run(&spoken, |_| {}, &mut Silent).unwrap_err().fault;
    assert!(fault.message.contains("no language and no task"), "{fault}");
}
