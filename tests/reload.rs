//! What the configuration file says now, and what becomes of it.

mod site;

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Node;
use lab::backend::Service;

use crate::site::{Site, config_at};

/// What `fmc-lb ARGUMENTS` prints, and its exit code.
fn say(site: &Site, node: Node, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = site.pair.command(node, arguments)?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

/// What the file must lead to: an exit code, and words.
fn expect(site: &Site, arguments: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let (got, said) = say(site, Node::Lb1, arguments)?;
    ensure!(got == Some(code), "{arguments:?}: {got:?}, {said}");
    for word in words {
        ensure!(
            said.contains(word),
            "{arguments:?}: no {word:?} in:\n{said}"
        );
    }
    Ok(())
}

#[test]
fn a_dry_run_judges_and_compares_and_changes_nothing() -> Result<()> {
    const DRY: &[&str] = &["reload", "--dry-run"];
    let config = config_at(Duration::from_millis(100));
    Site::start(&config, Service::Echo)?.watched("reload-dry-run", |site| {
        let before = site.pair.status(Node::Lb1)?;
        let differs = |site: &Site| -> Option<bool> {
            let status = site.pair.status(Node::Lb1).ok()?;
            status["reload"]["file_differs"].as_bool()
        };
        ensure!(differs(site) == Some(false), "{}", before["reload"]);
        expect(site, DRY, 0, &["nothing differs"])?;

        site.pair.set_config(
            &config
                .replace(
                    "\"10.17.4.26:80\"",
                    "{ address = \"10.17.4.26:80\", weight = 3 }",
                )
                .replace("[listeners.https]", "[listeners.tls]"),
        )?;
        let changes = [
            "~ backends.traefik-http.servers[10.17.4.26:80].weight: 1 -> 3",
            "+ listeners.tls: bind = [\"vips.web:443\"], backend = \"traefik-https\"",
            "- listeners.https",
        ];
        expect(site, DRY, 0, &changes)?;
        site.wait("the file is seen to differ", |site| {
            differs(site) == Some(true)
        })?;

        site.pair
            .set_config(&config.replace("vrid    = 52", "vrid    = 53"))?;
        let refused = [
            "vips.web.vrid cannot change while the node runs",
            "restart this node",
        ];
        expect(site, DRY, 1, &refused)?;
        site.pair
            .set_config(&config.replace("balance =", "ballance ="))?;
        expect(site, DRY, 2, &["unknown key", "ballance", "balance"])?;
        site.pair.set_config("[nodes.lb1\n")?;
        expect(site, DRY, 2, &["fmc-lb.toml"])?;

        site.pair.set_config(&format!("# a comment\n{config}"))?;
        expect(site, DRY, 0, &["nothing differs"])?;
        site.wait("the file says what runs", |site| {
            differs(site) == Some(false)
        })?;
        let after = site.pair.status(Node::Lb1)?;
        for key in ["config_hash", "processes"] {
            let of = |status: &serde_json::Value| match key {
                "processes" => status[key][0]["pid"].clone(),
                _ => status[key].clone(),
            };
            ensure!(of(&before) == of(&after), "{key}: {before} became {after}");
        }
        ensure!(after["reload"]["last"] == "none", "{}", after["reload"]);
        let warnings = after["warnings"].to_string();
        ensure!(!warnings.contains("configuration"), "{warnings}");
        Ok(())
    })
}
