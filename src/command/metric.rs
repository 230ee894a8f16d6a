//! `--metric`: a metric as a recipe calls it, the model and the data left out.

use sparsec_compiler::{Kind, Measured, NoFacts, Options, Role, Severity, SourceSet, compile};
use sparsec_runtime::metric::{self, Called};
use sparsec_runtime::vocabulary::vocabulary;
use sparsec_runtime::{Fault, Result};

/// The metric that `text` calls: `bleu`, or with options `exact_match(answer: last_number)`.
///
/// # Errors
/// A word that is no metric, and options that it does not have.
pub fn parse(text: &str) -> Result<Called> {
    let (word, options) = match text.trim().split_once('(') {
        Some((word, rest)) => (word.trim(), rest.strip_suffix(')').ok_or_else(|| unclosed(text))?),
        None => (text.trim(), ""),
    };
    let metrics = || vocabulary().words().iter().filter(|word| matches!(word.role, Role::Metric));
    let Some(found) = metrics().find(|metric| metric.name == word) else {
        let known = metrics().map(|metric| format!("`{}`", metric.name)).collect::<Vec<_>>().join(", ");
        return Err(Fault::input(format!("there is no metric `{word}`")).help(format!("the metrics are {known}")));
    };
    // What it is called with is checked where a recipe's calls are: in a recipe.
    let zero = if found.kind == Kind::Ratio { "0%" } else { "0" };
    let options = if options.trim().is_empty() { String::new() } else { format!(", {options}") };
    let recipe = format!(
        "edition 2026\nmodel = load(\"model\")\nrows = dataset(jsonl(\"rows\"))\nrequire {word}(model, rows{options}) >= {zero}\n"
    );
    let compiled = compile(SourceSet::new("--metric", recipe), vocabulary(), &NoFacts, &Options::default());
    if let Some(wrong) = compiled.diagnostics.iter().find(|found| found.severity == Severity::Error) {
        let help = wrong.help.clone().unwrap_or_else(|| format!("`sparsec words {word}` says what it takes"));
        return Err(Fault::input(format!("`--metric {text}`: {}", wrong.message)).help(help));
    }
    let mut requirements = compiled.plan.steps.iter().filter_map(|step| step.requirement());
    match (requirements.next().map(|requirement| &requirement.left), requirements.next()) {
        (Some(Measured::Metric(call)), None) => metric::make(call),
        _ => Err(Fault::input(format!("`--metric {text}` is more than one metric")).help("give `--metric` once for each")),
    }
}

fn unclosed(text: &str) -> Fault {
    Fault::input(format!("`--metric {text}` does not close its parenthesis")).help("write it as in a recipe, in quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_called_as_in_recipes() {
        for (text, name) in [
            ("bleu", "bleu"),
            (" wer( normalize: none ) ", "wer(normalize: none)"),
            ("exact_match(answer: marker)", "exact_match"),
            ("exact_match(answer: last_number)", "exact_match(answer: last_number)"),
            ("perplexity()", "perplexity"),
        ] {
            assert_eq!(parse(text).unwrap().name(), name);
        }
    }

    #[test]
    fn what_cannot_be_called_is_said_with_what_can() {
        let complaint = |text: &str| parse(text).unwrap_err().to_string() + &parse(text).unwrap_err().help.unwrap_or_default();
        assert!(complaint("blue").contains("`blue`") && complaint("blue").contains("`bleu`, `chrf`"), "{}", complaint("blue"));
        assert!(complaint("linear").contains("no metric"));
        assert!(complaint("wer(normalise: none)").contains("did you mean `normalize`?"), "{}", complaint("wer(normalise: none)"));
        assert!(complaint("exact_match(answer: las)").contains("last_number"), "{}", complaint("exact_match(answer: las)"));
        assert!(complaint("wer(normalize: none").contains("parenthesis"));
        assert!(complaint("wer(normalize: none) + wer(model, rows)").contains("more than one"));
        assert!(complaint("wer() >= 0%\nrequire wer(model, rows)").contains("more than one"));
    }
}
