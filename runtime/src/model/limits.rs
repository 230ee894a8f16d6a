//! What every family asks of its configuration: that it can be read, and that its sizes are those of a model.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Fault, Result};

/// Sides of matrices and positions beyond which a configuration is a mistake, not a model.
pub(crate) const SIZE_LIMIT: usize = 1 << 20;

/// Layers beyond which it is one.
pub(crate) const LAYER_LIMIT: usize = 1000;

/// The configuration `config` of the family called `family`, unless `objection` has something against it.
///
/// # Errors
/// A field that is missing or of another type, and the objection.
pub(crate) fn checked<C: DeserializeOwned>(family: &str, config: &Value, objection: impl Fn(&C) -> Option<String>) -> Result<C> {
    let parsed =
        C::deserialize(config).map_err(|error| Fault::input(format!("this is no configuration of {family}: {error}")))?;
    match objection(&parsed) {
        None => Ok(parsed),
        Some(objection) => Err(Fault::input(objection)),
    }
}

/// The objection to the first of `sizes`, name, size and limit, that is zero or past its limit.
pub(crate) fn out_of_range(sizes: &[(&str, usize, usize)]) -> Option<String> {
    let (name, size, limit) = sizes.iter().find(|(_, size, limit)| *size == 0 || size > limit)?;
    Some(format!("`{name}` is {size}, outside 1..{limit}"))
}
