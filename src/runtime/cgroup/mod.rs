//! Limits, freezing and accounting of processes.
