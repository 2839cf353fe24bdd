//! The keys of what a project has beside services: a network's is no volume's.

macro_rules! key {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub(in crate::spec) String);

        impl $type {
            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(key: &str) -> $type {
                $type(key.to_owned())
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

key!(
    /// A key under `networks:`; what the engine calls the network is its `name`.
    NetworkKey
);
key!(
    /// A key under `volumes:`; what the engine calls the volume is its `name`.
    VolumeKey
);
key!(
    /// A key under `configs:`.
    ConfigKey
);
key!(
    /// A key under `secrets:`.
    SecretKey
);
key!(
    /// A key under `models:`.
    ModelKey
);
