//! The resolver in every container.
