//! What comes from outside of the process, masks, numbers, tuning files and machine code, may say anything: it is refused, or it works.
//! `fuzz/` looks for bytes that break the same properties, longer.

use proptest::prelude::*;
use sparsec_kernels::{Mask, foreign};

/// A function of `foreign`, as `fuzz/` and these tests call it.
type Property = fn(&[u8]);

/// Bytes that take the first road that a property has for them, and change what they find there in a few places.
fn changes(first: u8) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"0123456789-.e[]{},:\" x"[..])];
    let change = (any::<u16>(), 0..4u8, prop::collection::vec(byte, 0..4));
    prop::collection::vec(change, 0..5).prop_map(move |changes| {
        let mut bytes = vec![first];
        for (place, removed, new) in changes {
            bytes.extend(place.to_le_bytes());
            bytes.push(removed << 4 | new.len() as u8);
            bytes.extend(new);
        }
        bytes
    })
}

/// Changes, along whatever road; or bytes that mean nothing.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![any::<u8>().prop_flat_map(changes), prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_stored_mask_is_whole_or_refused(bytes in any_bytes()) {
        foreign::mask(&bytes);
    }

    #[test]
    fn words_are_a_mask_or_refused(rows in any::<usize>(), cols in any::<usize>(), words in prop::collection::vec(any::<u64>(), 0..5)) {
        for (rows, cols) in [(rows, cols), (rows % 4, cols % 200)] {
            if let Ok(mask) = Mask::from_words(rows, cols, words.clone()) {
                prop_assert_eq!(mask.kept(), words.iter().map(|word| word.count_ones() as usize).sum::<usize>());
            }
        }
    }

    #[test]
    fn numbers_belong_together_or_are_refused(bytes in any_bytes()) {
        foreign::matrix(&bytes);
    }

    #[test]
    fn a_tuning_file_decides_or_is_refused(bytes in any_bytes()) {
        foreign::tuning(&bytes);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn code_from_the_cache_stays_inside_or_is_refused(bytes in any_bytes()) {
        foreign::code(&bytes);
    }
}

/// Each target is a property by name, so that one that is renamed or removed is noticed here, where everything is built.
#[test]
#[cfg(target_arch = "x86_64")]
fn every_fuzz_target_is_a_property_that_is_there() {
    let properties: [(&str, Property); 4] =
        [("code", foreign::code), ("mask", foreign::mask), ("matrix", foreign::matrix), ("tuning", foreign::tuning)];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut targets: Vec<_> =
        std::fs::read_dir(folder.join("fuzz_targets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    targets.sort();
    assert_eq!(targets.len(), properties.len());
    for (target, (name, property)) in targets.iter().zip(properties) {
        property(&[]);
        assert_eq!(target.file_stem().unwrap(), name);
        let text = std::fs::read_to_string(target).unwrap();
        assert!(text.ends_with(&format!("\nfuzz_target!(|bytes: &[u8]| sparsec_kernels::foreign::{name}(bytes));\n")), "{text}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{manifest}");
    }
}
