//! dist/fleet, and what docs/fleet.md says: held against the protocols and programs that they are for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

mod left_out;

fn fleet(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/fleet").join(file)
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Answers one request, and gives it back: its lines, and its body.
fn one_request(listener: &TcpListener, answer: &str) -> (Vec<String>, String) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(answer.as_bytes()).unwrap();
    (lines, String::from_utf8(body).unwrap())
}

/// <https://coreos.github.io/zincati/development/fleetlock/protocol/>
#[test]
fn fleetlock_is_spoken() {
    if !is_there("curl") {
        left_out::left_out("curl is not installed");
        return;
    }
    // Not every machine has an id.
    let programs = tempfile::tempdir().unwrap();
    let id128 = programs.path().join("systemd-id128");
    fs::write(&id128, "#!/bin/sh\n[ \"$1\" = machine-id ] && echo 0f3a\n").unwrap();
    fs::set_permissions(&id128, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    for (verb, answer, succeeds) in [
        ("pre-reboot", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("steady-state", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (
            "pre-reboot",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 41\r\n\r\n{\"kind\":\"failed_lock\",\"value\":\"all taken\"}",
            false,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || one_request(&listener, answer));
        let output = Command::new(fleet("fleetlock"))
            .arg(verb)
            .env("PATH", &path)
            .env("NO_PROXY", "*")
            .env("FLEETLOCK_URL", url)
            .env("FLEETLOCK_GROUP", "workers")
            .output()
            .unwrap();
        let (lines, body) = server.join().unwrap();
        assert_eq!(lines[0], format!("POST /v1/{verb} HTTP/1.1"));
        assert!(lines.iter().any(|line| line.eq_ignore_ascii_case("fleet-lock-protocol: true")), "{lines:?}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, serde_json::json!({ "client_params": { "group": "workers", "id": "0f3a" } }));
        assert_eq!(output.status.success(), succeeds, "{output:?}");
        // Why not is what somebody has to read.
        assert!(succeeds || String::from_utf8_lossy(&output.stdout).contains("all taken"), "{output:?}");
    }
    let unnamed =
        Command::new(fleet("fleetlock")).arg("pre-reboot").env_remove("FLEETLOCK_URL").output().unwrap();
    assert!(String::from_utf8_lossy(&unnamed.stderr).contains("FLEETLOCK_URL: names the lock manager"));
}

/// What `status --metrics` prints of a machine where all of it is known.
fn metrics() -> String {
    let text = include_str!("golden/metrics.txt");
    assert!(text.ends_with("# EOF\n"));
    text.to_owned()
}

#[test]
fn every_metric_is_described() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.md")).unwrap();
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `nextroot_")?.split_once('`'));
    let described: BTreeSet<String> = rows.map(|(name, _)| format!("nextroot_{name}")).collect();
    let text = metrics();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let printed: BTreeSet<String> = types.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(described, printed);
}

/// Prometheus' own program, where it is installed or `PROMTOOL` names it.
#[track_caller]
fn promtool(arguments: &[&str]) -> Option<Command> {
    let words = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".to_owned());
    let mut words = words.split_whitespace();
    let program = words.next().unwrap();
    if !is_there(program) {
        left_out::left_to("make matrix", "promtool is not installed");
        return None;
    }
    let mut command = Command::new(program);
    command.args(words).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    let Some(mut command) = promtool(&["check", "metrics"]) else { return };
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(metrics().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn promtool_finds_no_fault_with_the_alerts() {
    let text = include_str!("../docs/fleet.md");
    let (_, from) = text.split_once("    - alert:").unwrap();
    let rules = format!("    - alert:{from}");
    let rules: Vec<&str> = rules.lines().take_while(|line| line.starts_with("    ")).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "groups:\n- name: nextroot\n  rules:\n{}", rules.join("\n")).unwrap();
    let Some(mut command) = promtool(&["check", "rules", &file.path().to_string_lossy()]) else { return };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("3 rules found"), "{output:?}");
}
