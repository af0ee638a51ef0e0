//! Enough descriptors for the connections that are asked for.

use crate::Failure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a program has open besides.
const OTHERS: u64 = 32;

/// Raises the limit of this process as far as it may.
///
/// # Errors
///
/// When that is not enough for so many connections.
pub(crate) fn allow(connections: usize) -> Result<(), Failure> {
    let needed = connections as u64 + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None means without limit.
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        return Err(format!(
            "{connections} connections take {needed} descriptors and the hard limit is {maximum}: raise it (ulimit -Hn \
             {needed}, or LimitNOFILE= of a unit), here and for the server"
        )
        .into());
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|error| format!("cannot raise the limit of descriptors to {needed}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_enough_is_said_with_its_number() {
        assert!(allow(1).is_ok());
        let Some(maximum) = getrlimit(Resource::Nofile).maximum else { return };
        let error = allow(usize::try_from(maximum).unwrap()).unwrap_err().to_string();
        assert!(error.contains("ulimit") && error.contains(&maximum.to_string()), "{error}");
    }
}
