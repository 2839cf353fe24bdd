//! Runs a Plan on an Engine.
