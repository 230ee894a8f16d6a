//! Every word that a recipe can use, gathered from the shelves for the compiler.

use std::sync::OnceLock;

use sparsec_compiler::{Call, Kind, Module, Param, Value, Vocabulary, Word};

use crate::dataset::MANIFESTS;
use crate::model::ModuleKind;
use crate::{augmentation, export, loss, metric, optimizer, pattern, pruner, quantizer, schedule, stage};

/// The editions whose recipes are understood.
pub const EDITIONS: &[u32] = &[2026];

/// The vocabulary of recipes.
///
/// # Panics
/// When a declaration contradicts itself or another, which the tests of this file rule out.
pub fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| match Vocabulary::new(words(), EDITIONS) {
        Ok(vocabulary) => vocabulary,
        Err(wrong) => panic!("the vocabulary contradicts itself: {}", wrong.join("; ")),
    })
}

fn words() -> Vec<Word> {
    let mut words: Vec<Word> = stage::STAGES.iter().map(|stage| (stage.word)()).collect();
    words.push(stage::staged());
    words.extend(MANIFESTS.words());
    words.extend(pruner::PRUNERS.words());
    words.extend(pattern::words());
    words.extend(stage::PLANS.words());
    words.extend(quantizer::QUANTIZERS.words());
    words.extend(quantizer::SCHEMES.words());
    words.extend(loss::LOSSES.words());
    words.extend(augmentation::AUGMENTATIONS.words());
    words.extend(optimizer::OPTIMIZERS.words());
    words.extend(export::EXPORTERS.words());
    words.extend(schedule::CURVES.segments());
    words.extend(metric::words());
    words.extend(predicates());
    words
}

/// The selectors by what a module is: `linear`, `role(mlp.down)`, `multiple(in_features, of: 128)`.
fn predicates() -> Vec<Word> {
    let kinds: [(&str, sparsec_compiler::Test, &str); 5] = [
        ("linear", |module, _| is(module, ModuleKind::Linear), "Matrix products: what pruning and quantization work on."),
        ("conv", |module, _| is(module, ModuleKind::Conv), "Convolutions."),
        ("norm", |module, _| is(module, ModuleKind::Norm), "Layer norms."),
        ("embedding", |module, _| is(module, ModuleKind::Embedding), "Tables of token or position vectors."),
        ("output_head", |module, _| module.role == "output_head", "The product that yields the logits."),
    ];
    let mut words: Vec<Word> = kinds.into_iter().map(|(name, test, doc)| Word::predicate(name, test, doc)).collect();
    words.push(
        Word::predicate(
            "role",
            has_role,
            "Layers with a role in their block, `attention.q` or `mlp.down`; `mlp` holds all of its own.",
        )
        .param(Param::new("role", Kind::Role, "The role.").positional()),
    );
    let side = Kind::choice(["in_features", "out_features"]);
    words.push(
        Word::predicate("multiple", is_multiple, "Layers with a side that a number divides.")
            .param(Param::new("side", side, "Which side.").positional())
            .param(Param::new("of", Kind::Integer, "The number.").within("1..1000000000")),
    );
    words
}

/// What the compiler calls a kind of module.
pub fn kind_name(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::Linear => "linear",
        ModuleKind::Conv => "conv",
        ModuleKind::Norm => "norm",
        ModuleKind::Embedding => "embedding",
    }
}

fn is(module: &Module, kind: ModuleKind) -> bool {
    module.kind == kind_name(kind)
}

fn has_role(module: &Module, call: &Call) -> bool {
    let wanted = call.get("role").and_then(Value::as_name).unwrap_or_default();
    module.role == wanted || module.role.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
}

fn is_multiple(module: &Module, call: &Call) -> bool {
    let side = match call.get("side").and_then(Value::as_name) {
        Some("out_features") => module.shape.first(),
        _ => module.shape.last(),
    };
    let divisor = call.get("of").and_then(Value::as_integer).and_then(|of| usize::try_from(of).ok());
    module.kind == kind_name(ModuleKind::Linear)
        && matches!((side, divisor), (Some(side), Some(divisor)) if divisor > 0 && side.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_compiler::Role;
    use std::path::Path;

    #[test]
    fn every_word_and_parameter_is_documented() {
        for word in vocabulary().words() {
            assert!(word.doc.len() > 10 && word.doc.lines().next().is_some_and(|line| line.ends_with('.')), "{}", word.name);
            for param in &word.params {
                assert!(param.doc.len() > 5, "{}: {}", word.name, param.name);
            }
        }
    }

    /// A word is the stem of a file on its shelf. Predicates are a line of code each; `gradual` lives with the stage that takes it.
    #[test]
    fn a_word_is_a_file() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let shelves = [
            "augmentation",
            "dataset",
            "export",
            "loss",
            "metric",
            "model",
            "optimizer",
            "pattern",
            "pruner",
            "quantizer",
            "schedule",
            "stage",
        ];
        for word in vocabulary().words() {
            let small = matches!(word.role, Role::Predicate(_) | Role::Unrolled { .. }) || word.name == "gradual";
            let file = format!("{}.rs", word.name);
            assert!(small || shelves.iter().any(|shelf| source.join(shelf).join(&file).exists()), "{}", word.name);
        }
    }
}
