use super::*;

const RUNNING: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
priority = 250
[nodes.lb2]
address = "192.0.2.3"
[pair]
interface = "eth0"
[vips.api]
address = "192.0.2.10/24"
vrid = 51
[vips.web]
address = "192.0.2.11/24"
vrid = 52
[listeners.api]
bind = ["vips.api:6443"]
backend = "api"
allow = ["10.0.0.0/8", "192.0.2.0/24"]
[listeners.web]
bind = ["vips.web:80"]
backend = "web"
[backends.api]
servers = ["10.0.0.1:6443", "10.0.0.2:6443"]
probe = { kind = "tcp", interval = "1s" }
[backends.web]
servers = ["10.0.0.3:80"]
"#;

fn between(change: impl Fn(&str) -> String) -> Difference {
    let parse = |text: &str| Config::from_running(text).expect("it is valid");
    Difference::between(&parse(RUNNING), &parse(&change(RUNNING)))
}

fn lines(difference: &Difference) -> Vec<String> {
    difference.changes.iter().map(Change::to_string).collect()
}

#[test]
fn comments_and_the_order_of_keys_and_listeners_change_nothing() {
    let swapped = |text: &str| {
        let (head, rest) = text.split_once("[listeners.api]").expect("it is there");
        let (api, rest) = rest.split_once("[listeners.web]").expect("it is there");
        let (web, backends) = rest.split_once("[backends.api]").expect("it is there");
        format!("# new\n{head}[listeners.web]{web}[listeners.api]{api}[backends.api]{backends}")
    };
    let difference = between(swapped);
    assert!(difference.is_empty(), "{difference}");
    assert_eq!(difference.obstacles, []);
    assert_eq!(between(str::to_owned), Difference::default());
}

#[test]
fn a_key_is_named_with_its_old_and_its_new_value() {
    let difference = between(|text| {
        text.replace("interval = \"1s\"", "interval = \"2s\"")
            .replace("backend = \"web\"", "backend = \"web\"\nmax_sessions = 9")
    });
    assert_eq!(
        lines(&difference),
        [
            // What follows from it, too.
            "~ backends.api.probe.down_interval: \"1s\" -> \"2s\"",
            "~ backends.api.probe.fast_interval: \"1s\" -> \"2s\"",
            "~ backends.api.probe.interval: \"1s\" -> \"2s\"",
            "~ backends.api.probe.timeout: \"1s\" -> \"2s\"",
            "~ listeners.web.max_sessions: not set -> 9",
        ]
    );
    assert_eq!(difference.obstacles, []);
}

#[test]
fn elements_of_lists_come_and_go_one_by_one() {
    let difference = between(|text| {
        text.replace(
            "\"10.0.0.2:6443\"",
            "{ address = \"10.0.0.1:6444\", weight = 3 }",
        )
        .replace(
            "\"10.0.0.1:6443\"",
            "{ address = \"10.0.0.1:6443\", weight = 2 }",
        )
        .replace("\"10.0.0.0/8\", ", "")
    });
    let lines = lines(&difference);
    assert_eq!(
        lines[0],
        "~ backends.api.servers[10.0.0.1:6443].weight: 1 -> 2"
    );
    assert!(
        lines[1].starts_with("- backends.api.servers: {"),
        "{lines:?}"
    );
    assert!(lines[1].contains("10.0.0.2:6443"), "{lines:?}");
    assert!(
        lines[2].starts_with("+ backends.api.servers: {"),
        "{lines:?}"
    );
    assert_eq!(lines[3], "- listeners.api.allow: \"10.0.0.0/8\"");
    assert_eq!(lines.len(), 4);
}

#[test]
fn whole_sections_come_and_go() {
    let difference = between(|text| {
        let text = text.replace(
            "[listeners.web]\nbind = [\"vips.web:80\"]",
            "[listeners.new]\nbind = [\"127.0.0.1:81\"]",
        );
        text.replace(
            "[backends.web]",
            "[backends.old]\nservers = [\"10.0.0.9:1\"]\n[backends.web]",
        )
    });
    assert_eq!(
        lines(&difference),
        [
            "+ backends.old: servers = [\"10.0.0.9:1\"]",
            "+ listeners.new: bind = [\"127.0.0.1:81\"], backend = \"web\"",
            "- listeners.web",
        ]
    );
    assert_eq!(difference.obstacles, []);
}

#[test]
fn what_a_running_node_cannot_take_over_is_named_with_the_reason() {
    let obstacles = |from: &str, to: &str| {
        let difference = between(|text| text.replace(from, to));
        difference.obstacles.first().map(Obstacle::to_string)
    };
    for (from, to, named) in [
        ("192.0.2.3", "192.0.2.4", "nodes.lb2.address"),
        (
            "interface = \"eth0\"",
            "interface = \"eth1\"",
            "pair.interface",
        ),
        (
            "interface = \"eth0\"",
            "interface = \"eth0\"\nkey_file = \"/etc/pair.key\"",
            "whether there is a pair channel",
        ),
        (
            "[vips.web]",
            "[proxy]\nthreads = 3\n[vips.web]",
            "proxy.threads",
        ),
        (
            "[vips.web]",
            "[admin]\nhttp = \"off\"\n[vips.web]",
            "admin.http",
        ),
        (
            "backend = \"web\"",
            "backend = \"web\"\nmark = 7",
            "listeners.web.mark",
        ),
    ] {
        let said = obstacles(from, to).expect(named);
        assert!(said.starts_with(named), "{said}");
    }
    for (from, to) in [
        ("vrid = 51", "vrid = 53"),
        (
            "[vips.web]",
            "[trackers.x]\nkind = \"interface\"\ninterface = \"eth9\"\n[vips.web]",
        ),
        ("10.0.0.3:80", "10.0.0.4:80"),
        ("10.0.0.3:80", "web.example.org:80"),
        ("backend = \"web\"", "backend = \"web\"\nbacklog = 9"),
        ("[vips.web]", "[proxy]\ndrain = \"9s\"\n[vips.web]"),
        ("[vips.web]", "[dns]\ntimeout = \"2s\"\n[vips.web]"),
    ] {
        assert_eq!(obstacles(from, to), None, "{to}");
    }
}

#[test]
fn another_order_of_vips_is_none_and_another_order_of_nodes_is_an_obstacle() {
    let difference = between(|text| {
        let api = "[vips.api]\naddress = \"192.0.2.10/24\"\nvrid = 51\n";
        let web = "[vips.web]\naddress = \"192.0.2.11/24\"\nvrid = 52\n";
        text.replace(&format!("{api}{web}"), &format!("{web}{api}"))
    });
    assert_eq!(difference, Difference::default());
    let difference = between(|text| {
        let text = text.replace("[nodes.lb1]", "[nodes.lb0]");
        let text = text.replace("[nodes.lb2]", "[nodes.lb1]");
        let text = text.replace("[nodes.lb0]", "[nodes.lb2]");
        let text = text.replace("192.0.2.2\"", "192.0.2.9\"");
        let text = text.replace("192.0.2.3\"", "192.0.2.2\"");
        text.replace("192.0.2.9\"", "192.0.2.3\"")
    });
    assert!(
        difference.obstacles[0].what.contains("[nodes.NAME]"),
        "{difference:?}"
    );
}

#[test]
fn a_password_is_not_shown() {
    let path = ["vips".to_owned(), "api".to_owned(), "auth_pass".to_owned()];
    let secret = Value::String("secret".to_owned());
    assert_eq!(words(&path, Some(&secret)), "(not shown)");
}
