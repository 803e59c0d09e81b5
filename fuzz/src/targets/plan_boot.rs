//! `plan/facts.rs`, `plan/boot.rs`, `plan/policy.rs`, `plan/hold.rs` and what they ask: facts that are read are written, and
//! read back; whatever they are, a command line gets a plan, a question, a wait or a refusal, and each has a text. What is
//! baked in is kept to by each plan: nothing unverified is mounted where verity is required, nothing without a signature
//! that has to hold where that is, no block is passed over or checked only once, a root hash that is pinned is the one that
//! is opened, and a least version is checked before the switch. (The first line is the command line, the rest are facts as
//! JSON. A digit in front of it all is the configuration.)

use nextroot::{
    format::{config::initramfs::Config, kernel::cmdline::CommandLine},
    plan::{
        Plan, Step,
        boot::{self, Decision},
        facts::Facts,
        intent::Intent,
        step::{OpenVerity, Volume},
    },
};

const ROOT_HASH: &str = "00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100";

/// What is baked in, and what that demands of a plan.
struct Baked {
    config: &'static str,
    root: Demand,
    usr: Demand,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Demand {
    Nothing,
    Verity,
    Signature,
}

use Demand::{Nothing, Signature, Verity};

/// By the digit in front.
const BAKED: [Baked; 10] = [
    Baked { config: "", root: Nothing, usr: Nothing },
    Baked { config: "[Policy]\nVerity=required\n", root: Verity, usr: Verity },
    Baked { config: "[Policy]\nVerity=required\nUsrVerity=allowed\n", root: Verity, usr: Nothing },
    Baked { config: "[Policy]\nUsrVerity=required\n", root: Nothing, usr: Verity },
    Baked { config: "[Policy]\nImagePolicy=root=verity:usr=verity+absent\n", root: Verity, usr: Verity },
    Baked {
        config: "[Policy]\nImagePolicy=root=signed:usr=signed+absent\n",
        root: Signature,
        usr: Signature,
    },
    Baked { config: "[Policy]\nImagePolicy=root=absent:usr=verity\n", root: Nothing, usr: Verity },
    Baked {
        config: "[Policy]\nCommandLine=roothash=00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100\n",
        root: Verity,
        usr: Verity,
    },
    Baked {
        config: "[Boot]\nCommandLine=root=dissect\n[Policy]\nVerity=required\nMinimumVersion=1\n",
        root: Verity,
        usr: Verity,
    },
    Baked {
        config: "[Policy]\nMinimumVersion=1\nImagePolicy=root=unprotected+erofs:=open\n",
        root: Nothing,
        usr: Nothing,
    },
];

pub(super) fn run(data: &[u8]) {
    let digit = data.first().filter(|byte| byte.is_ascii_digit()).map(|digit| usize::from(digit - b'0'));
    let data = if digit.is_some() { data.get(1..).unwrap_or_default() } else { data };
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, json) = data.split_at(at);
    let Ok(facts) = serde_json::from_slice::<Facts>(json) else { return };
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    let baked = BAKED.get(digit.unwrap_or(0)).unwrap();
    let config = Config::parse(baked.config, "f").unwrap();
    let Ok(intent) = Intent::resolve(&CommandLine::parse(&super::text(line)), &config) else { return };
    match boot::decide(&intent, &facts) {
        Decision::Go(plan) => {
            assert!(!plan.steps.is_empty() && !plan.to_string().is_empty());
            keeps_to(baked, &config, &plan);
        }
        Decision::Read(wanted) => assert!(!wanted.is_empty()),
        Decision::Wait(wants) => assert!(!boot::waiting(&wants, &facts, &[]).is_empty()),
        Decision::Refuse(error) => assert!(!error.to_string().is_empty()),
    }
}

fn keeps_to(baked: &Baked, config: &Config, plan: &Plan) {
    let demand = |at: &str| match at {
        "/sysroot" => baked.root,
        // /usr is the root's where it has none of its own: what is demanded of the root is demanded of it then.
        "/sysroot/usr" => baked.usr,
        _ => Nothing,
    };
    let has_usr =
        plan.steps.iter().any(|step| matches!(step, Step::Mount { at, .. } if at == "/sysroot/usr"));
    for step in &plan.steps {
        match step {
            Step::Mount { what, at, .. } => {
                let of_usr = if !has_usr && at == "/sysroot" { baked.usr } else { Nothing };
                let demand = if of_usr > demand(at) { of_usr } else { demand(at) };
                if demand != Nothing {
                    let Volume::Verity(name) = what else { panic!("{at} is not verified: {plan}") };
                    is_verified(name, demand, plan);
                }
            }
            Step::Tmpfs { at, .. } | Step::Bind { at, .. } => {
                assert!(at != "/sysroot" || baked.root == Nothing, "{plan}");
                assert!(at != "/sysroot/usr", "{plan}");
            }
            _ => {}
        }
    }
    if let Some(least) = &config.minimum_version {
        let checked = |step: &Step| matches!(step, Step::CheckVersion { at_least, .. } if at_least == least);
        let switched = plan.steps.iter().position(|step| matches!(step, Step::SwitchRoot { .. }));
        assert!(plan.steps.iter().position(checked) < switched, "{plan}");
        assert!(plan.steps.iter().any(checked), "{plan}");
    }
}

/// Whether a plan opens this device, and checks it, as is demanded.
fn is_verified(name: &str, demand: Demand, plan: &Plan) {
    let opens = |step: &Step| matches!(step, Step::OpenVerity(open) if open.name == name);
    let checks = |step: &Step| matches!(step, Step::CheckVerity { name: checked, corruption_ignored: false, .. } if checked == name);
    let opened = plan.steps.iter().position(opens);
    assert!(opened.is_some() && opened < plan.steps.iter().position(checks), "{plan}");
    let Some(Step::OpenVerity(OpenVerity { table, signature, .. })) =
        opened.and_then(|at| plan.steps.get(at))
    else {
        panic!("{plan}")
    };
    let weak = ["ignore_corruption", "check_at_most_once"];
    assert!(!table.options.iter().any(|word| weak.contains(&word.as_str())), "{plan}");
    if demand == Signature {
        assert!(signature.as_ref().is_some_and(|handed| handed.signed.required), "{plan}");
    }
    // The only policy that names one.
    let is_pinned = plan.to_string().contains("from the configuration");
    assert!(!is_pinned || name != "root" || table.root_hash.to_string() == ROOT_HASH, "{plan}");
}
