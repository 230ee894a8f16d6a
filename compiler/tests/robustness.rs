//! No text makes the compiler panic, and every place that it reports lies inside its text.

mod support;

use proptest::prelude::*;
use sparsec_compiler::{Color, Compilation, Plan, Span};

const TOKENS: &[&str] = &[
    "edition",
    "2026",
    "param",
    "import",
    "def",
    "require",
    "expect",
    "maybe",
    "except",
    "then",
    "in",
    "to",
    "for",
    "as",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "==",
    "<=",
    "->",
    ".",
    "..",
    "+",
    "-",
    "*",
    "/",
    "|",
    "&",
    "\"",
    "\"text\"",
    "\\",
    "//",
    "///",
    "\n",
    "\r\n",
    "  ",
    "\t",
    "50%",
    "0%..95%",
    "6 epochs",
    "1e999",
    "1e-4",
    "2:4",
    "4x1",
    "0..3",
    "3 KiB",
    "1 point",
    "-",
    "dense",
    "bag",
    "grow",
    "trim",
    "tend",
    "seasons",
    "line",
    "steady",
    "bed",
    "duty",
    "pond",
    "greenhouse",
    "floors",
    "[0..3]",
    "goat",
    "water",
    "music",
    "harvest",
    "weeds",
    "model",
    "ratio",
    "true",
    "ü",
    "日",
    "\u{feff}",
    "\0",
    "#",
    "'",
    ";",
    "@",
    "a",
    "b",
    "f",
];

const RECIPES: &[&str] = &[include_str!("recipes/garden.sq"), include_str!("recipes/seasons.sq")];

/// What every compilation keeps, whatever the text.
fn keeps_its_promises(compilation: &Compilation) {
    let inside = |span: Span| {
        let text = compilation.sources.text(span.source);
        assert!(text.get(span.range()).is_some(), "{span:?} lies in no text of {} bytes", text.len());
    };
    for diagnostic in &compilation.diagnostics {
        inside(diagnostic.primary.span);
        diagnostic.secondary.iter().for_each(|label| inside(label.span));
    }
    compilation.syntax.statements.iter().for_each(|statement| inside(statement.span));
    let rendered = compilation.rendered(Color::Off);
    assert_eq!(rendered.is_empty(), compilation.diagnostics.is_empty());
    for step in &compilation.plan.steps {
        inside(step.span);
        assert!(step.after.iter().all(|before| before.index() < step.id.index()));
    }
    // The printed forms work for broken recipes as well, and the plan can be read back.
    let _ = format!("{}{}{}{}", compilation.syntax, compilation.recipe, compilation.graph, compilation.plan);
    let json = serde_json::to_string(&compilation.plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), compilation.plan);
}

