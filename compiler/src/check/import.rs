//! Imports: paths that stay under the recipe's folder, no circles, every file checked once.

use super::Checker;
use crate::diagnostic::{Code, Diagnostic};
use crate::path::{folder, join};
use crate::syntax::{Name, parse};

/// Imports inside imports; a library needs two or three.
const MAX_IMPORT_DEPTH: usize = 16;

/// Files of one recipe.
const MAX_FILES: usize = 64;

impl Checker<'_> {
    /// The place of the imported file, or `None` and a report.
    pub(super) fn import(&mut self, path: &Name, alias: &str) -> Option<usize> {
        let here = self.trail.last().cloned().unwrap_or_default();
        let Some(full) = join(folder(&here), &path.text) else {
            self.report(
                Diagnostic::new(Code::PathLeavesRoot, path.span, "this import leaves the folder of the recipe")
                    .help("imports are relative to the file that imports; move the imported file under the recipe's folder"),
            );
            return None;
        };
        let root = self.sources.name(self.sources.root()).to_owned();
        let own_name = root.rsplit(['/', '\\']).next().unwrap_or(&root);
        if self.trail.contains(&full) || full == own_name {
            let circle: Vec<&str> = self.trail.iter().map(String::as_str).chain([full.as_str()]).collect();
            self.report(
                Diagnostic::new(Code::ImportCycle, path.span, format!("`{full}` imports itself"))
                    .note(format!("the circle: `{own_name}` → `{}`", circle.join("` → `")))
                    .help("move what both need to a third file"),
            );
            return None;
        }
        if let Some(known) = self.imported.get(&full) {
            return *known;
        }
        if self.trail.len() == MAX_IMPORT_DEPTH || self.files.len() == MAX_FILES {
            let message = format!("more than {MAX_IMPORT_DEPTH} imports inside each other, or {MAX_FILES} files");
            self.report(Diagnostic::new(Code::TooDeep, path.span, message).help("import fewer files"));
            return None;
        }
        let read = self.read(path, &full, alias, &root);
        self.imported.insert(full, read);
        read
    }

    fn read(&mut self, path: &Name, full: &str, alias: &str, root: &str) -> Option<usize> {
        let text = match self.facts.read(full) {
            Ok(text) => text,
            Err(refusal) => {
                self.report(
                    Diagnostic::new(Code::UnreadableImport, path.span, "this import cannot be read")
                        .note(refusal.message)
                        .maybe_help(refusal.help),
                );
                return None;
            }
        };
        let name = join(folder(root), full).unwrap_or_else(|| full.to_owned());
        let source = self.sources.add(name, text);
        let (syntax, found) = parse(self.sources, source);
        found.into_iter().for_each(|diagnostic| self.report(diagnostic));
        let outer = std::mem::take(&mut self.scope);
        self.trail.push(full.to_owned());
        let at = self.files.len();
        self.file(&syntax, Some(path.span), alias);
        self.trail.pop();
        self.scope = outer;
        Some(at)
    }
}
