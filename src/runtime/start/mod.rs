//! From a container's configuration to its first instruction.
