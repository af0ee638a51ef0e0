//! The configuration: what is printed can be read, every mistake has its line and its key, and secrets stay secret.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use sockeye_server::config::{
    Anonymous, Config, Loaded, Mistake, NamespaceOptions, Place, Slow, Sources, When, Who, default_file, reference,
    variables,
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
    ("[session]\nsoft_output = '2 MiB'", &[(2, 15, "session.hard_output", "session.soft_output")]),
    // Nothing is complained about that follows from a mistake.
    ("[server]\nlisten = '0.0.0.0:80'\n[origins]\nallowed = 1", &[(4, 11, "origins.allowed", "expected a list")]),
    ("[server]\nlisten = '0.0.0.0:80'\n[origins\nallowed = ['*']", &[(3, 9, "", "this is not TOML: ")]),
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

/// How long it takes to read a namespace does not depend on how many there are: 5,000 are read well within the time of a test.
#[test]
fn many_namespaces_are_no_trouble() {
    let namespace =
        |number: usize| format!("[namespaces.n{number}]\nhistory_size = {number}\nslow = \"skip\"\nzzz = 1\n");
    let text = (0..5_000).map(namespace).collect::<String>();
    assert_eq!(mistakes(&text).len(), 5_000);
    assert_eq!(load(&text.replace("zzz = 1\n", "")).config.namespaces.named["n4999"].history_size, 4_999);
}

/// For every key a value by environment that is not the default.
const BY_ENVIRONMENT: &[(&str, &str)] = &[
    ("server.listen", "127.0.0.1:9"),
    ("server.workers", "3"),
    ("server.drain", "7 s"),
    ("server.deflate", "takeover"),
    ("server.io_uring", "never"),
    ("tls.cert", "a.pem"),
    ("tls.key", "b.pem"),
    ("origins.allowed", "https://a.example, self"),
    ("origins.required", "true"),
    ("limits.connections", "1000"),
    ("limits.connections_per_address", "10"),
    ("limits.new_per_second", "9"),
    ("limits.limit_loopback", "true"),
    ("session.commands_per_second", "1"),
    ("session.commands_burst", "2"),
    ("session.commands_refused", "3"),
    ("session.soft_output", "8 KiB"),
    ("session.hard_output", "2 MiB"),
    ("session.subscriptions", "4"),
    ("pipes.enabled", "false"),
    ("pipes.max_open", "11"),
    ("pipes.per_address", "12"),
    ("pipes.max_body", "2 KiB"),
    ("pipes.linger", "2 s"),
    ("pipes.heartbeat", "3 s"),
    ("pipes.response_limit", "3 KiB"),
    ("hub.backlog_bytes", "65 KiB"),
    ("hub.catch_up_count", "5"),
    ("hub.catch_up_bytes", "66 KiB"),
    ("hub.channels", "6"),
    ("hub.key_age", "1 d"),
    ("hub.keys", "7"),
    ("hub.pending", "8"),
    ("hub.pending_bytes", "9 MiB"),
    ("hub.members_bytes", "67 KiB"),
    ("hub.members_every", "10 ms"),
    ("hub.idle_after", "2 m"),
    ("store.path", "/srv/store"),
    ("store.durability", "os"),
    ("store.max_channels", "9"),
    ("store.max_bytes", "100 GiB"),
    ("api.enabled", "true"),
    ("api.keys", "0123456789abcdef"),
    ("api.keys_file", "/dev/null"),
    ("calls.anonymous", "never"),
    ("page.enabled", "always"),
    ("demos.enabled", "never"),
    ("demos.max_message", "2 KiB"),
    ("demos.max_fragments", "11"),
    ("sockjs.enabled", "false"),
    ("sockjs.websocket", "false"),
    ("sockjs.scripts", "true"),
    ("sockjs.cookie", "true"),
    ("sockjs.response_limit", "5 KiB"),
    ("namespaces.default.subscribe", "server"),
    ("namespaces.default.publish", "server"),
    ("namespaces.default.history_read", "nobody"),
    ("namespaces.default.presence_read", "nobody"),
    ("namespaces.default.anonymous", "publish"),
    ("namespaces.default.history_size", "12"),
    ("namespaces.default.history_age", "1 h"),
    ("namespaces.default.history_bytes", "13 KiB"),
    ("namespaces.default.durable", "true"),
    ("namespaces.default.presence", "false"),
    ("namespaces.default.join_leave", "false"),
    ("namespaces.default.max_members", "14"),
    ("namespaces.default.session_rate", "15"),
    ("namespaces.default.channel_rate", "16"),
    ("namespaces.default.slow", "latest"),
];

