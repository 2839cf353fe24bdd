//! Images: the store, archives, layers.