/// A change to a text, places as shares of its length.
#[derive(Clone, Debug)]
enum Edit {
    Remove(f64, usize),
    Repeat(f64, usize),
    Insert(f64, &'static str),
    SwapLines(f64, f64),
}

fn place(text: &str, share: f64) -> usize {
    let at = (text.len() as f64 * share) as usize;
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn edited(mut text: String, edit: &Edit) -> String {
    match edit {
        Edit::Remove(share, length) => {
            let start = place(&text, *share);
            let end = (start + length..).find(|end| *end >= text.len() || text.is_char_boundary(*end)).unwrap_or(start);
            text.replace_range(start..end.min(text.len()), "");
        }
        Edit::Repeat(share, length) => {
            let start = place(&text, *share);
            let part: String = text[start..].chars().take(*length).collect();
            text.insert_str(start, &part);
        }
        Edit::Insert(share, token) => {
            let start = place(&text, *share);
            text.insert_str(start, token);
        }
        Edit::SwapLines(a, b) => {
            let mut lines: Vec<&str> = text.split('\n').collect();
            let at = |share: f64| (lines.len() as f64 * share) as usize;
            let (a, b) = (at(*a).min(lines.len() - 1), at(*b).min(lines.len() - 1));
            lines.swap(a, b);
            text = lines.join("\n");
        }
    }
    text
}

fn edit() -> impl Strategy<Value = Edit> {
    let share = 0.0..1.0f64;
    prop_oneof![
        (share.clone(), 1..40usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (share.clone(), 1..80usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (share.clone(), prop::sample::select(TOKENS)).prop_map(|(at, token)| Edit::Insert(at, token)),
        (share.clone(), share).prop_map(|(a, b)| Edit::SwapLines(a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn token_soup_is_compiled(tokens in prop::collection::vec((prop::sample::select(TOKENS), any::<bool>()), 0..120)) {
        let mut text = "edition 2026\n".to_owned();
        for (token, spaced) in tokens {
            text.push_str(token);
            text.push_str(if spaced { " " } else { "" });
        }
        keeps_its_promises(&support::compiled("soup.sq", &text));
    }

    #[test]
    fn any_text_is_compiled(text in ".{0,200}") {
        keeps_its_promises(&support::compiled("text.sq", &text));
    }

    #[test]
    fn broken_recipes_are_compiled(recipe in prop::sample::select(RECIPES), edits in prop::collection::vec(edit(), 1..12)) {
        // The directives of the test stay whole; they are not part of the recipe.
        let start = recipe.find("edition 2026\n\n").unwrap_or(0);
        let (directives, recipe) = recipe.split_at(start);
        let text = edits.iter().fold(recipe.to_owned(), edited).replace("//!", "///");
        keeps_its_promises(&support::compiled("broken.sq", &format!("{directives}{text}")));
    }
}

#[test]
fn texts_of_hostile_size_and_depth_are_survived() {
    let deep = |open: &str, close: &str| format!("edition 2026\nx = {}1{}\n", open.repeat(20_000), close.repeat(20_000));
    let lines = |line: &dyn Fn(usize) -> String, count: usize| (0..count).map(line).collect::<String>();
    let hostile = [
        "(".repeat(500_000),
        format!("edition 2026\nx = {}\n", "(\n".repeat(200_000)),
        deep("(\n", ")\n"),
        deep("[\n", "]\n"),
        deep("f(\n", ")\n"),
        format!("edition 2026\nx = {}1\n", "-\n ".repeat(100_000)),
        format!("edition 2026\nx = a{}\n", "\n.b".repeat(100_000)),
        format!("edition 2026\nx = (a{})\n", "\n.b".repeat(100_000)),
        format!("edition 2026\nx = (1{})\n", "\n+ 1".repeat(100_000)),
        format!("edition 2026\nx = (a{})\n", "\n(1)".repeat(100_000)),
        format!("edition 2026\nparam x: {}ratio{} = 1\n", "[\n".repeat(10_000), "]\n".repeat(10_000)),
        "a".repeat(2_000_000),
        "x = 1\n".repeat(150_000),
        format!("edition 2026\nx = [{}]\n", "1%,\n".repeat(200_000)),
        format!("edition 2026\nx = [{}]\n", lines(&|i| format!("a{i}: 1%,\n"), 60_000)),
        format!("edition 2026\nx0 = [a: 1%]\n{}", lines(&|i| format!("x{} = x{i}(a: 2%)\n", i + 1), 20_000)),
        format!("edition 2026\nx0 = [1%]\n{}", lines(&|i| format!("x{} = [x{i}]\n", i + 1), 20_000)),
        format!("edition 2026\nx0 = 1%\n{}param p: ratio = x20000\n", lines(&|i| format!("x{} = x{i} + 1%\n", i + 1), 20_000)),
        format!("edition 2026\n{}", lines(&|i| format!("x{i} = y{i}\n"), 40_000)),
        format!(
            "edition 2026\ndef f0(g: model) -> model = g\n{}",
            lines(&|i| format!("def f{}(g: model) -> model = f{i}(f{i}(g))\n", i + 1), 300)
        ) + "harvest(f300(grow(\"a\")), to: \"out\")\n",
    ];
    for text in &hostile {
        let compilation = support::compiled("hostile.sq", text);
        keeps_its_promises(&compilation);
        assert!(!compilation.diagnostics.is_empty(), "{} …", &text[..40.min(text.len())]);
    }
}