fn environment(variables: &[(&str, &str)]) -> Sources {
    Sources::new().environment(variables.iter().map(|(name, value)| (name.into(), value.into())))
}

/// The value of a key as `show` has it, without what comes after it.
fn shown(loaded: &Loaded, path: &str) -> String {
    let (section, key) = path.rsplit_once('.').unwrap();
    let text = loaded.show();
    let lines = text.lines().skip_while(|line| *line != format!("[{section}]"));
    let line = lines.skip(1).find(|line| line.starts_with(&format!("{key} = "))).unwrap_or("").to_owned();
    line.split_once(" = ").map_or(String::new(), |(_, rest)| rest.split("  # ").next().unwrap().trim().to_owned())
}

#[test]
fn every_key_can_be_set_by_environment() {
    let known = variables();
    let table = BY_ENVIRONMENT.iter().map(|(path, _)| *path).collect::<Vec<_>>();
    assert_eq!(known.iter().map(|(_, path)| path.as_str()).collect::<Vec<_>>(), table, "the table has every key");
    let all =
        known.iter().zip(BY_ENVIRONMENT).map(|((name, _), (_, value))| (name.as_str(), *value)).collect::<Vec<_>>();
    let loaded = environment(&all).load().unwrap();
    for ((name, path), (_, value)) in known.iter().zip(BY_ENVIRONMENT) {
        assert_eq!(*loaded.place(path), Place::Environment(name.clone()), "{path}");
        let expected = match path.as_str() {
            "api.keys" => "[\"***\"]".to_owned(),
            "origins.allowed" => "[\"https://a.example\", \"self\"]".to_owned(),
            _ if value.bytes().all(|byte| byte.is_ascii_digit()) || ["true", "false"].contains(value) => {
                (*value).to_owned()
            }
            _ => format!("\"{value}\""),
        };
        assert_eq!(shown(&loaded, path), expected, "{path}");
        assert_ne!(shown(&load(""), path), expected, "{path}: that is the default");
    }
}

/// Each variable is for one key, and the name of a namespace ends where a key begins.
#[test]
fn no_variable_has_two_meanings() {
    let known = variables();
    let mut names = known.iter().map(|(name, _)| name).collect::<Vec<_>>();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), known.len());
    assert_eq!(known[0], ("SOCKEYE_SERVER_LISTEN".to_owned(), "server.listen".to_owned()));
    let keys = known.iter().filter_map(|(_, path)| path.strip_prefix("namespaces.default."));
    let keys = keys.collect::<Vec<_>>();
    for key in &keys {
        assert!(keys.iter().all(|other| !other.ends_with(&format!("_{key}"))), "{key}");
    }
}

