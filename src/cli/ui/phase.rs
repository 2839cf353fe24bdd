//! How far something is that a user watches.

/// How far a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Under way.
    Working,
    /// Finished well.
    Done,
    /// Finished, with a doubt.
    Warning,
    /// Failed.
    Error,
}

impl Phase {
    /// For whoever reads objects.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Working => "Working",
            Phase::Done => "Done",
            Phase::Warning => "Warning",
            Phase::Error => "Error",
        }
    }
}
