//! The top level: networks, volumes, configs, secrets, models, and what surrounds them.

use super::service::SERVICE;
use super::{
    Accepts, BOOLEAN_OR_TEXT, Becomes, DRIVER_OPTIONS, Field, INTEGER, Kinds, LIST_OF_TEXTS, LIST_OR_MAP, Object,
    Others, Shown, TEXT, TEXT_OR_LIST, user_name,
};

/// A compose file.
pub(in crate::spec) static FILE: Object = Object {
    fields: &[
        Field::new("name", TEXT, Becomes::Text).when_set(),
        Field::new("version", TEXT, Becomes::Text).shown(Shown::Never),
        Field::new("include", Accepts::List(&Accepts::Either(&[TEXT, Accepts::Object(&INCLUDE)])), Becomes::Same)
            .shown(Shown::Never),
        Field::new("services", Accepts::Named(&Accepts::Object(&SERVICE)), Becomes::Named(&Becomes::Object(&SERVICE)))
            .when_set(),
        Field::new(
            "networks",
            Accepts::Loose(user_name, &Accepts::Either(&[Accepts::Scalar(Kinds::NULL), Accepts::Object(&NETWORK)])),
            Becomes::Named(&Becomes::Object(&NETWORK)),
        ),
        Field::new(
            "volumes",
            Accepts::Named(&Accepts::Either(&[Accepts::Scalar(Kinds::NULL), Accepts::Object(&VOLUME)])),
            Becomes::Named(&Becomes::Object(&VOLUME)),
        ),
        Field::new("secrets", Accepts::Named(&Accepts::Object(&SECRET)), Becomes::Named(&Becomes::Object(&SECRET))),
        Field::new("configs", Accepts::Named(&Accepts::Object(&CONFIG)), Becomes::Named(&Becomes::Object(&CONFIG))),
        Field::new(
            "models",
            Accepts::Loose(user_name, &Accepts::Object(&MODEL)),
            Becomes::Map(&Becomes::Object(&MODEL)),
        )
        .shown(Shown::YamlOnly),
    ],
    required: &[],
    others: Others::Extensions,
};

static INCLUDE: Object = Object {
    fields: &[
        Field::new("path", TEXT_OR_LIST, Becomes::Same),
        Field::new("env_file", TEXT_OR_LIST, Becomes::Same),
        Field::new("project_directory", TEXT, Becomes::Same),
    ],
    required: &[],
    others: Others::Refused,
};

/// `external` as the first versions of Compose had it: a map with the name.
static EXTERNAL: Object =
    Object { fields: &[Field::new("name", TEXT, Becomes::Text)], required: &[], others: Others::Extensions };

const EXTERNAL_OR_NAME: Accepts = Accepts::Either(&[BOOLEAN_OR_TEXT, Accepts::Object(&EXTERNAL)]);
/// For secrets and configs the schema lets anything stand beside the name.
const LOOSE_EXTERNAL: Accepts = Accepts::Either(&[BOOLEAN_OR_TEXT, Accepts::Loose(is_name, &TEXT)]);

fn is_name(key: &str) -> bool {
    key == "name"
}

static NETWORK: Object = Object {
    fields: &[
        Field::new("name", TEXT, Becomes::Text),
        Field::new("driver", TEXT, Becomes::Text),
        Field::new("driver_opts", DRIVER_OPTIONS, Becomes::TextMap),
        Field::new("ipam", Accepts::Object(&IPAM), Becomes::Object(&IPAM)).shown(Shown::JsonEmptyMap),
        Field::new("external", EXTERNAL_OR_NAME, Becomes::Flag),
        Field::new("internal", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("attachable", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
        Field::new("enable_ipv4", BOOLEAN_OR_TEXT, Becomes::Flag).when_set(),
        Field::new("enable_ipv6", BOOLEAN_OR_TEXT, Becomes::Flag).when_set(),
    ],
    required: &[],
    others: Others::Extensions,
};

static IPAM: Object = Object {
    fields: &[
        Field::new("driver", TEXT, Becomes::Text),
        Field::new("config", Accepts::List(&Accepts::Object(&POOL)), Becomes::List(&Becomes::Object(&POOL))),
        Field::new("options", Accepts::Map(&TEXT), Becomes::TextMap).shown(Shown::Never).ignored(),
    ],
    required: &[],
    others: Others::Extensions,
};

static POOL: Object = Object {
    fields: &[
        Field::new("subnet", TEXT, Becomes::Text),
        Field::new("gateway", TEXT, Becomes::Text),
        Field::new("ip_range", TEXT, Becomes::Text),
        Field::new("aux_addresses", Accepts::Map(&TEXT), Becomes::TextMap),
    ],
    required: &[],
    others: Others::Extensions,
};

static VOLUME: Object = Object {
    fields: &[
        Field::new("name", TEXT, Becomes::Text),
        Field::new("driver", TEXT, Becomes::Text),
        Field::new("driver_opts", DRIVER_OPTIONS, Becomes::TextMap),
        Field::new("external", EXTERNAL_OR_NAME, Becomes::Flag),
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
    ],
    required: &[],
    others: Others::Extensions,
};

static SECRET: Object = Object {
    fields: &[
        Field::new("name", TEXT, Becomes::Text),
        Field::new("file", TEXT, Becomes::Text),
        Field::new("environment", TEXT, Becomes::Text),
        Field::new("external", LOOSE_EXTERNAL, Becomes::Flag),
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
        Field::new("driver", TEXT, Becomes::Text).ignored(),
        Field::new("driver_opts", DRIVER_OPTIONS, Becomes::PlainMap).ignored(),
        Field::new("template_driver", TEXT, Becomes::Text).ignored(),
    ],
    required: &[],
    others: Others::Extensions,
};

static CONFIG: Object = Object {
    fields: &[
        Field::new("name", TEXT, Becomes::Text),
        Field::new("file", TEXT, Becomes::Text),
        Field::new("environment", TEXT, Becomes::Text),
        Field::new("content", TEXT, Becomes::Text),
        Field::new("external", LOOSE_EXTERNAL, Becomes::Flag),
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
        Field::new("template_driver", TEXT, Becomes::Text).ignored(),
    ],
    required: &[],
    others: Others::Extensions,
};

static MODEL: Object = Object {
    fields: &[
        Field::new("name", TEXT, Becomes::Text),
        Field::new("model", TEXT, Becomes::Text),
        Field::new("context_size", INTEGER, Becomes::Integer),
        Field::new("runtime_flags", LIST_OF_TEXTS, Becomes::Texts),
    ],
    required: &["model"],
    others: Others::Extensions,
};
