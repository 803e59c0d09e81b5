//! The JSON of `status`, `preflight`, `plan`, `stage`, `report` and `doctor`, held to the schemas in docs/, both ways: what is written is described, and
//! what is described is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, time::Duration};

use nextroot::{
    format::config::{prewarm::Prewarm, trial::Trial},
    mode::{
        doctor,
        request::{Passed, Request, Way},
        stage::{Done, Outcome},
        status::Status,
    },
    plan::{
        Plan, Step,
        carry::Row,
        order::Order,
        preflight::{Asked, NewRoot, Refused, Report, Survives, Survivor, System, examine},
        prewarm::{Limit, Prewarmed},
        report::Phase,
        signed::CheckedBy,
        state::{Blessing, Failed, On, OnTrial, Pass, Root, Staged, Verity},
        step::{HashOrigin, Relay},
        watchdog::Watchdog,
    },
    units::Bytes,
};
use serde_json::{Value, json};

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema(name: &str) -> Value {
    serde_json::from_str(&text(&format!("docs/{name}.schema.json"))).unwrap()
}

/// Keywords of JSON Schema 2020-12 that hold nothing against a value, or are looked at with another one. A schema with
/// one that is not known here is refused, so that nothing in it counts for nothing.
const SILENT: [&str; 6] = ["$defs", "$schema", "additionalProperties", "description", "examples", "title"];

/// A schema, and the properties of it that were met in some value.
struct Checker {
    schema: Value,
    met: BTreeSet<String>,
}

impl Checker {
    fn new(name: &str) -> Self {
        Self { schema: schema(name), met: BTreeSet::new() }
    }

    /// Holds a value to the whole schema. Stricter than the schema: a field that it does not describe is an error,
    /// unless it says `"additionalProperties": true`.
    fn hold(&mut self, value: &Value) -> Result<(), String> {
        self.at("#", value, "$")
    }

    fn at(&mut self, place: &str, value: &Value, path: &str) -> Result<(), String> {
        let schema = self.schema.pointer(&place[1..]).unwrap_or_else(|| panic!("no {place}")).clone();
        let wrong = |why: String| Err(format!("{path}: {why}: {value}"));
        for (keyword, rule) in schema.as_object().unwrap() {
            let good = match keyword.as_str() {
                "$ref" => return self.at(rule.as_str().unwrap(), value, path),
                "const" => value == rule,
                "enum" => rule.as_array().unwrap().contains(value),
                "minimum" => value.as_i64() >= rule.as_i64(),
                "minItems" => value.as_array().is_some_and(|all| all.len() as u64 >= rule.as_u64().unwrap()),
                "type" => match rule {
                    Value::Array(kinds) => kinds.iter().any(|kind| is(kind, value)),
                    kind => is(kind, value),
                },
                "required" => {
                    rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
                }
                "oneOf" => self.one_of(place, rule.as_array().unwrap().len(), value, path),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.at(&format!("{place}/items"), item, &format!("{path}[{index}]"))?;
                    }
                    true
                }
                "properties" => {
                    let open = schema.get("additionalProperties") == Some(&Value::Bool(true));
                    for (name, item) in value.as_object().into_iter().flatten() {
                        match rule.get(name) {
                            Some(_) => {
                                let place = format!("{place}/properties/{name}");
                                self.at(&place, item, &format!("{path}.{name}"))?;
                                self.met.insert(place);
                            }
                            None if open => {}
                            None => return wrong(format!("{name} is not described")),
                        }
                    }
                    true
                }
                other if SILENT.contains(&other) => true,
                other => panic!("{place}: the keyword {other} is not checked here"),
            };
            if !good {
                return wrong(format!("against {keyword} {rule}"));
            }
        }
        Ok(())
    }

    fn one_of(&mut self, place: &str, count: usize, value: &Value, path: &str) -> bool {
        let mut fits = 0;
        for index in 0..count {
            let before = self.met.clone();
            match self.at(&format!("{place}/oneOf/{index}"), value, path) {
                Ok(()) => fits += 1,
                Err(_) => self.met = before,
            }
        }
        fits == 1
    }

    /// Properties that no value had.
    fn never_met(&self) -> Vec<String> {
        let mut all = Vec::new();
        properties(&self.schema, "#", &mut all);
        all.retain(|place| !self.met.contains(place));
        all
    }
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not checked here"),
    }
}

