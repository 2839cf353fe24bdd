//! `services.*.build`.

use super::{
    BOOLEAN_OR_TEXT, Becomes, EXTRA_HOSTS, FILE_MOUNT, FILE_MOUNTS, Field, INTEGER_OR_TEXT, LIST_OF_TEXTS, LIST_OR_MAP,
    Object, Others, TEXT, ULIMITS,
};

/// How an image is made.
pub(in crate::spec) static BUILD: Object = Object {
    fields: &[
        Field::new("context", TEXT, Becomes::Text),
        Field::new("dockerfile", TEXT, Becomes::Text),
        Field::new("dockerfile_inline", TEXT, Becomes::Text),
        Field::new("entitlements", LIST_OF_TEXTS, Becomes::Texts),
        Field::new("args", LIST_OR_MAP, Becomes::NullableMap),
        Field::new("provenance", BOOLEAN_OR_TEXT, Becomes::Text).ignored(),
        Field::new("sbom", BOOLEAN_OR_TEXT, Becomes::Text).ignored(),
        Field::new("ssh", LIST_OR_MAP, Becomes::Keys),
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
        Field::new("cache_from", LIST_OF_TEXTS, Becomes::Texts),
        Field::new("cache_to", LIST_OF_TEXTS, Becomes::Texts),
        Field::new("no_cache", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("additional_contexts", LIST_OR_MAP, Becomes::TextMap),
        Field::new("pull", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("extra_hosts", EXTRA_HOSTS, Becomes::Hosts),
        Field::new("isolation", TEXT, Becomes::Text).ignored(),
        Field::new("network", TEXT, Becomes::Text),
        Field::new("target", TEXT, Becomes::Text),
        Field::new("secrets", FILE_MOUNTS, Becomes::List(&Becomes::Object(&FILE_MOUNT))),
        Field::new("shm_size", INTEGER_OR_TEXT, Becomes::Bytes),
        Field::new("tags", LIST_OF_TEXTS, Becomes::Texts),
        Field::new("ulimits", ULIMITS, Becomes::Map(&Becomes::Ulimit)),
        Field::new("platforms", LIST_OF_TEXTS, Becomes::Texts),
        Field::new("privileged", BOOLEAN_OR_TEXT, Becomes::Flag),
    ],
    required: &[],
    others: Others::Extensions,
};
