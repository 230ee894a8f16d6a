//! The printed forms of every noun of the ladder, for recipes that use the whole language.

mod support;

use sparsec_compiler::{Color, Compilation};

fn nouns(compilation: &Compilation) -> String {
    format!(
        "SYNTAX\n{}\nRECIPE\n{}\nGRAPH\n{}\nPLAN\n{}\nDIAGNOSTICS\n{}",
        compilation.syntax,
        compilation.recipe,
        compilation.graph,
        compilation.plan,
        compilation.rendered(Color::Off),
    )
}

#[test]
fn every_noun_of_every_recipe_prints_as_before() {
    insta::glob!("recipes/*.sq", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let compilation = support::compiled(&name, &text);
        insta::assert_snapshot!(nouns(&compilation));
    });
}
