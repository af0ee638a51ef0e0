//! Choices that are not safe, or do not go together: the server does not start, and says which line to add.
use std::collections::BTreeSet;

use super::{
    Anonymous, Config,
    load::Places,
    mistake::{Mistake, Place},
};

/// Finds all of them, but for those that follow from a value that could not be taken.
pub(super) fn check(config: &Config, places: &Places, wrong: &BTreeSet<String>, mistakes: &mut Vec<Mistake>) {
    let mut complain = |key: &str, others: &[&str], message: String| {
        let mut keys = [key].into_iter().chain(others.iter().copied());
        if keys.clone().all(|key| !wrong.contains(key)) {
            // Where somebody wrote something that leads to it.
            let place = keys.find_map(|key| places.get(key)).cloned().unwrap_or(Place::Default);
            mistakes.push(Mistake { place, key: key.to_owned(), message });
        }
    };
    if !config.is_local() && config.origins.allowed.is_empty() {
        let add = "add allowed = [\"https://example.org\"] under [origins] (\"self\": pages from this server; \"*\": \
                   every page), or --allow-origin https://example.org";
        let message =
            format!("other machines can reach this address, so it has to be said which web pages may connect: {add}");
        complain("server.listen", &["origins.allowed"], message);
    }
    match (&config.tls.cert, &config.tls.key) {
        (Some(_), None) => {
            let message = "a certificate needs its private key: add key = \"key.pem\" under [tls]";
            complain("tls.cert", &["tls.key"], message.to_owned());
        }
        (None, Some(_)) => {
            let message = "a private key needs its certificate: add cert = \"cert.pem\" under [tls]";
            complain("tls.key", &["tls.cert"], message.to_owned());
        }
        _ => {}
    }
    if config.api.enabled && config.api_keys().next().is_none() {
        let message = "without a key everybody could use the API: add keys_file = \"/etc/sockeye/api-keys\" or \
                       keys = [\"…\"] under [api]";
        complain("api.enabled", &["api.keys", "api.keys_file"], message.to_owned());
    }
    if config.session.hard_output < config.session.soft_output {
        let message = "this must not be less than session.soft_output";
        complain("session.hard_output", &["session.soft_output"], message.to_owned());
    }
    let namespaces = &config.namespaces;
    let all = namespaces.named.iter().map(|(name, options)| (name.as_str(), options));
    for (name, options) in [("default", &namespaces.default)].into_iter().chain(all) {
        let durable = format!("namespaces.{name}.durable");
        if options.durable && config.store.path.is_none() {
            let message = "what is durable needs a place: add path = \"/var/lib/sockeye\" under [store]";
            complain(&durable, &["store.path"], message.to_owned());
        }
        if options.durable && options.history_size == 0 {
            let size = format!("namespaces.{name}.history_size");
            complain(&durable, &[&size], format!("there is no history to be durable: set {size}"));
        }
    }
}

/// What is allowed but worth a word at the start.
pub(super) fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if config.origins.allowed.iter().any(|origin| origin == "*") && !config.is_local() {
        notes.push("origins.allowed: every web page may connect".to_owned());
    }
    let namespaces = &config.namespaces;
    let all = namespaces.named.iter().map(|(name, options)| (name.as_str(), options));
    for (name, options) in [("default", &namespaces.default)].into_iter().chain(all) {
        if options.anonymous == Anonymous::Publish {
            notes.push(format!("namespaces.{name}.anonymous: everybody who can connect may publish"));
        }
    }
    if config.page.enabled.holds(config.is_local()) && !config.is_local() {
        notes.push("page.enabled: everybody who can connect sees the live page".to_owned());
    }
    notes
}
