//! Fetching the models of a recipe that are on the hub and not on this machine.

use sparsec_runtime::Result;
use sparsec_runtime::report::text;
use sparsec_runtime::run::{Event, Events};
use sparsec_runtime::shelf::Item;
use sparsec_runtime::stage::Load;

use super::recipe::Recipe;
use crate::progress::Progress;

/// Fetches every model that `recipe` loads and that is neither a folder nor in the cache, and says before how large it is.
pub(super) fn absent(recipe: &Recipe) -> Result<()> {
    let (compilation, files) = (recipe.compile()?, recipe.files());
    for call in compilation.plan.steps.iter().filter_map(|step| step.call()).filter(|call| call.word == Load::NAME) {
        let Some(name) = files.to_fetch(&Load::from_call(call)?.checkpoint.0) else { continue };
        let listing = files.hub().listing(&name)?;
        let size = text::bytes(listing.bytes());
        errln!("fetching `{name}` from the hub: {size} in {} files, commit {}", listing.files.len(), listing.commit);
        let mut progress = Progress::new();
        progress.event(Event::Fetching);
        let found = files.hub().fetch(&name, &listing, &mut |done, total| {
            super::tell(&mut progress, (done >> 20) as usize, (total >> 20) as usize, "MiB")
        })?;
        progress.event(Event::Fetched { folder: &found.folder });
    }
    Ok(())
}
