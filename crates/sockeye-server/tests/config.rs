//! The configuration: what is printed can be read, every mistake has its line and its key, and secrets stay secret.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use sockeye_server::config::{
    Anonymous, Config, Loaded, Mistake, NamespaceOptions, Place, Slow, Sources, When, Who, default_file,
};

fn load(text: &str) -> Loaded {
    Sources::new().text("s.toml", text).load().unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
}

fn mistakes(text: &str) -> Vec<Mistake> {
    let mistakes = Sources::new().text("s.toml", text).load().expect_err(text);
    mistakes.iter().cloned().collect()
}

#[test]
fn the_printed_default_is_the_default() {
    assert_eq!(load(&default_file()).config, Config::default());
    assert_eq!(load("").config, Config::default());
    assert!(default_file().lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn what_is_shown_reads_as_the_same() {
    let text = "[server]\nlisten = \"[::1]:9\"\ndrain = \"90 s\"\n[namespaces.\"app.ä\"]\nslow = \"latest\"\n[namespaces.b-c]\n";
    let loaded = load(text);
    assert_eq!(load(&loaded.show()).config, loaded.config);
}

#[test]
fn every_kind_of_value_is_read() {
    let loaded = load(
        r#"
        server = { listen = "[::1]:0", workers = 0x10, drain = "1500 ms" }
        origins.allowed = ["https://bücher.example:8443", "self"]
        page.enabled = "never"
        api = { enabled = true, keys = ["0123456789abcdef"] }
        [namespaces.chat]
        publish = "server"
        anonymous = "subscribe"
        history_bytes = "3MiB"
        history_size = 0
        slow = "skip"
        presence = false
        "#,
    );
    let config = &loaded.config;
    assert_eq!((config.server.workers, config.server.drain.as_millis()), (Some(16), 1_500));
    assert!(config.api.keys[0].is("0123456789abcdef") && !config.api.keys[0].is("0123456789abcdeF"));
    assert_eq!((config.page.enabled, config.origins.allowed.len()), (When::Never, 2));
    let chat = &config.namespaces.named["chat"];
    assert_eq!((chat.publish, chat.anonymous, chat.slow), (Who::Server, Anonymous::Subscribe, Slow::Skip));
    assert_eq!((chat.history_bytes, chat.history_size, chat.presence), (3 << 20, 0, false));
    assert_eq!(config.namespaces.default.anonymous, Anonymous::Loopback, "another namespace says nothing about it");
    assert_eq!(NamespaceOptions::default().anonymous, Anonymous::None);
    let place = Place::File { file: "s.toml".into(), line: 7, column: 19 };
    assert_eq!(*loaded.place("namespaces.chat.publish"), place);
    assert_eq!(*loaded.place("namespaces.chat.join_leave"), Place::Default);
}

/// Text, and of each mistake line, column, key and a part of the message.
type Row<'a> = (&'a str, &'a [(usize, usize, &'a str, &'a str)]);

const ROWS: &[Row<'_>] = &[
    // What is not there.
    ("[server]\nworker = 2", &[(2, 1, "server.worker", "did you mean workers?")]),
    ("[server]\nzzz = 2", &[(2, 1, "server.zzz", "there is no such key")]),
    ("[server]\ncert = 'a'", &[(2, 1, "server.cert", "it belongs under [tls]")]),
    ("[sever]\nworkers = 2", &[(1, 2, "sever", "no such section; did you mean [server]?")]),
    ("[namespace.a]", &[(1, 2, "namespace", "did you mean [namespaces.NAME]?")]),
    ("[xyz]", &[(1, 2, "xyz", "there is no such section")]),
    ("listen = '127.0.0.1:1'", &[(1, 1, "listen", "it belongs under [server]")]),
    ("[namespaces.a]\nhistroy_size = 1", &[(2, 1, "namespaces.a.histroy_size", "did you mean history_size?")]),
    ("[namespaces.a.b]\npresence = true", &[(1, 15, "namespaces.a.b", "there is no such key")]),
    ("[server]\n\"a\\u001b[2J\" = 2", &[(2, 1, "server.a\\u{1b}[2J", "there is no such key")]),
    // What is of another type.
    ("server = 1", &[(1, 1, "server", "expected a section: [server]")]),
    ("[[server]]\nworkers = 1", &[(1, 3, "server", "expected a section: [server]")]),
    ("namespaces = 1", &[(1, 1, "namespaces", "expected a section")]),
    ("[namespaces]\na = 1", &[(2, 1, "namespaces.a", "expected a section: [namespaces.NAME]")]),
    ("[server]\nlisten = 7071", &[(2, 10, "server.listen", "expected an IP address and a port such as")]),
    ("[server]\nlisten = 'localhost'", &[(2, 10, "server.listen", "expected an IP address")]),
    ("[server]\nlisten = '127.0.0.1:65536'", &[(2, 10, "server.listen", "expected an IP address")]),
    ("[server]\nworkers = '2'", &[(2, 11, "server.workers", "expected \"auto\" or a whole number from 1 to 1024")]),
    ("[server]\nworkers = 2.0", &[(2, 11, "server.workers", "expected \"auto\"")]),
    ("[server]\nworkers = 1979-05-27", &[(2, 11, "server.workers", "expected \"auto\"")]),
    ("[limits]\nlimit_loopback = 'true'", &[(2, 18, "limits.limit_loopback", "expected true or false")]),
    ("[limits]\nlimit_loopback = 1", &[(2, 18, "limits.limit_loopback", "expected true or false")]),
    ("[tls]\ncert = ''\nkey = 1", &[(2, 8, "tls.cert", "expected a path"), (3, 7, "tls.key", "expected a path")]),
    ("[origins]\nallowed = '*'", &[(2, 11, "origins.allowed", "expected a list of origins")]),
    ("[page]\nenabled = true", &[(2, 11, "page.enabled", "expected \"always\", \"loopback\" or \"never\"")]),
    (
        "[namespaces.a]\npublish = 'Clients'",
        &[(2, 11, "namespaces.a.publish", "\"clients\", \"server\" or \"nobody\"")],
    ),
    // What is outside its range.
    ("[server]\nworkers = 0", &[(2, 11, "server.workers", "from 1 to 1024")]),
    ("[server]\nworkers = -1", &[(2, 11, "server.workers", "from 1 to 1024")]),
    ("[server]\nworkers = 99999999999999999999999999", &[(2, 11, "server.workers", "from 1 to 1024")]),
    ("[session]\ncommands_refused = 65536", &[(2, 20, "session.commands_refused", "from 1 to 65535")]),
    ("[session]\ncommands_per_second = 0", &[(2, 23, "session.commands_per_second", "from 1 to")]),
    ("[server]\ndrain = 5", &[(2, 9, "server.drain", "expected a time with its unit (ms, s, m, h, d)")]),
    ("[server]\ndrain = '0 s'", &[(2, 9, "server.drain", "from \"100 ms\" to \"1 h\"")]),
    ("[server]\ndrain = '-5 s'", &[(2, 9, "server.drain", "from \"100 ms\" to \"1 h\"")]),
    ("[server]\ndrain = '2 h'", &[(2, 9, "server.drain", "from \"100 ms\" to \"1 h\"")]),
    ("[server]\ndrain = '99999999999999999999 s'", &[(2, 9, "server.drain", "from \"100 ms\" to \"1 h\"")]),
    ("[hub]\nbacklog_bytes = 65536", &[(2, 17, "hub.backlog_bytes", "expected a size with its unit")]),
    ("[hub]\nbacklog_bytes = '1 MB'", &[(2, 17, "hub.backlog_bytes", "from \"64 KiB\" to \"1 GiB\"")]),
    ("[hub]\nbacklog_bytes = '0 B'", &[(2, 17, "hub.backlog_bytes", "from \"64 KiB\" to \"1 GiB\"")]),
    // An element of a list.
    ("[origins]\nallowed = [\n 'https://a.example',\n 'a.example']", &[(4, 2, "origins.allowed", "expected a list")]),
    ("[origins]\nallowed = ['https://a.example/x']", &[(2, 12, "origins.allowed", "expected a list")]),
    ("[origins]\nallowed = ['null', 1]", &[(2, 20, "origins.allowed", "expected a list of origins")]),
    ("[api]\nkeys = ['short']", &[(2, 9, "api.keys", "a list of secrets, each of 16 to 256 visible ASCII characters")]),
    // Names of namespaces.
    ("[namespaces.'a:b']", &[(1, 13, "namespaces.a:b", "this cannot be a namespace")]),
    ("[namespaces.'$a']", &[(1, 13, "namespaces.$a", "this cannot be a namespace")]),
    ("[namespaces.'a*']", &[(1, 13, "namespaces.a*", "this cannot be a namespace")]),
    ("[namespaces.'']", &[(1, 13, "namespaces.", "this cannot be a namespace")]),
    // What is not TOML. It is read as far as that goes.
    ("[server]\nworkers = 2\nworkers = 3", &[(3, 1, "", "this is not TOML: duplicate key")]),
    ("[server\nworkers = 2", &[(1, 8, "", "this is not TOML: ")]),
    ("[server]\nworkers = \nlisten = 1", &[(2, 11, "", "this is not TOML: "), (3, 10, "server.listen", "expected an")]),
    // All of them, in the order of the lines.
    (
        "[tls]\nkez = 'a'\n\n[server]\nworkers = 0\nfoo = 1\n[namespaces.a]\nslow = 'x'\n[hub]\nkeys = -1",
        &[
            (2, 1, "tls.kez", "did you mean key?"),
            (5, 11, "server.workers", "from 1"),
            (6, 1, "server.foo", "no such key"),
            (8, 8, "namespaces.a.slow", "expected \"disconnect\", \"skip\" or \"latest\""),
            (10, 8, "hub.keys", "a whole number from 1 to"),
        ],
    ),
    // What does not go together, or is not safe.
    (
        "[server]\nlisten = '0.0.0.0:80'",
        &[(2, 10, "server.listen", "add allowed = [\"https://example.org\"] under [origins]")],
    ),
    ("[server]\nlisten = '[2001:db8::1]:80'", &[(2, 10, "server.listen", "which web pages may connect")]),
    ("[tls]\ncert = 'a.pem'", &[(2, 8, "tls.cert", "add key = \"key.pem\" under [tls]")]),
    ("[tls]\nkey = 'a.pem'", &[(2, 7, "tls.key", "add cert = \"cert.pem\" under [tls]")]),
    ("[api]\nenabled = true", &[(2, 11, "api.enabled", "add keys_file = ")]),
    ("[api]\nenabled = true\nkeys = []", &[(2, 11, "api.enabled", "under [api]")]),
    ("[api]\nkeys_file = '/nowhere/keys'", &[(2, 13, "api.keys_file", "the file cannot be read")]),
    ("[namespaces.a]\ndurable = true", &[(2, 11, "namespaces.a.durable", "under [store]")]),
    (
        "[store]\npath='a'\n[namespaces.a]\ndurable = true\nhistory_size = 0",
        &[(4, 11, "namespaces.a.durable", "set namespaces.a.history_size")],
    ),
    ("[session]\nhard_output = '64 KiB'", &[(2, 15, "session.hard_output", "session.soft_output")]),
    // Nothing is complained about that follows from a mistake.
    ("[server]\nlisten = '0.0.0.0:80'\n[origins]\nallowed = 1", &[(4, 11, "origins.allowed", "expected a list")]),
    ("[tls]\ncert = 'a.pem'\nkey = 1", &[(3, 7, "tls.key", "expected a path")]),
];

#[test]
fn every_mistake_has_its_line_and_its_key() {
    for (text, expected) in ROWS {
        let found = mistakes(text);
        assert_eq!(found.len(), expected.len(), "{text}\n{found:?}");
        for (mistake, (line, column, key, part)) in found.iter().zip(*expected) {
            let place = Place::File { file: "s.toml".into(), line: *line, column: *column };
            assert_eq!((&mistake.place, mistake.key.as_str()), (&place, *key), "{text}\n{mistake}");
            assert!(mistake.message.contains(part), "{text}\n{mistake}\n{part}");
            assert!(!mistake.to_string().contains(char::is_control), "{mistake:?}");
        }
    }
}
