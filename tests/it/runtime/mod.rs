//! The runtime's parts on the real kernel, as root.

mod cgroups;
mod confinement;
mod sandbox;
mod start;
