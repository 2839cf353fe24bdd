//! Names that are not ours: asked of the upstream servers.
