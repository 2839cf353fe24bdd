//! Project × Observed × Request → Plan.
