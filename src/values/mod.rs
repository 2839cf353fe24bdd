//! Words that every side uses: small checked types, one file a type. Each parses, prints and keeps its invariant; none does I/O.

pub mod byte_size;
pub mod cidr;
pub mod duration;
pub mod float;
pub mod health;
pub mod image_ref;
pub mod mac_address;
pub mod names;
pub mod platform;
pub mod protocol;
pub mod restart;
pub mod signal;
pub mod ulimit;
