//! What enters a fingerprint and what does not, and what a plan promises to who executes it.

mod support;

use std::collections::BTreeMap;

use sparsec_compiler::{Comparison, Edge, Fingerprint, Measured, Origin, Task, Value};

const BASE: &str = r#"
edition 2026
dense = grow("plans/estate")
bag = seeds(sack("bags/all"))
cut = trim(dense, amount: 50%, probe: bag.spring)
painted = paint(cut, beds: bed in orchard)
harvest(painted, to: "out/a")
"#;

fn fingerprints(text: &str) -> BTreeMap<String, Fingerprint> {
    let compilation = support::compiled("meaning.sq", text);
    assert!(!compilation.has_errors(), "{}", compilation.rendered(sparsec_compiler::Color::Off));
    compilation.plan.steps.into_iter().map(|step| (step.name, step.fingerprint)).collect()
}

/// The steps whose meaning differs when `from` is replaced by `to`.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from));
    let (before, after) = (fingerprints(BASE), fingerprints(&BASE.replace(from, to)));
    before.into_iter().filter(|(name, meaning)| after.get(name) != Some(meaning)).map(|(name, _)| name).collect()
}

#[test]
fn what_means_the_same_has_the_same_fingerprint() {
    assert!(changed("bag = ", "// a comment\nbag   =   ").is_empty());
    assert!(changed("amount: 50%", "amount: 25% + 2 * 12.5%").is_empty());
    assert!(changed("amount: 50%", "tool: shears(angle: 30), amount: 50%").is_empty());
    assert!(changed("to: \"out/a\"", "to: \"elsewhere\"").is_empty());
    assert!(changed("plans/estate", "plans/other").is_empty());
    assert!(changed("bed in orchard", "orchard & bed").is_empty());
    assert!(
        changed(
            "dense = grow(\"plans/estate\")\nbag = seeds(sack(\"bags/all\"))",
            "bag = seeds(sack(\"bags/all\"))\ndense = grow(\"plans/estate\")"
        )
        .is_empty()
    );
    let renamed = fingerprints(&BASE.replace("cut", "clipped"));
    assert_eq!(renamed["clipped"], fingerprints(BASE)["cut"]);
    assert_eq!(renamed["painted"], fingerprints(BASE)["painted"]);
}

#[test]
fn what_means_something_else_changes_it_and_everything_below() {
    assert_eq!(changed("amount: 50%", "amount: 51%"), ["cut", "harvest", "painted"]);
    assert_eq!(changed("bag.spring", "bag.autumn"), ["cut", "harvest", "painted"]);
    assert_eq!(changed("bed in orchard", "bed"), ["harvest", "painted"]);
    assert_eq!(changed("sack(\"bags/all\")", "sack(\"bags/all\"), shake: 18"), ["bag", "cut", "harvest", "painted"]);
}

#[test]
fn an_artifact_waits_for_the_requirements_above_it() {
    let text = BASE
        .replace("harvest(", "require weeds(painted, bag.autumn) <= 2 * weeds(dense, bag.autumn) + 1.0 points\nharvest(")
        + "require beauty(painted) >= 3\n";
    let compilation = support::compiled("bars.sq", &text);
    let harvest = compilation.plan.steps.iter().find(|step| step.name == "harvest").unwrap();
    let bars = compilation.graph.before(harvest.id).into_iter().filter(|(_, edge)| *edge == Edge::Bar).count();
    assert_eq!(bars, 1);

    let requirement = compilation.plan.steps.iter().find_map(|step| step.requirement()).unwrap();
    assert_eq!(requirement.comparison, Comparison::AtMost);
    assert_eq!(requirement.right.metrics().len(), 1);
    let mut measure = |_: &sparsec_compiler::Call| Ok::<_, ()>(0.1);
    assert!((requirement.right.evaluate(&mut measure).unwrap() - 0.21).abs() < 1e-12);
    assert!(matches!(requirement.left, Measured::Metric(_)));
}

#[test]
fn parameters_say_where_their_values_come_from() {
    let text = "//! set amount=60%\n//! set note=a \"quoted\" note\n//! file lib.sq\n//!   edition 2026\n//!   param speed: number = 3\nedition 2026\n\
        import \"lib.sq\" as lib\nparam amount: ratio = 50%\nparam depth: bits = 4 bits\nparam note: text = \"\"\n\
        dense = trim(grow(\"a\"), amount: amount, tool: shears(angle: lib.speed))\n\
        harvest(paint(dense, beds: bed, depth: depth), to: \"out\", label: note)\n";
    let compilation = support::compiled("params.sq", text);
    assert!(compilation.diagnostics.is_empty(), "{}", compilation.rendered(sparsec_compiler::Color::Off));
    let found: Vec<_> =
        compilation.plan.params.iter().map(|param| (param.name.as_str(), param.value.clone(), param.origin)).collect();
    assert_eq!(
        found,
        [
            ("amount", Value::Ratio(0.6), Origin::Set),
            ("depth", Value::Bits(4), Origin::Default),
            ("note", Value::Text("a \"quoted\" note".to_owned()), Origin::Set),
            ("lib.speed", Value::Number(3.0), Origin::Import),
        ]
    );
}

#[test]
fn a_stage_is_made_once_however_often_its_name_is_used() {
    let text = "edition 2026\ndef twice(g: model) -> model = tend(g, idol: g, seeds: bag.spring, for: 1 epoch)\n";
    let text = text.replace("edition 2026\n", "edition 2026\nbag = seeds(sack(\"a\"))\n")
        + "pair = [twice(grow(\"a\")), twice(grow(\"b\"))]\nx = twice(trim(grow(\"c\"), amount: 5%))\nharvest(x, to: \"1\")\nharvest(x, to: \"2\")\n";
    let compilation = support::compiled("once.sq", &text);
    let words: Vec<_> = compilation
        .plan
        .steps
        .iter()
        .filter_map(|step| match &step.task {
            Task::Stage { call, .. } => Some(call.word.as_str()),
            Task::Require(_) => None,
        })
        .collect();
    assert_eq!(words, ["seeds", "grow", "trim", "tend", "harvest", "harvest"]);
    assert!(compilation.plan.steps.iter().all(|step| step.after.iter().all(|before| before < &step.id)));
}
