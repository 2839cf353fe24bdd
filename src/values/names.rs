//! Names of things: checked once at the door (`TryFrom`), then carried as types, so that a network is never taken for a volume.

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} name {text:?}: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                if $check(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { kind: $kind, text, rule: $rule })
                }
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidName;

            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Lower-case letters, digits, `_` and `-`; starts with a letter or digit (Compose CLI, project names).
    ProjectName, "project", is_project,
    "must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
);
name!(
    /// A key under `services:`: letters, digits, `.`, `_` and `-` (Compose schema, `^[a-zA-Z0-9._-]+$`).
    ServiceName, "service", is_key,
    "use letters, digits, `.`, `_` and `-`"
);
name!(
    /// What the engine calls a container: a letter or digit, then letters, digits, `_`, `.` and `-`.
    ContainerName, "container", is_resource,
    "start with a letter or digit, then use letters, digits, `_`, `.` and `-`"
);
name!(
    /// What the engine calls a network.
    NetworkName, "network", is_resource,
    "start with a letter or digit, then use letters, digits, `_`, `.` and `-`"
);
name!(
    /// What the engine calls a volume.
    VolumeName, "volume", is_resource,
    "start with a letter or digit, then use letters, digits, `_`, `.` and `-`"
);

name!(
    /// What the kernel calls a network interface.
    InterfaceName, "interface", is_interface,
    "use at most 15 characters, without `/`, `:` and spaces"
);

/// As `dev_valid_name` in the kernel has it.
fn is_interface(text: &str) -> bool {
    let allowed = |c: char| !c.is_whitespace() && !['/', ':', '\0'].contains(&c);
    !text.is_empty() && text.len() <= 15 && text.chars().all(allowed) && text != "." && text != ".."
}

fn is_project(text: &str) -> bool {
    let part = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.bytes().next().is_some_and(part) && text.bytes().all(|c| part(c) || c == b'_' || c == b'-')
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
}

fn is_resource(text: &str) -> bool {
    is_key(text) && text.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_name_is_lower_case_and_starts_with_a_letter_or_digit() {
        assert!(ProjectName::try_from("test-1_x").is_ok());
        for wrong in ["", "-a", "_a", "A", "a.b"] {
            assert!(ProjectName::try_from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_service_name_may_start_with_any_of_its_characters_but_a_container_name_may_not() {
        assert!(ServiceName::try_from("_a.b-c").is_ok());
        assert!(ServiceName::try_from("a/b").is_err());
        assert!(ContainerName::try_from("_a").is_err());
        assert!(ContainerName::try_from("..").is_err());
    }
}
