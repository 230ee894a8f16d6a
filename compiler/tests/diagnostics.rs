//! Every mistake that a recipe can make, as text: a recipe goes in, the rendered diagnostics come out.

mod support;

use std::collections::BTreeSet;

use sparsec_compiler::{Code, Color};

/// The codes that the cases give, collected to see that none is left out.
#[test]
fn every_case_is_reported_as_before_and_every_code_has_a_case() {
    let seen = std::cell::RefCell::new(BTreeSet::new());
    insta::glob!("diagnostics/*.sq", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let compilation = support::compiled(&name, &text);
        seen.borrow_mut().extend(compilation.diagnostics.iter().map(|diagnostic| diagnostic.code));
        insta::assert_snapshot!(compilation.rendered(Color::Off));
    });
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !seen.borrow().contains(code)).collect();
    assert!(missing.is_empty(), "no case gives {missing:?}");
}

#[test]
fn colours_are_on_when_asked_for() {
    let compilation = support::compiled("a.sq", "edition 2026\na = b\n");
    assert!(compilation.rendered(Color::On).contains('\u{1b}'));
    assert!(!compilation.rendered(Color::Off).contains('\u{1b}'));
}
