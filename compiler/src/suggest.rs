//! "Did you mean": the nearest of the names that would have been right.

/// Names that are compared; more than any real recipe or model has at one place.
const MAX_NAMES: usize = 2000;

/// The name nearest to `wrong`, if one is near enough to be meant.
pub(crate) fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let allowed = wrong.chars().count() / 3;
    names
        .into_iter()
        .take(MAX_NAMES)
        .filter(|name| *name != wrong)
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Help that names it.
pub(crate) fn did_you_mean<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(wrong, names).map(|name| format!("did you mean `{name}`?"))
}

/// Edits from one to the other; upper case counts as none and a cut-off end as one.
fn distance(wrong: &str, name: &str) -> usize {
    if wrong.eq_ignore_ascii_case(name) {
        return 0;
    }
    if wrong.len() >= 3 && name.starts_with(wrong) {
        return 1;
    }
    // Comparing names of hostile length would take quadratic time.
    if wrong.len() > 200 || name.len() > 200 { usize::MAX } else { strsim::damerau_levenshtein(wrong, name) }
}

/// At most ten of the names, for a note.
pub(crate) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let left = names.len().saturating_sub(10);
    names.truncate(10);
    if left > 0 {
        names.push(format!("{left} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["encoder", "decoder", "embedding"];
        assert_eq!(nearest("encodr", names), Some("encoder"));
        assert_eq!(nearest("Decoder", names), Some("decoder"));
        assert_eq!(nearest("emb", names), Some("embedding"));
        assert_eq!(nearest("zebra", names), None);
    }
}
