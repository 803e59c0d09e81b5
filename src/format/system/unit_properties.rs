//! Properties of units as `systemctl show` writes them: `Name=value` a line, an empty line between two units.
//!
//! A property that a version of systemd does not have is left out, not written empty; one with several values
//! of its own (`Listen=`) takes a line each.

use std::collections::BTreeMap;

/// The properties of one unit, or of the manager itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitProperties(BTreeMap<String, Vec<String>>);

/// A line that is no property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of systemctl show is no property: \"{text}\"")]
pub struct Error {
    line: usize,
    text: String,
}

impl UnitProperties {
    /// Reads what `systemctl show` wrote of any number of units.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let mut units = Vec::new();
        let mut unit = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            if text.is_empty() {
                units.push(std::mem::take(&mut unit));
                continue;
            }
            let property = text.split_once('=').filter(|(name, _)| is_name(name));
            let (name, value) = property.ok_or_else(|| Error { line, text: text.to_owned() })?;
            unit.0.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        units.push(unit);
        units.retain(|unit| !unit.0.is_empty());
        Ok(units)
    }

    /// A property's value, the first where there are several; `None` where it is empty or unknown to this
    /// systemd.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a property that takes several lines.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A list of names, separated by spaces.
    pub fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name).flat_map(str::split_whitespace)
    }

    /// A boolean; `None` where this systemd does not have it.
    #[must_use]
    pub fn yes(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value == "yes")
    }

    /// A number; `None` where it is not set.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Id=a.socket\nListen=/run/a (Stream)\nListen=[::]:80 (Stream)\nConflicts=\n\nId=b.service\n\
        Requires=system.slice  x.mount\nDefaultDependencies=no\nMainPID=412\nTasksMax=[not set]\nWhat=a=b\n";

    #[test]
    fn values() {
        let units = UnitProperties::parse_all(TEXT).unwrap();
        let [a, b] = units.as_slice() else { panic!("{units:?}") };
        assert_eq!(a.get("Id"), Some("a.socket"));
        assert_eq!(a.all("Listen").collect::<Vec<_>>(), ["/run/a (Stream)", "[::]:80 (Stream)"]);
        assert_eq!(a.get("Conflicts"), None);
        assert_eq!(b.words("Requires").collect::<Vec<_>>(), ["system.slice", "x.mount"]);
        for (name, yes, number) in [
            ("DefaultDependencies", Some(false), None),
            ("MainPID", Some(false), Some(412)),
            ("TasksMax", Some(false), None),
            ("SurviveFinalKillSignal", None, None),
        ] {
            assert_eq!((b.yes(name), b.number(name)), (yes, number), "{name}");
        }
        assert_eq!(b.get("What"), Some("a=b"));
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("", Ok(0)),
            ("\n\n", Ok(0)),
            ("Id=a\n", Ok(1)),
            ("Id=a\n\n\nId=b", Ok(2)),
            ("Id=a\nnonsense\n", Err(2)),
            ("=a\n", Err(1)),
            ("No such=x\n", Err(1)),
        ] {
            let got = UnitProperties::parse_all(text).map(|units| units.len()).map_err(|error| error.line);
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
