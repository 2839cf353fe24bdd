//! Project × Observed × Request → Plan. Pure, synchronous, deterministic: no clock, no randomness, no engine.
//!
//! What is wanted is compared with what is there, thing by thing; what differs becomes a step with its reason. A planner
//! never asks: where the user has to agree, the plan carries a question and counts it as declined until it is answered.

pub mod error;
pub mod plan;
pub mod request;
