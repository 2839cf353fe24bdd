//! The shape of a compose file as one table: for each key what may stand under it, what becomes of it, when it is printed,
//! and whether a command that runs things honours it.
//!
//! [`check()`] reads the table before short forms are expanded, `settle` after, `print` last. The keys of an object stand in
//! the order in which Docker Compose prints them. What the table says is the Compose schema
//! (compose-spec.json) where acceptance is concerned, and Docker Compose's Go types where printing is.

mod build;
mod check;
mod deploy;
mod resources;
mod service;

pub(in crate::spec) use check::check;

/// The whole file.
pub(in crate::spec) use resources::FILE;

/// A map with known keys.
pub(in crate::spec) struct Object {
    /// The known keys, in the order of printing.
    pub fields: &'static [Field],
    /// Keys that must be there.
    pub required: &'static [&'static str],
    /// What else may stand here.
    pub others: Others,
}

/// Keys that an object does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) enum Others {
    /// None.
    Refused,
    /// `x-…`.
    Extensions,
    /// Any; they mean nothing.
    Ignored,
}

impl Object {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// A known key.
pub(in crate::spec) struct Field {
    /// The key.
    pub name: &'static str,
    /// What may stand under it.
    pub accepts: Accepts,
    /// What it is once in its canonical form.
    pub becomes: Becomes,
    /// When it is printed.
    pub shown: Shown,
    /// Whether a command that runs things does what it says.
    pub honoured: bool,
}

/// Kinds of scalars, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) struct Kinds(u8);

impl Kinds {
    pub const TEXT: Kinds = Kinds(1);
    pub const INTEGER: Kinds = Kinds(2);
    /// Integers too.
    pub const NUMBER: Kinds = Kinds(2 | 4);
    pub const BOOLEAN: Kinds = Kinds(8);
    pub const NULL: Kinds = Kinds(16);

