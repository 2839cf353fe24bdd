//! What a container cannot do.
