//! The completions, by the shells themselves: bash and zsh at a terminal of their own, fish as it offers to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

mod left_out;

/// A directory with images and the links of udev, and the completions, which look there.
struct Rig {
    directory: TempDir,
}

impl Rig {
    fn new() -> Self {
        let rig = Self { directory: tempfile::tempdir().unwrap() };
        for (directory, names) in [
            ("disk/by-partlabel", &["os_1", "os_2", r"my\x20os"][..]),
            ("disk/by-partuuid", &["0a0f15ff-01"]),
            ("disk/by-uuid", &["1b1e"]),
            ("disk/by-label", &[]),
        ] {
            fs::create_dir_all(rig.path(directory)).unwrap();
            for name in names {
                std::os::unix::fs::symlink("../../vda1", rig.path(directory).join(name)).unwrap();
            }
        }
        fs::create_dir_all(rig.path("here/images")).unwrap();
        for file in ["os.raw", "os.verity", "my image.raw", "pre.raw"] {
            fs::write(rig.path("here").join(file), "").unwrap();
        }
        for file in ["nextroot.bash", "_nextroot", "nextroot.fish"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/completions").join(file);
            let text = fs::read_to_string(from).unwrap();
            assert!(text.contains("/dev/disk/"), "{file}");
            fs::write(rig.path(file), text.replace("/dev/disk", rig.path("disk").to_str().unwrap())).unwrap();
        }
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn shell(&self, program: &str) -> Command {
        let mut shell = Command::new(program);
        shell.current_dir(self.path("here")).stderr(Stdio::null());
        shell.env("HOME", self.directory.path()).env("ZDOTDIR", self.directory.path());
        shell.env("TERM", "dumb").env("LC_ALL", "C.UTF-8");
        shell
    }

    /// What becomes of each line when the keys are pressed: `shell` writes it into the file lines at ^T, and empties it.
    fn typed(&self, shell: &str, keys: &[&str]) -> Vec<String> {
        let mut script = self.shell("script");
        let script = script.args(["-qec", shell, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut script = script.spawn().unwrap();
        // Open until the shell has ended by itself.
        let mut terminal = script.stdin.take().unwrap();
        terminal.write_all(format!("{}\x14exit\n", keys.join("\x14")).as_bytes()).unwrap();
        assert!(script.wait().unwrap().success());
        let lines = fs::read_to_string(self.path("lines")).unwrap();
        lines.lines().map(str::to_owned).collect()
    }
}

/// TAB, and a key for all that could be there: what is typed, and what becomes of it in bash and in zsh.
const LINES: [(&str, &str); 18] = [
    ("nextroot canc\t", "nextroot cancel "),
    ("nextroot stage PARTL\t", "nextroot stage PARTLABEL="),
    ("nextroot stage PARTLABEL=o\t", "nextroot stage PARTLABEL=os_"),
    ("nextroot stage PARTLABEL=m\t", r"nextroot stage PARTLABEL=my\ os "),
    ("nextroot doctor PARTUUID=\t", "nextroot doctor PARTUUID=0a0f15ff-01 "),
    ("nextroot stage slot:o\t", "nextroot stage slot:other "),
    ("nextroot reboot sl\t", "nextroot reboot slot:other "),
    ("nextroot stage rooth\t", "nextroot stage roothash:"),
    ("nextroot stage my\t", r"nextroot stage my\ image.raw "),
    ("nextroot stage im\t", "nextroot stage images/"),
    ("nextroot stage p\x19", "nextroot stage pre.raw previous "),
    ("nextroot stage o\x19", "nextroot stage os.raw os.verity "),
    ("nextroot plan --hash-device=PARTLABEL=m\t", r"nextroot plan --hash-device=PARTLABEL=my\ os "),
    ("nextroot plan --facts os.v\t", "nextroot plan --facts os.verity "),
    ("nextroot status --is bl\t", "nextroot status --is blessed "),
    ("nextroot status --is=bl\t", "nextroot status --is=blessed "),
    ("nextroot verity format os.r\t", "nextroot verity format os.raw "),
    ("nextroot report --svg >im\t", "nextroot report --svg >images/"),
];

/// With what differs.
fn check(rig: &Rig, shell: &str, own: &[(&str, &str)]) {
    let (keys, expected): (Vec<&str>, Vec<&str>) = LINES.iter().chain(own).copied().unzip();
    assert_eq!(rig.typed(shell, &keys), expected);
}

#[test]
fn bash_completes() {
    if !are_there(&["bash", "script"]) {
        return;
    }
    let rig = Rig::new();
    let setup = r#"
. ../nextroot.bash
written() { printf '%s\n' "$READLINE_LINE" >>../lines; READLINE_LINE=; }
bind -x '"\C-t": written'
bind '"\C-y": insert-completions'
"#;
    fs::write(rig.path("rc"), setup).unwrap();
    check(
        &rig,
        "bash --noprofile --rcfile ../rc -i",
        &[
            ("nextroot stage PARTLABEL=\x19", r"nextroot stage PARTLABEL=my\ os os_1 os_2 "),
            // Where somebody has taken them out, words are whole.
            (
                "COMP_WORDBREAKS=${COMP_WORDBREAKS//[:=]/}\nnextroot stage PARTLABEL=o\x19",
                "nextroot stage PARTLABEL=os_1 PARTLABEL=os_2 ",
            ),
            ("nextroot stage slot:o\t", "nextroot stage slot:other "),
            ("nextroot status --is=bl\t", "nextroot status --is=blessed "),
        ],
    );
}

#[test]
fn zsh_completes() {
    if !are_there(&["zsh", "script"]) {
        return;
    }
    let rig = Rig::new();
    let setup = r#"
fpath=($ZDOTDIR $fpath)
autoload -U compinit && compinit -u -D
written() { print -r -- $BUFFER >>../lines; BUFFER= }
zle -N written
bindkey '^T' written
all() { _main_complete; compstate[insert]=all }
zle -C all complete-word all
bindkey '^Y' all
"#;
    fs::write(rig.path(".zshrc"), setup).unwrap();
    let all = r"nextroot stage PARTLABEL=my\ os PARTLABEL=os_1 PARTLABEL=os_2 ";
    check(&rig, "zsh -d -i", &[("nextroot stage PARTLABEL=\x19", all)]);
}

#[test]
fn fish_completes() {
    if !are_there(&["fish"]) {
        return;
    }
    let rig = Rig::new();
    for (line, expected) in [
        ("nextroot canc", &["cancel"][..]),
        ("nextroot stage PARTL", &["PARTLABEL=", "PARTLABEL=my os", "PARTLABEL=os_1", "PARTLABEL=os_2"]),
        ("nextroot stage PARTLABEL=o", &["PARTLABEL=os_1", "PARTLABEL=os_2"]),
        ("nextroot doctor PARTUUID=0", &["PARTUUID=0a0f15ff-01"]),
        ("nextroot stage slot:o", &["slot:other"]),
        ("nextroot stage pr", &["pre.raw", "previous"]),
        ("nextroot stage o", &["os.raw", "os.verity"]),
        ("nextroot plan --hash-device PARTLABEL=m", &["PARTLABEL=my os"]),
        ("nextroot plan --hash-device=PARTLABEL=m", &["--hash-device=PARTLABEL=my os"]),
        ("nextroot plan --hash-device os.v", &["os.verity"]),
        ("nextroot status --is bl", &["blessed"]),
        ("nextroot status --is=bl", &["--is=blessed"]),
        ("nextroot verity format os.r", &["os.raw"]),
    ] {
        let mut fish = rig.shell("fish");
        let script = "source ../nextroot.fish; complete -C $argv[1]";
        let output = fish.args(["--no-config", "-c", script, line]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let offered: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(offered, expected, "{line}");
    }
}

/// Whether they are installed.
#[track_caller]
fn are_there(programs: &[&str]) -> bool {
    let missing = |program: &&&str| {
        let mut shown = Command::new(program);
        shown.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        shown.status().is_err()
    };
    match programs.iter().find(missing) {
        Some(program) => left_out::left_out(&format!("{program} is not installed")),
        None => return true,
    }
    false
}
