//! `sockeye config`, and what `serve` is told: a flag goes before the environment, the environment before the file, the file
//! before the default.
use std::{
    env,
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
};

use sockeye_server::config::{Loaded, Sources, default_file};

use crate::args;

pub(crate) fn run(command: &args::Config) -> Result<(), Box<dyn Error>> {
    let text = match command {
        args::Config::Default => default_file(),
        args::Config::Show(serve) => load(serve)?.show(),
        args::Config::Check(serve) => check(serve)?,
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// What this command line, this environment and the file say together.
pub(crate) fn load(serve: &args::Serve) -> Result<Loaded, Box<dyn Error>> {
    let mut sources = Sources::new().environment(env::vars_os());
    if let Some(path) = file(serve) {
        sources = sources.file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(listen) = serve.listen {
        sources = sources.flag("--listen", "server.listen", listen.to_string());
    }
    if !serve.shared.allow_origin.is_empty() {
        sources = sources.flag("--allow-origin", "origins.allowed", serve.shared.allow_origin.join(","));
    }
    if let Some(cert) = &serve.shared.tls_cert {
        sources = sources.flag("--tls-cert", "tls.cert", utf8(cert)?);
    }
    if let Some(key) = &serve.shared.tls_key {
        sources = sources.flag("--tls-key", "tls.key", utf8(key)?);
    }
    if let Some(workers) = serve.shared.workers {
        sources = sources.flag("--workers", "server.workers", workers.to_string());
    }
    sources.load().map_err(|mistakes| format!("the configuration cannot be used:\n{mistakes}").into())
}

/// Looks at everything that can be looked at without starting.
fn check(serve: &args::Serve) -> Result<String, Box<dyn Error>> {
    let loaded = load(serve)?;
    loaded.config.check_tls().map_err(|error| format!("{}: tls: {error}", loaded.place("tls.cert")))?;
    let notes = loaded.notes().into_iter().map(|note| format!("note: {note}"));
    Ok(notes.chain(["the configuration is fine\n".to_owned()]).collect::<Vec<_>>().join("\n"))
}

fn file(serve: &args::Serve) -> Option<PathBuf> {
    serve.config.clone().or_else(|| env::var_os("SOCKEYE_CONFIG").map(PathBuf::from))
}

fn utf8(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{}: a path here has to be UTF-8", path.display()))
}
