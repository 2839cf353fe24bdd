//! Bridges, addresses, rules and ports.