fn properties(schema: &Value, place: &str, all: &mut Vec<String>) {
    match schema {
        Value::Object(rules) => {
            for (name, rule) in rules {
                let place = format!("{place}/{name}");
                if place.rsplit('/').nth(1) == Some("properties") {
                    all.push(place.clone());
                }
                properties(rule, &place, all);
            }
        }
        Value::Array(rules) => {
            for (index, rule) in rules.iter().enumerate() {
                properties(rule, &format!("{place}/{index}"), all);
            }
        }
        _ => {}
    }
}

/// A type of ours, as its source has it.
fn item(file: &str, wanted: &str) -> syn::Item {
    let file = syn::parse_file(&text(file)).unwrap();
    let named = |item: &syn::Item| match item {
        syn::Item::Struct(item) => item.ident == wanted,
        syn::Item::Enum(item) => item.ident == wanted,
        syn::Item::Const(item) => item.ident == wanted,
        _ => false,
    };
    file.items.into_iter().find(named).unwrap_or_else(|| panic!("no {wanted}"))
}

/// The fields of a struct that are serialised under their own names.
fn fields(file: &str, wanted: &str) -> BTreeSet<String> {
    let syn::Item::Struct(item) = item(file, wanted) else { panic!("{wanted} is no struct") };
    let own = item.fields.iter().filter(|field| !field.attrs.iter().any(|a| a.path().is_ident("serde")));
    own.map(|field| field.ident.as_ref().unwrap().to_string()).collect()
}

fn number(file: &str, wanted: &str) -> u64 {
    let syn::Item::Const(item) = item(file, wanted) else { panic!("{wanted} is no constant") };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. }) = *item.expr else {
        panic!("{wanted}")
    };
    number.base10_parse().unwrap()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

fn root(from: HashOrigin, known: bool) -> Root {
    Root {
        source: "slot:other".to_owned(),
        on: On::Verity(Verity {
            name: "0a0f-verity".to_owned(),
            root_hash: "0a0f".to_owned(),
            root_hash_from: from,
            signed_by: (from == HashOrigin::Signature)
                .then(|| CheckedBy::Certificate("/etc/verity.d/a.crt".to_owned())),
        }),
        system: known.then(|| "Debian GNU/Linux 13 (trixie)".to_owned()),
        version: known.then(|| "1.3".to_owned()),
    }
}

fn not_verified(on: Value) -> Root {
    Root { on: serde_json::from_value(on).unwrap(), ..root(HashOrigin::Unknown, true) }
}

fn plain(known: bool) -> Value {
    json!({"plain": {
        "device": {"name": "vda2", "devno": "254:2"},
        "partition_uuid": known.then_some("0b-02"),
        "filesystem_uuid": known.then_some("6f2d"),
        "fstype": "ext4",
        "read_only": false,
        "options": "noatime",
    }})
}

fn row(carried: bool) -> Row {
    let (at, what) = ("/var".to_owned(), "/dev/vda5".to_owned());
    Row { at, what, carried, reason: "it was asked for".to_owned() }
}

