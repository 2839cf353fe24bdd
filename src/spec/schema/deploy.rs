//! `services.*.deploy` and requests for devices.

use super::{
    Accepts, Becomes, Field, INTEGER_OR_TEXT, LIST_OF_TEXTS, LIST_OR_MAP, NUMBER_OR_TEXT, Object, Others, SET_OF_TEXTS,
    Shown, TEXT,
};

/// Most of it is for a cluster and ignored without a word, as Docker Compose does; what counts on one machine is honoured.
pub(in crate::spec) static DEPLOY: Object = Object {
    fields: &[
        Field::new("mode", TEXT, Becomes::Text),
        Field::new("replicas", INTEGER_OR_TEXT, Becomes::Integer).when_set(),
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
        Field::new("update_config", Accepts::Object(&UPDATE), Becomes::Object(&UPDATE)).when_set(),
        Field::new("rollback_config", Accepts::Object(&UPDATE), Becomes::Object(&UPDATE)).when_set(),
        Field::new("resources", Accepts::Object(&RESOURCES), Becomes::Object(&RESOURCES)).shown(Shown::JsonEmptyMap),
        Field::new("restart_policy", Accepts::Object(&RESTART_POLICY), Becomes::Object(&RESTART_POLICY)).when_set(),
        Field::new("placement", Accepts::Object(&PLACEMENT), Becomes::Object(&PLACEMENT)).shown(Shown::JsonEmptyMap),
        Field::new("endpoint_mode", TEXT, Becomes::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static UPDATE: Object = Object {
    fields: &[
        Field::new("parallelism", INTEGER_OR_TEXT, Becomes::Unsigned(64)).when_set(),
        Field::new("delay", TEXT, Becomes::Duration),
        Field::new("failure_action", TEXT, Becomes::Text),
        Field::new("monitor", TEXT, Becomes::Duration),
        Field::new("max_failure_ratio", NUMBER_OR_TEXT, Becomes::Number),
        Field::new("order", Accepts::Words(&["start-first", "stop-first"]), Becomes::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static RESOURCES: Object = Object {
    fields: &[
        Field::new("limits", Accepts::Object(&LIMITS), Becomes::Object(&LIMITS)).when_set(),
        Field::new("reservations", Accepts::Object(&RESERVATIONS), Becomes::Object(&RESERVATIONS)).when_set(),
    ],
    required: &[],
    others: Others::Extensions,
};

static LIMITS: Object = Object {
    fields: &[
        Field::new("cpus", NUMBER_OR_TEXT, Becomes::Number),
        Field::new("memory", TEXT, Becomes::Bytes),
        Field::new("pids", INTEGER_OR_TEXT, Becomes::Integer),
    ],
    required: &[],
    others: Others::Extensions,
};

static RESERVATIONS: Object = Object {
    fields: &[
        Field::new("cpus", NUMBER_OR_TEXT, Becomes::Number),
        Field::new("memory", TEXT, Becomes::Bytes),
        Field::new(
            "devices",
            Accepts::List(&Accepts::Object(&DEVICE_REQUEST)),
            Becomes::List(&Becomes::Object(&DEVICE_REQUEST)),
        )
        .ignored(),
        Field::new(
            "generic_resources",
            Accepts::List(&Accepts::Object(&GENERIC_RESOURCE)),
            Becomes::List(&Becomes::Object(&GENERIC_RESOURCE)),
        ),
    ],
    required: &[],
    others: Others::Extensions,
};

/// Devices that a driver provides.
pub(in crate::spec) static DEVICE_REQUEST: Object =
    Object { fields: DEVICES, required: &["capabilities"], others: Others::Extensions };

/// The keys of a request for devices.
pub(in crate::spec) const DEVICES: &[Field] = &[
    Field::new("capabilities", SET_OF_TEXTS, Becomes::Texts),
    Field::new("driver", TEXT, Becomes::Text),
    Field::new("count", INTEGER_OR_TEXT, Becomes::Count),
    Field::new("device_ids", SET_OF_TEXTS, Becomes::Texts),
    Field::new("options", LIST_OR_MAP, Becomes::TextMap),
];

static GENERIC_RESOURCE: Object = Object {
    fields: &[Field::new("discrete_resource_spec", Accepts::Object(&DISCRETE), Becomes::Object(&DISCRETE)).when_set()],
    required: &[],
    others: Others::Extensions,
};

static DISCRETE: Object = Object {
    fields: &[
        Field::new("kind", TEXT, Becomes::Text).shown(Shown::Always),
        Field::new("value", NUMBER_OR_TEXT, Becomes::Integer).shown(Shown::Always),
    ],
    required: &[],
    others: Others::Extensions,
};

static RESTART_POLICY: Object = Object {
    fields: &[
        Field::new("condition", TEXT, Becomes::Text),
        Field::new("delay", TEXT, Becomes::Duration).when_set(),
        Field::new("max_attempts", INTEGER_OR_TEXT, Becomes::Unsigned(64)).when_set(),
        Field::new("window", TEXT, Becomes::Duration).when_set(),
    ],
    required: &[],
    others: Others::Extensions,
};

static PLACEMENT: Object = Object {
    fields: &[
        Field::new("constraints", LIST_OF_TEXTS, Becomes::Texts),
        Field::new(
            "preferences",
            Accepts::List(&Accepts::Object(&PREFERENCE)),
            Becomes::List(&Becomes::Object(&PREFERENCE)),
        ),
        Field::new("max_replicas_per_node", INTEGER_OR_TEXT, Becomes::Unsigned(64)),
    ],
    required: &[],
    others: Others::Extensions,
};

static PREFERENCE: Object =
    Object { fields: &[Field::new("spread", TEXT, Becomes::Text)], required: &[], others: Others::Extensions };