    pub const fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub const fn has(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What may stand under a key.
pub(in crate::spec) enum Accepts {
    /// Whatever it is.
    Anything,
    /// A scalar of one of these kinds.
    Scalar(Kinds),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A text that passes; the words say which do.
    Matching(fn(&str) -> bool, &'static str),
    /// A text, or an integer from the first to the last.
    Within(i128, i128),
    /// A list of these.
    List(&'static Accepts),
    /// A list of these, none twice.
    Set(&'static Accepts),
    /// A map of user's names (letters, digits, `.`, `_`, `-`; nothing else) to these.
    Named(&'static Accepts),
    /// A map of any names but the empty one to these.
    Map(&'static Accepts),
    /// A map of names to these; names that do not pass hold anything.
    Loose(fn(&str) -> bool, &'static Accepts),
    /// A map with known keys.
    Object(&'static Object),
    /// One of these. No two accept the same kind of value, save lists of different items.
    Either(&'static [Accepts]),
}

/// What a value becomes, as the Go types of Docker Compose have it.
pub(in crate::spec) enum Becomes {
    /// Itself.
    Same,
    /// Text; an integer is written out.
    Text,
    /// `true` or `false`.
    Flag,
    /// An integer of 64 bits; a fraction is cut off.
    Integer,
    /// An integer that is not negative, of so many bits; higher ones are lost. No text.
    Unsigned(u32),
    /// A number, in the precision of 32 bits.
    Number,
    /// A number of bytes, as decimal text.
    Bytes,
    /// A duration as Go writes it.
    Duration,
    /// A list of texts; a single text is a list of one.
    Texts,
    /// Texts and integers, all as text.
    Words,
    /// A map of texts; null is the empty text. From `k=v` lists too.
    TextMap,
    /// A map of texts and integers; null is the empty text.
    PlainMap,
    /// A map of texts; null stays. From `k=v` lists too.
    NullableMap,
    /// An argument list; a text is split as a shell would.
    Command,
    /// `healthcheck.test`: a text is one argument of `CMD-SHELL`.
    Probe,
    /// `host=address` texts; from a map too.
    Hosts,
    /// Permission bits as octal text.
    Mode,
    /// A count of devices; `all` is -1.
    Count,
    /// One limit: an integer, or a map of two.
    Ulimit,
    /// Names of keys for builds: `default`, `id=path`.
    Keys,
    /// Options of a provider: each a list of texts.
    Options,
    /// A list of these.
    List(&'static Becomes),
    /// A map of user's names to these; null stays.
    Named(&'static Becomes),
    /// The same, but what begins with `x-` is an extension here (see `fields::pairs`).
    Map(&'static Becomes),
    /// A map with known keys.
    Object(&'static Object),
}

/// When a key is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) enum Shown {
    /// Unless it is false, 0, empty or null.
    UnlessZero,
    /// When it is there and not null, zero or not.
    WhenSet,
    /// Always as JSON (null where absent); as YAML when it is there and not null.
    JsonAlways,
    /// Always as JSON (an empty map where absent); as YAML unless empty.
    JsonEmptyMap,
    /// Always, as zero where absent.
    Always,
    /// Always, and in JSON under this name: Docker Compose's type has none for JSON, so Go's own name shows.
    AlwaysAs(&'static str),
    /// Never as JSON.
    YamlOnly,
    /// Never: read by an earlier stage, and gone.
    Never,
}

impl Field {
    const fn new(name: &'static str, accepts: Accepts, becomes: Becomes) -> Field {
        Field { name, accepts, becomes, shown: Shown::UnlessZero, honoured: true }
    }

    const fn shown(mut self, shown: Shown) -> Field {
        self.shown = shown;
        self
    }

    /// Printed when it is there, even if zero.
    const fn when_set(self) -> Field {
        self.shown(Shown::WhenSet)
    }

    /// Read, but nothing comes of it.
    const fn ignored(mut self) -> Field {
        self.honoured = false;
        self
    }
}

// The schema's recurring definitions.

const TEXT: Accepts = Accepts::Scalar(Kinds::TEXT);
const BOOLEAN: Accepts = Accepts::Scalar(Kinds::BOOLEAN);
const INTEGER: Accepts = Accepts::Scalar(Kinds::INTEGER);
const NUMBER: Accepts = Accepts::Scalar(Kinds::NUMBER);
const BOOLEAN_OR_TEXT: Accepts = Accepts::Scalar(Kinds::BOOLEAN.or(Kinds::TEXT));
const INTEGER_OR_TEXT: Accepts = Accepts::Scalar(Kinds::INTEGER.or(Kinds::TEXT));
const NUMBER_OR_TEXT: Accepts = Accepts::Scalar(Kinds::NUMBER.or(Kinds::TEXT));
const LIST_OF_TEXTS: Accepts = Accepts::List(&TEXT);
const SET_OF_TEXTS: Accepts = Accepts::Set(&TEXT);
const TEXT_OR_LIST: Accepts = Accepts::Either(&[TEXT, SET_OF_TEXTS]);
const SCALAR: Accepts = Accepts::Scalar(Kinds::TEXT.or(Kinds::NUMBER).or(Kinds::BOOLEAN).or(Kinds::NULL));
const LIST_OR_MAP: Accepts = Accepts::Either(&[Accepts::Map(&SCALAR), SET_OF_TEXTS]);
const COMMAND: Accepts = Accepts::Either(&[Accepts::Scalar(Kinds::NULL.or(Kinds::TEXT)), LIST_OF_TEXTS]);
const DRIVER_OPTIONS: Accepts = Accepts::Loose(any_name, &NUMBER_OR_TEXT);
const EXTRA_HOSTS: Accepts = Accepts::Either(&[Accepts::Map(&Accepts::Either(&[TEXT, LIST_OF_TEXTS])), SET_OF_TEXTS]);
const ULIMITS: Accepts = Accepts::Loose(
    lower_case,
    &Accepts::Either(&[
        INTEGER_OR_TEXT,
        Accepts::Object(&Object {
            fields: &[
                Field::new("soft", INTEGER_OR_TEXT, Becomes::Integer),
                Field::new("hard", INTEGER_OR_TEXT, Becomes::Integer),
            ],
            required: &["soft", "hard"],
            others: Others::Extensions,
        }),
    ]),
);
const FILE_MOUNTS: Accepts = Accepts::List(&Accepts::Either(&[TEXT, Accepts::Object(&FILE_MOUNT)]));

/// A config or secret of a service, a secret of a build.
pub(in crate::spec) static FILE_MOUNT: Object = Object {
    fields: &[
        Field::new("source", TEXT, Becomes::Text),
        Field::new("target", TEXT, Becomes::Text),
        Field::new("uid", TEXT, Becomes::Text),
        Field::new("gid", TEXT, Becomes::Text),
        Field::new("mode", NUMBER_OR_TEXT, Becomes::Mode).when_set(),
    ],
    required: &[],
    others: Others::Extensions,
};

fn any_name(name: &str) -> bool {
    !name.is_empty()
}

/// `^[a-z]+$`
fn lower_case(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase())
}

/// `^[a-zA-Z0-9._-]+$`
pub(in crate::spec) fn user_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
}
