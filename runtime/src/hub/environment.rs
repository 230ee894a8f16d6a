//! What the environment says about the hub, in the variables that Hugging Face's own programs read.

use std::env;
use std::path::PathBuf;

use super::Hub;

impl Hub {
    /// The hub as the environment describes it: `HF_ENDPOINT`; the cache in `HF_HUB_CACHE`, or in `hub` of `HF_HOME`, or else below the
    /// home folder; the token in `HF_TOKEN`, or in the file `token` of `HF_HOME`; `HF_HUB_OFFLINE`.
    pub fn from_environment(offline: bool) -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let home = set("HF_HOME").map(PathBuf::from);
        let home = home.unwrap_or_else(|| env::home_dir().unwrap_or_default().join(".cache/huggingface"));
        let token_file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = set("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let is_on = |value: String| !["0", "false", "off", "no"].contains(&value.to_lowercase().as_str());
        Self {
            cache: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: set("HF_ENDPOINT")
                .map_or_else(|| "https://huggingface.co".to_owned(), |url| url.trim_end_matches('/').to_owned()),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: offline || set("HF_HUB_OFFLINE").is_some_and(is_on),
        }
    }
}
