//! `format/kernel/cmdline.rs`: words hold no more than the line has, no word is empty unless it was quoted, nothing
//! after `--` counts, and words without quotes that are quoted again read back as they were.

use nextroot::format::kernel::cmdline::{CommandLine, Parameter, same_name};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let line = CommandLine::parse(&text);
    let length = |p: &Parameter| p.name.len() + p.value.as_ref().map_or(0, String::len);
    assert!(line.parameters.iter().map(length).sum::<usize>() <= text.len());
    assert!(line.parameters.iter().all(|p| p.value.is_some() || p.name != "--"));
    assert!(line.parameters.iter().all(|p| same_name(&p.name, &p.name.replace('-', "_"))));
    let plain = |text: &str| !text.contains('"');
    let whole = |p: &&Parameter| !p.name.is_empty() && plain(&p.name) && p.value.as_deref().is_none_or(plain);
    let kept: Vec<Parameter> = line.parameters.iter().filter(whole).cloned().collect();
    let written: Vec<String> = kept.iter().map(quoted).collect();
    assert_eq!(CommandLine::parse(&written.join(" ")).parameters, kept);
    let cut = CommandLine::parse(&(written.join(" ") + " -- after=it"));
    assert_eq!(cut.parameters, kept);
}

fn quoted(Parameter { name, value }: &Parameter) -> String {
    value.as_ref().map_or_else(|| format!("\"{name}\""), |value| format!("\"{name}={value}\""))
}
