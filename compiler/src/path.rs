//! Paths as recipes write them: relative, with `/`, never above their root.

/// `path` seen from `folder`, `.` and `..` resolved; `None` if it is absolute or leaves the root.
pub(crate) fn join(folder: &str, path: &str) -> Option<String> {
    if is_absolute(path) {
        return None;
    }
    let parts = if folder.is_empty() { Vec::new() } else { folder.split('/').collect() };
    join_parts(parts, path)
}

fn join_parts<'p>(mut parts: Vec<&'p str>, path: &'p str) -> Option<String> {
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// The part before the last `/`; empty if there is none.
pub(crate) fn folder(path: &str) -> &str {
    path.rfind(['/', '\\']).map_or("", |slash| &path[..slash])
}

/// Whether a path is absolute or goes above its root.
pub(crate) fn leaves_root(path: &str) -> bool {
    let inside = |joined: String| joined == "." || joined.starts_with("./");
    path.is_empty() || is_absolute(path) || !join_parts(vec!["."], path).is_some_and(inside)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '\\', '~']) || path.as_bytes().get(1) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_under_their_root() {
        assert_eq!(join("", "lib/a.sq").as_deref(), Some("lib/a.sq"));
        assert_eq!(join("lib", "../b/./c.sq").as_deref(), Some("b/c.sq"));
        assert_eq!(join("lib", "../../c.sq"), None);
        assert_eq!(join("", "/etc/passwd"), None);
        assert_eq!(join("", "C:\\x"), None);
        assert_eq!(join("", ".."), None);
        assert!(leaves_root("../a") && leaves_root("/a") && leaves_root("a/../../b") && leaves_root(""));
        assert!(!leaves_root("a/../b") && !leaves_root("."));
    }
}
