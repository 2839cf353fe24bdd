//! The runtime's parts on the real kernel, as root.

mod confinement;
mod sandbox;
mod start;