fn staged(complete: bool) -> Staged {
    let relay = Relay { init: "/init".to_owned(), forward: Plan::default(), back: Plan::default() };
    let at = || "/run/nextroot".to_owned();
    let steps = vec![
        Step::Isolate { at: at() },
        Step::Prewarm { at: at(), limits: Prewarm::default() },
        Step::LeaveUnits { names: vec!["a.service".to_owned()] },
        Step::Order {
            orders: vec![Order { unit: "a.service".to_owned(), before: vec!["b.service".to_owned()] }],
        },
        Step::ArmWatchdog(Watchdog {
            device: "/dev/watchdog0".to_owned(),
            timeout_sec: Some(30),
            runs_on: true,
        }),
        Step::Watch { trial: Trial::default(), program: Some("/usr/bin/nextroot".to_owned()) },
        Step::Publish { at: at(), relay: Box::new(relay) },
    ];
    Staged {
        root: root(HashOrigin::Signature, true),
        direct: !complete,
        complete,
        begun: Plan { steps },
        mounts: vec![row(true), row(false)],
        prewarmed: complete.then(|| Prewarmed {
            files: 3,
            bytes: Bytes(9),
            limit: Some(Limit::Time),
            ..Prewarmed::default()
        }),
        gives_up: complete.then(|| "it was given up".to_owned()),
        phases: vec![Phase::new("find", Duration::from_secs(1), Duration::from_secs(2))],
    }
}

/// A status is private to the program: its fields are put together here, each a value as the program has it.
fn status(current: Option<Root>, staged: Option<Staged>, relay: Option<Pass>) -> Value {
    json!({
        "version": number("src/mode/status/mod.rs", "VERSION"),
        "generation": 3,
        "current": current,
        "blessed": staged.is_none(),
        "blessing": staged.is_none().then(|| Blessing { at: 1_700_000_000, root_hash: Some("0a0f".to_owned()) }),
        "trial": staged.is_some().then(|| OnTrial {
            rules: Trial { units: vec!["a.service".to_owned()], ..Trial::default() },
            since_us: current.is_some().then_some(70_000_000),
            came_back: false,
            asked_back: false,
            stays: current.is_none().then(|| "a.service failed; it stays: no root ran before".to_owned()),
        }),
        "staged": staged,
        "previous": current,
        "restored": false,
        "failed": [Failed { root_hash: "0a0f".to_owned(), why: "execute the init".to_owned() }],
        "relay": relay,
    })
}

#[test]
fn status_is_described() {
    let mut checker = Checker::new("status");
    let pass = |error: Option<&str>| {
        let (switched, error) = (error.is_none(), error.map(str::to_owned));
        Some(Pass { switched, begun_us: Some(7), took_us: 31_123, error, blames_image: !switched })
    };
    let origins = [
        HashOrigin::CommandLine,
        HashOrigin::Config,
        HashOrigin::Arguments,
        HashOrigin::PartitionUuids,
        HashOrigin::File,
        HashOrigin::Signature,
    ];
    let mut values: Vec<Value> =
        origins.map(|from| status(Some(root(from, false)), None, pass(Some("no")))).to_vec();
    values.push(status(None, Some(staged(true)), pass(None)));
    values.push(status(None, Some(staged(false)), None));
    for on in [plain(true), plain(false), json!({"unreachable": "it is overlay"})] {
        values.push(status(Some(not_verified(on)), None, None));
    }
    for value in &values {
        checker.hold(value).unwrap();
        assert_eq!(names(value), fields("src/mode/status/mod.rs", "Status"));
    }
    assert_eq!(checker.never_met(), Vec::<String>::new());
    // The one of this machine, as it is printed.
    let printed = Status::look().unwrap().json().unwrap();
    checker.hold(&serde_json::from_str(&printed).unwrap()).unwrap();
}

