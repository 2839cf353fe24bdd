//! Images: archives of friends and of enemies, the store under many hands, builds, volumes.

mod archives;
mod hostile;
mod raw;