#[test]
fn namespaces_by_environment() {
    let file = "[namespaces.my-chat]\n[namespaces.Loud]\n[namespaces.x-y]\n[namespaces.x_y]\n";
    let set = |name: &str, value: &str| environment(&[(name, value)]).text("s.toml", file).load();
    for (name, namespace) in [("MY_CHAT", "my-chat"), ("LOUD", "Loud"), ("NEW_ONE", "new_one"), ("A1", "a1")] {
        let loaded = set(&format!("SOCKEYE_NAMESPACES_{name}_HISTORY_SIZE"), "7").unwrap();
        assert_eq!(loaded.config.namespaces.named[namespace].history_size, 7, "{name}");
    }
    for (name, message) in [
        ("SOCKEYE_NAMESPACES_X_Y_HISTORY_SIZE", "this could be for the namespace x-y or x_y"),
        ("SOCKEYE_NAMESPACES_HISTORY_SIZE", "there is no such variable"),
        ("SOCKEYE_NAMESPACES_CHAT", "there is no such variable"),
        ("SOCKEYE_NAMESPACES_CHAT_HISTORY", "there is no such variable"),
        ("SOCKEYE_NAMESPACES_chat_HISTORY_SIZE", "there is no such variable"),
        ("SOCKEYE_SERVER_LISTN", "there is no such variable; did you mean SOCKEYE_SERVER_LISTEN?"),
        ("SOCKEYE_CONFG", "did you mean SOCKEYE_CONFIG?"),
        ("SOCKEYE_", "there is no such variable"),
        ("SOCKEYE_\u{1b}", "there is no such variable"),
    ] {
        let mistakes = set(name, "7").unwrap_err().to_string();
        assert!(mistakes.contains(message) && !mistakes.contains(char::is_control), "{mistakes}");
    }
    for others in ["SOCKEYE_CONFIG", "SOCKEYE_LOG", "SOCKEYE_TEST_X", "HOME", "SOCKEY"] {
        assert_eq!(set(others, "7").unwrap().config, load(file).config, "{others}");
    }
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 1\ndrain = \"1 s\"\n";
    let sources = environment(&[("SOCKEYE_SERVER_LISTEN", "127.0.0.1:2"), ("SOCKEYE_SERVER_WORKERS", "2")]);
    let loaded = sources.text("s.toml", file).flag("--listen", "server.listen", "127.0.0.1:3").load().unwrap();
    let server = &loaded.config.server;
    assert_eq!((server.listen.port(), server.workers, server.drain.as_secs()), (3, Some(2), 1));
    assert_eq!(loaded.place("server.listen").to_string(), "--listen");
    assert_eq!(loaded.place("server.workers").to_string(), "environment: SOCKEYE_SERVER_WORKERS");
    assert_eq!(loaded.place("server.drain").to_string(), "s.toml:4:9");
    assert_eq!(loaded.place("tls.cert").to_string(), "default");

    // What is overridden has to be right all the same.
    let mistakes =
        Sources::new().text("s.toml", "[server]\nlisten = 1\n").flag("--listen", "server.listen", "x").load();
    let mistakes = mistakes.unwrap_err().to_string();
    let expected = "expected an IP address and a port such as \"127.0.0.1:7071\" or \"[::1]:7071\"";
    assert_eq!(mistakes, format!("s.toml:2:10: server.listen: {expected}\n--listen: server.listen: {expected}"));
}

/// Attack J12, for every key there is: another type, a negative number, a huge one.
#[test]
fn no_key_takes_what_it_should_not() {
    for (name, path) in variables() {
        let (section, key) = path.rsplit_once('.').unwrap();
        for wrong in ["{}", "-1", "99999999999999999999999", "1.5", "nan", "1979-05-27", "[[]]", "\"\\u0000\"", "''"] {
            let found = mistakes(&format!("[{section}]\n{key} = {wrong}\n"));
            assert!(found.len() == 1 && found[0].key == path, "{path} = {wrong}: {found:?}");
        }
        for wrong in ["\0", "-1", "0x10", "99999999999999999999999"] {
            let loaded = environment(&[(&name, wrong)]).load();
            // A path may be called so, and a secret may be a number.
            let is_text = ["tls.cert", "tls.key", "store.path", "api.keys_file"].contains(&path.as_str());
            if wrong != "\0" && (is_text || (path == "api.keys" && wrong.len() >= 16)) {
                continue;
            }
            let found = loaded.expect_err(&path).iter().map(|mistake| mistake.key.clone()).collect::<Vec<_>>();
            assert_eq!(found, [path.as_str()], "{wrong}");
        }
    }
}

const CANARY: &str = "C4naryC4naryC4nary";

