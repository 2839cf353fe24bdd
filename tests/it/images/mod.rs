//! Images: archives of friends and of enemies, the store under many hands, builds, volumes.

mod archives;
mod builds;
mod containers;
mod elsewhere;
mod hostile;
mod kills;
mod outages;
mod raw;
mod registries;
mod travel;
mod volumes;
