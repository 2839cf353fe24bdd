//! Names of images: `[registry/][namespace/]name[:tag][@digest]`, normalised as Docker does (`redis` = `docker.io/library/redis:latest`).

use serde::{Deserialize, Serialize};

/// A normalised image name. It prints in Docker's short form (`redis`, not `docker.io/library/redis`), with the tag
/// `latest` only if that was written; `redis` and `redis:latest` are equal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Tag,
    digest: Option<String>,
}

#[derive(Debug, Clone)]
enum Tag {
    Written(String),
    /// `latest` is meant.
    Unwritten,
    /// A digest stands alone.
    None,
}

/// The text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference {text:?}: {rule}")]
pub struct InvalidImageRef {
    text: String,
    rule: &'static str,
}

impl ImageRef {
    /// `docker.io`, `localhost:5000`, …
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `library/redis`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only where a digest stands alone.
    pub fn tag(&self) -> Option<&str> {
        match &self.tag {
            Tag::Written(tag) => Some(tag),
            Tag::Unwritten => Some("latest"),
            Tag::None => None,
        }
    }

    /// `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Registry and repository in Docker's short form, without tag and digest: `redis`, `localhost:5000/web`.
    pub fn familiar_name(&self) -> String {
        if self.registry == "docker.io" {
            self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned()
        } else {
            format!("{}/{}", self.registry, self.repository)
        }
    }

    /// The whole name with nothing left out; the key of the store.
    pub fn canonical(&self) -> String {
        self.with_suffix(format!("{}/{}", self.registry, self.repository), self.tag())
    }

    /// In Docker's short form, but always with its tag: `redis:latest`.
    pub fn tagged(&self) -> String {
        self.with_suffix(self.familiar_name(), self.tag())
    }

    /// The same repository by the digest of a manifest, without a tag.
    pub fn pinned(&self, digest: &str) -> ImageRef {
        ImageRef { tag: Tag::None, digest: Some(digest.to_owned()), ..self.clone() }
    }

    /// What makes two names one.
    fn parts(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (&self.registry, &self.repository, self.tag(), self.digest())
    }

    fn with_suffix(&self, mut text: String, tag: Option<&str>) -> String {
        if let Some(tag) = tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &self.digest {
            text = format!("{text}@{digest}");
        }
        text
    }
}

impl PartialEq for ImageRef {
    fn eq(&self, other: &ImageRef) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for ImageRef {}

impl PartialOrd for ImageRef {
    fn partial_cmp(&self, other: &ImageRef) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ImageRef {
    fn cmp(&self, other: &ImageRef) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl std::hash::Hash for ImageRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl std::str::FromStr for ImageRef {
    type Err = InvalidImageRef;

    fn from_str(text: &str) -> Result<Self, InvalidImageRef> {
        let wrong = |rule| InvalidImageRef { text: text.to_owned(), rule };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let hex =
                digest.strip_prefix("sha256:").ok_or_else(|| wrong("a digest is sha256: and 64 hexadecimal digits"))?;
            if hex.len() != 64 || !hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
                return Err(wrong("a digest is sha256: and 64 hexadecimal digits"));
            }
        }
        let after_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[after_slash..].find(':') {
            Some(colon) => (&rest[..after_slash + colon], Some(&rest[after_slash + colon + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
            let valid = tag.len() <= 128
                && tag.bytes().next().is_some_and(word)
                && tag.bytes().all(|c| word(c) || c == b'.' || c == b'-');
            if !valid {
                return Err(wrong("a tag has at most 128 letters, digits, `_`, `.` and `-`"));
            }
        }
        // Docker's rule: the first part is a registry if it has a dot or a port, is localhost, or has an upper-case letter.
        let (registry, path) = match name.split_once('/') {
            Some((first, path))
                if first.contains(['.', ':'])
                    || first == "localhost"
                    || first.bytes().any(|c| c.is_ascii_uppercase()) =>
            {
                (first, path)
            }
            _ => ("docker.io", name),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let part = |part: &str| {
            let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            let separated = |at: usize| part.as_bytes().get(at).copied().is_some_and(word);
            separated(0)
                && separated(part.len().wrapping_sub(1))
                && part.bytes().all(|c| word(c) || b"._-".contains(&c))
        };
        if path.is_empty() || !path.split('/').all(part) {
            return Err(wrong("a repository has lower-case letters and digits, separated by `.`, `_`, `-` or `/`"));
        }
        let registry_valid = registry.bytes().all(|c| c.is_ascii_alphanumeric() || b".-:[]".contains(&c));
        if !registry_valid {
            return Err(wrong("a registry is a host name with an optional port"));
        }
        let repository =
            if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        let tag = match (tag, digest) {
            (Some(tag), _) => Tag::Written(tag.to_owned()),
            (None, Some(_)) => Tag::None,
            (None, None) => Tag::Unwritten,
        };
        Ok(ImageRef { registry: registry.to_owned(), repository, tag, digest: digest.map(str::to_owned) })
    }
}

impl TryFrom<String> for ImageRef {
    type Error = InvalidImageRef;

    fn try_from(text: String) -> Result<Self, InvalidImageRef> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> String {
        image.to_string()
    }
}

impl std::fmt::Display for ImageRef {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tag = match &self.tag {
            Tag::Written(tag) => Some(tag.as_str()),
            Tag::Unwritten | Tag::None => None,
        };
        out.write_str(&self.with_suffix(self.familiar_name(), tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_prints_as_it_was_written_and_is_the_same_with_its_tag() {
        let (short, long): (ImageRef, ImageRef) = ("redis".parse().unwrap(), "redis:latest".parse().unwrap());
        assert_eq!((short.to_string(), long.to_string()), ("redis".to_owned(), "redis:latest".to_owned()));
        assert_eq!((&short, short.tagged()), (&long, long.tagged()));
        assert!(std::collections::HashSet::from([short]).contains(&long));
    }

    #[test]
    fn short_names_are_docker_hubs() {
        let image: ImageRef = "redis".parse().unwrap();
        assert_eq!(image.canonical(), "docker.io/library/redis:latest");
        assert_eq!(image.to_string(), "redis");
        let image: ImageRef = "localhost:5000/a/b:1.2".parse().unwrap();
        assert_eq!((image.registry(), image.repository(), image.tag()), ("localhost:5000", "a/b", Some("1.2")));
    }

    #[test]
    fn what_no_registry_would_take_is_refused() {
        for wrong in ["", "Redis", "a//b", "a:", "a:b c", "a@sha256:12", "-a", "a/"] {
            assert!(wrong.parse::<ImageRef>().is_err(), "{wrong}");
        }
    }
}
