//! The runtime's parts on the real kernel, as root.

mod cgroups;
mod confinement;
mod crashes;
mod lifecycle;
mod sandbox;
mod stack;
mod start;
mod staying;
mod upgrade;
