//! An error with all its causes on one line, for logs.

use std::error::Error;
use std::fmt;

/// Displays `error` followed by each of its sources, separated by `: `.
pub fn chain(error: &dyn Error) -> Chain<'_> {
    Chain(error)
}

/// See [`chain`].
pub struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Any cause, where only its words matter.
pub type BoxError = Box<dyn Error + Send + Sync>;
