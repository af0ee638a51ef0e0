//! Whom to trust, where it is not whom the platform does.
use std::path::Path;

use sockeye::rustls::{ClientConfig, ProtocolVersion};
use sockeye_bench::tls::{Trust, config};

use super::{
    escape,
    failure::{Failure, Kind},
};

/// Trusts the root certificates in this file, and no others.
pub(super) fn trusting(file: &Path) -> Result<ClientConfig, Failure> {
    config(Trust::Roots(file)).map_err(|why| {
        let file = escape::line(&file.to_string_lossy()).into_owned();
        let why = escape::line(&why.to_string()).into_owned();
        Failure::new(Kind::Failed, "bad_cacert", format!("cannot use --cacert {file}: {why}"))
    })
}

/// Trusts everybody.
pub(super) fn trusting_anybody() -> Result<ClientConfig, Failure> {
    config(Trust::Anybody).map_err(|error| Failure::new(Kind::Failed, "tls", error.to_string()))
}

/// How people call a version of TLS.
pub(super) fn name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "1.2",
        ProtocolVersion::TLSv1_3 => "1.3",
        _ => "of a version unknown here",
    }
}
