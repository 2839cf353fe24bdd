//! Platforms of images: `os/architecture[/variant]` (OCI image index, `platform`).

use serde::{Deserialize, Serialize};

/// An operating system and a processor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// Go's name of the architecture: `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; empty when none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// What this program was built for.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: String::new() }
    }

    /// Whether something for this platform is for the `wanted` one too: no variant is any variant, and `arm64` is `arm64/v8`.
    pub fn serves(&self, wanted: &Platform) -> bool {
        let variant = |platform: &Platform| match (platform.architecture.as_str(), platform.variant.as_str()) {
            ("arm64", "v8") => String::new(),
            (_, variant) => variant.to_owned(),
        };
        let (own, wanted_variant) = (variant(self), variant(wanted));
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (own.is_empty() || wanted_variant.is_empty() || own == wanted_variant)
    }
}

/// The text names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: write os/architecture[/variant]")]
pub struct InvalidPlatform(String);

impl std::str::FromStr for Platform {
    type Err = InvalidPlatform;

    /// One word alone is an operating system or an architecture.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let host = Platform::host();
        let platform = |os: &str, architecture: &str, variant: &str| Platform {
            os: os.to_lowercase(),
            architecture: match architecture.to_lowercase().as_str() {
                "x86_64" | "x86-64" => "amd64".to_owned(),
                "aarch64" => "arm64".to_owned(),
                other => other.to_owned(),
            },
            variant: variant.to_lowercase(),
        };
        let word =
            |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        match parts[..] {
            [one @ ("linux" | "windows" | "darwin" | "freebsd")] => {
                Ok(platform(one, &host.architecture, &host.variant))
            }
            [one] => Ok(platform(&host.os, one, "")),
            [os, architecture] => Ok(platform(os, architecture, "")),
            [os, architecture, variant] => Ok(platform(os, architecture, variant)),
            _ => Err(InvalidPlatform(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(out, "/{}", self.variant) }
    }
}