#[test]
fn report_is_described() {
    let mut checker = Checker::new("report");
    let mut own = fields("src/mode/report/mod.rs", "Report");
    own.extend(fields("src/plan/report/mod.rs", "Report"));
    for entry in fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report")).unwrap()
    {
        let directory = entry.unwrap().path();
        let text = fs::read_to_string(directory.join("report.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        checker.hold(&value).unwrap();
        // Only where a client asked.
        let mut own = own.clone();
        if directory.join("probe.log").exists() {
            own.insert("probed".to_owned());
        }
        assert_eq!(names(&value), own);
    }
    assert_eq!(checker.never_met(), Vec::<String>::new());
}

#[test]
fn doctor_is_described() {
    let mut checker = Checker::new("doctor");
    // Of this machine, as it is printed: it has something to say of each.
    let printed = doctor::run(None).json().unwrap();
    let value: Value = serde_json::from_str(&printed).unwrap();
    checker.hold(&value).unwrap();
    assert_eq!(names(&value), fields("src/mode/doctor.rs", "Diagnosis"));
    assert_eq!(checker.never_met(), Vec::<String>::new());
    let own = &schema("doctor")["$defs"]["check"]["properties"]["name"]["examples"];
    let checks: Vec<&Value> =
        value["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert_eq!(*own, json!(checks[..own.as_array().unwrap().len()]));
}

/// The variants of an enum, as serde's kebab-case has them.
fn variants(file: &str, wanted: &str) -> Vec<String> {
    let syn::Item::Enum(item) = item(file, wanted) else { panic!("{wanted} is no enum") };
    let kebab = |name: String| {
        let mut text = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !text.is_empty() {
                text.push('-');
            }
            text.extend(c.to_lowercase());
        }
        text
    };
    item.variants.iter().map(|variant| kebab(variant.ident.to_string())).collect()
}

#[test]
fn every_word_is_described() {
    for (file, place, wanted) in [
        ("status", "step/properties/do", "Step"),
        ("plan", "step/properties/do", "Step"),
        ("status", "root/properties/root_hash_from", "HashOrigin"),
        ("stage", "root/properties/root_hash_from", "HashOrigin"),
    ] {
        let described = schema(file).pointer(&format!("/$defs/{place}/examples")).cloned();
        assert_eq!(described, Some(json!(variants("src/plan/step.rs", wanted))));
    }
}

fn report() -> Report {
    let facts: Value = serde_json::from_str(&text("tests/golden/preflight/base.json")).unwrap();
    let asked: Asked = serde_json::from_value(facts["asked"].clone()).unwrap();
    let system: System = serde_json::from_value(facts["system"].clone()).unwrap();
    let new: NewRoot = serde_json::from_value(facts["new_root"].clone()).unwrap();
    let mut report = examine(&asked, &system, &NewRoot::default());
    report.checks.extend(examine(&asked, &system, &new).checks);
    for what in [
        Survives::Processes,
        Survives::Marked(vec![7]),
        Survives::Listens(vec!["/run/a (Stream)".to_owned()]),
        Survives::Descriptors { count: 2, preserved: false },
    ] {
        report.survives.push(Survivor { unit: "a.service".to_owned(), what });
    }
    report
}

#[test]
fn preflight_is_described() {
    let mut checker = Checker::new("preflight");
    let mut value = serde_json::to_value(report()).unwrap();
    let of_report = names(&value);
    let whole = value.as_object_mut().unwrap();
    whole.insert("version".to_owned(), json!(number("src/mode/preflight.rs", "PREFLIGHT_VERSION")));
    whole.insert("source".to_owned(), json!("slot:other"));
    whole.insert("mounts".to_owned(), json!([row(true), row(false)]));
    whole.insert("skipped".to_owned(), json!(["vda4 (254:4) was passed over: it is empty"]));
    checker.hold(&value).unwrap();
    assert_eq!(checker.never_met(), Vec::<String>::new());
    // A root that stays closed.
    let refused = Some(Refused::RootHash("it is forbidden".to_owned()));
    let closed = examine(&Asked { refused, ..Asked::default() }, &System::default(), &NewRoot::default());
    let closed = serde_json::to_value(&closed).unwrap();
    value.as_object_mut().unwrap().extend(closed.as_object().unwrap().clone());
    checker.hold(&value).unwrap();
    assert_eq!(value["opened"], false);
    let own = fields("src/mode/preflight.rs", "Examined");
    assert_eq!(names(&value), own.union(&of_report).cloned().collect());
    let checks: Vec<&str> = report().checks.iter().map(|check| check.name).collect();
    let described = &schema("preflight")["$defs"]["check"]["properties"]["name"]["examples"];
    assert_eq!(*described, json!(checks[..checks.len() / 2]));
}

/// What `nextroot plan` prints for the facts in tests/golden.
fn plan(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nextroot"));
    command.current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
    let output = command.arg("plan").args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every plan that the command line can give: of a boot, and of a soft reboot by the relay and without.
#[test]
fn plan_is_described() {
    let mut checker = Checker::new("plan");
    let previous = ["previous", "--facts", "stage/system.json"];
    for (arguments, written) in [
        (&["--cmdline", "root=/dev/sda1 rootfallback=/dev/sda2", "--facts", "facts.json"][..], "boot"),
        (&previous[..], "soft_reboot"),
        (&[&previous[..], &["--direct"]].concat()[..], "soft_reboot"),
    ] {
        let value = plan(arguments);
        checker.hold(&value).unwrap();
        assert_eq!(value["version"], number("src/mode/plan/mod.rs", "PLAN_VERSION"));
        assert_eq!(names(&value), fields(&format!("src/mode/plan/{written}.rs"), "Whole"));
    }
    assert_eq!(checker.never_met(), Vec::<String>::new());
}

#[test]
fn stage_is_described() {
    let mut checker = Checker::new("stage");
    let lines = |line: &str| vec![line.to_owned()];
    let passed = lines("vda1 was passed over: the running root");
    let request = Request { source: "slot:other".to_owned(), way: Way::Direct, ..Request::default() };
    let done = |complete| Done {
        staged: staged(complete),
        skipped: passed.clone(),
        warnings: lines("root-hash: joined from partition UUIDs"),
    };
    let of_plain =
        |known| Done { staged: Staged { root: not_verified(plain(known)), ..staged(true) }, ..done(true) };
    for (outcome, expected) in [
        (Outcome::staged(&request, done(true)), "staged"),
        (Outcome::staged(&request, of_plain(true)), "staged"),
        (Outcome::staged(&request, of_plain(false)), "staged"),
        (Outcome::staged(&request, done(false)).warned(lines("nextroot.conf:1: passed over")), "staged"),
        (Outcome::passed(&request, Passed::NothingNewer(&passed)), "nothing-newer"),
        (Outcome::passed(&request, Passed::OnlyFailed(&passed)), "only-failed"),
    ] {
        let value = serde_json::from_str(&outcome.json().unwrap()).unwrap();
        checker.hold(&value).unwrap();
        assert_eq!(names(&value), fields("src/mode/stage.rs", "Outcome"));
        assert_eq!(value["outcome"], expected);
        assert_eq!(value["root"].is_null(), expected != "staged");
        assert_eq!(value["version"], number("src/mode/stage.rs", "STAGE_VERSION"));
        assert_eq!(value["skipped"], json!(passed));
    }
    assert_eq!(checker.never_met(), Vec::<String>::new());
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = status(Some(root(HashOrigin::File, true)), Some(staged(true)), None);
    let mut both = good["current"].clone();
    both["plain"] = plain(true)["plain"].clone();
    for (pointer, value, expected) in [
        ("/version", json!(2), "$.version: against const 1"),
        ("/generation", json!(0), "$.generation: against minimum 1"),
        ("/generation", json!("1"), "$.generation: against"),
        ("/blessed", json!(null), "$.blessed: against type"),
        ("/current/root_hash_from", json!(1), "$.current: against oneOf"),
        ("/current", json!({}), "$.current: against oneOf"),
        ("/current", both, "$.current: against oneOf"),
        ("/staged/begun/steps/0/do", json!(1), "$.staged: against oneOf"),
        ("/staged/mounts/0", json!({"at": "/"}), "$.staged: against oneOf"),
        ("", json!({}), "$: against required"),
        ("", json!([]), "$: against"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let error = Checker::new("status").hold(&bad).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let mut bad = good.clone();
    bad["unheard_of"] = json!(1);
    assert!(Checker::new("status").hold(&bad).unwrap_err().contains("unheard_of is not described"));
    let mut checker = Checker::new("status");
    checker.hold(&status(None, None, None)).unwrap();
    assert!(checker.never_met().contains(&"#/$defs/pass/properties/error".to_owned()));
}