/// Attack J11: a secret, wherever it stands, is in no text that comes out.
#[test]
fn a_secret_is_never_repeated() {
    let file = std::env::temp_dir().join(format!("sockeye-config-{}", std::process::id()));
    std::fs::write(&file, format!("# keys\n\n{CANARY}\n")).unwrap();
    let loaded = environment(&[("SOCKEYE_API_KEYS_FILE", file.to_str().unwrap())])
        .text("s.toml", &format!("[api]\nenabled = true\nkeys = ['{CANARY}', '{CANARY}{CANARY}']"))
        .load()
        .unwrap();
    assert_eq!(loaded.config.api_keys().filter(|key| key.is(CANARY)).count(), 2);
    for text in [loaded.show(), format!("{loaded:?}"), format!("{loaded:#?}"), format!("{:?}", loaded.notes())] {
        assert!(!text.contains(CANARY), "{text}");
    }
    assert_eq!(shown(&loaded, "api.keys"), "[\"***\", \"***\"]");
    assert!(Sources::new().text("s.toml", &loaded.show()).load().is_err(), "what hides a secret is none");

    std::fs::write(&file, format!("{CANARY}\n{CANARY} {CANARY}\n")).unwrap();
    let mistakes = environment(&[("SOCKEYE_API_KEYS_FILE", file.to_str().unwrap())]).load().unwrap_err();
    assert!(mistakes.to_string().contains("line 2 of the file is not: a list of secrets"), "{mistakes}");
    assert!(!mistakes.to_string().contains(CANARY), "{mistakes}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn no_mistake_repeats_a_value() {
    let silent = |sources: Sources, what: &str| {
        if let Err(mistakes) = sources.load() {
            assert!(!format!("{mistakes}{mistakes:?}").contains("C4nary"), "{what}\n{mistakes}");
        }
    };
    for (name, path) in variables() {
        let (section, key) = path.rsplit_once('.').unwrap();
        for value in
            [format!("'{CANARY}'"), format!("['{CANARY} ']"), format!("{{ a = '{CANARY}' }}"), CANARY.to_owned()]
        {
            let text = format!("[{section}]\n{key} = {value}\n");
            silent(Sources::new().text("s.toml", &text), &text);
            silent(Sources::new().text("s.toml", &text.replace(" = ", "z = ")), &text);
        }
        silent(environment(&[(&name, CANARY), (&format!("{name}_Z"), CANARY)]), &name);
    }
    for broken in [
        format!("[api]\nkeys = [{CANARY}]"),
        format!("[api]\nkeys = ['{CANARY}"),
        format!("[api]\nkeys = ['{CANARY}\n{CANARY}']"),
        format!("[api]\nkeys = ['{CANARY}\n{CANARY} = 1\n']"),
        format!("[api]\nkeys = ['{CANARY}\n{CANARY} = '1'\n']"),
        format!("[api]\nkeys = ['\n[{CANARY}]\n']"),
        format!("[api]\nkeys = '{CANARY}' {CANARY}"),
        format!("[api]\nkeys {CANARY}"),
        format!("[api]\nkeys = \"\\{CANARY}\""),
        format!("[api]\nkeys = ['{CANARY}']\nkeys = ['{CANARY}']"),
        CANARY.to_owned(),
        format!("= {CANARY}"),
    ] {
        silent(Sources::new().text("s.toml", &broken), &broken);
        assert!(Sources::new().text("s.toml", &broken).load().is_err(), "{broken}");
    }
}

/// However a file is torn or bent, there is an answer, and it has no secret in it.
#[test]
fn a_torn_file_is_read_as_far_as_it_goes() {
    let text = format!(
        "# é\n[server]\nlisten = \"[::1]:9\"\ndrain = '9 s'\n[api]\nkeys = [\n \"{CANARY}\",\n '{CANARY}1'\n]\n\
         [namespaces.'a b']\nslow = \"\"\"skip\"\"\"\n[namespaces.c]\nhistory_size = 1_0\n"
    );
    let starts = text.char_indices().map(|(at, character)| (at, at + character.len_utf8())).collect::<Vec<_>>();
    for (at, next) in starts {
        for bent in ["", "\"", "'", "[", "]", "=", ".", "\n", "#", "\\", "{", "\0", "é"] {
            for torn in [format!("{}{bent}", &text[..at]), format!("{}{bent}{}", &text[..at], &text[next..])] {
                if let Err(mistakes) = Sources::new().text("s.toml", &torn).load() {
                    assert!(mistakes.iter().count() > 0);
                    assert!(!mistakes.to_string().contains(CANARY), "{torn}\n{mistakes}");
                }
            }
        }
    }
}

#[test]
fn what_the_server_is_started_with() {
    let options = load(
        "server = { listen = '[::1]:5', workers = 3, drain = '9 s', io_uring = 'never', deflate = 'always' }\n\
         limits = { connections = 7, connections_per_address = 6, new_per_second = 5, limit_loopback = true }\n\
         tls = { cert = 'a.pem', key = 'b.pem' }\n\
         origins.allowed = ['https://a.example']\n\
         demos = { max_message = '2 KiB', max_fragments = 4 }",
    )
    .config
    .server_options();
    assert_eq!((options.listen.port(), options.workers, options.drain.as_secs()), (5, 3, 9));
    let admission = &options.admission;
    assert_eq!((admission.max_connections, admission.per_address, admission.new_per_second), (7, 6, 5));
    assert!(admission.limit_loopback && options.tls.is_some() && options.io_uring.is_none());
    assert!(options.deflate.is_some());
    assert_eq!((options.max_message, options.max_fragments), (2_048, 4));
}

#[test]
fn origins_are_as_listed() {
    // What is allowed; the page's origin; whether it may connect to example.org.
    for (origins, page, expected) in [
        ("allowed = ['https://a.example']", Some("https://a.example"), true),
        ("allowed = ['https://a.example']", Some("https://A.example:443"), true),
        ("allowed = ['https://a.example']", Some("https://a.example:8443"), false),
        ("allowed = ['https://a.example']", Some("http://a.example"), false),
        ("allowed = ['https://a.example']", Some("https://a.example.evil.com"), false),
        ("allowed = ['https://a.example']", Some("https://evila.example"), false),
        ("allowed = ['https://a.example']", Some("https://example.org"), true),
        ("allowed = ['https://a.example']", Some("null"), false),
        ("allowed = ['https://a.example']", None, true),
        ("allowed = ['https://a.example']\nrequired = true", None, false),
        ("allowed = ['self']", Some("https://example.org"), true),
        ("allowed = ['self']", Some("https://a.example"), false),
        ("allowed = ['*']", Some("https://a.example"), true),
        ("allowed = ['*', 'https://b.example']", Some("null"), true),
        ("allowed = ['*']\nrequired = true", None, false),
        ("required = true", None, false),
        ("required = true", Some("https://a.example"), true),
    ] {
        let policy = load(&format!("[origins]\n{origins}")).config.server_options().origins.unwrap();
        assert_eq!(policy.allows(page, "example.org"), expected, "{origins} {page:?}");
    }
    assert!(load("").config.server_options().origins.is_none(), "the server decides by its address");
    let public = "server.listen = '0.0.0.0:0'\norigins = { allowed = ['self'], required = true }";
    let policy = load(public).config.server_options().origins.unwrap();
    assert!(policy.allows(Some("http://example.org"), "example.org") && !policy.allows(None, "example.org"));
}

/// docs/configuration.md has every key as the program has it. `SOCKEYE_TEST_WRITE=1` writes it.
#[test]
fn the_page_is_up_to_date() {
    const MARK: &str = "<!-- What follows is written by the test `the_page_is_up_to_date`. -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (introduction, keys) = page.split_once(MARK).unwrap();
    let reference = reference();
    if std::env::var_os("SOCKEYE_TEST_WRITE").is_some() {
        std::fs::write(path, format!("{introduction}{MARK}{reference}")).unwrap();
    } else {
        assert_eq!(keys, reference);
    }
    for variable in introduction.split(|character: char| !character.is_ascii_uppercase() && character != '_') {
        let is_known =
            variables().iter().any(|(name, _)| name == variable) || variable.starts_with("SOCKEYE_NAMESPACES_");
        let is_other = ["SOCKEYE_", "SOCKEYE_CONFIG", "SOCKEYE_LOG", "SOCKEYE_TEST_"].contains(&variable);
        assert!(!variable.starts_with("SOCKEYE") || is_known || is_other, "{variable}");
    }
}
