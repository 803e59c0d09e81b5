//! Units as `systemctl list-units --output=json` writes them: a list, each with its name and its state.

use serde::Deserialize;

/// A unit that systemd has in memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// Its name.
    pub unit: String,
    /// `active`, `inactive`, `failed` ...
    pub active: String,
    /// What that means for its type: `running`, `auto-restart`, `failed` ...
    pub sub: String,
}

/// Reads the list.
pub fn parse(text: &str) -> Result<Vec<Listed>, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let listed = |unit: &str, active: &str, sub: &str| Listed {
            unit: unit.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
        };
        for (text, expected) in [
            ("[]\n", Some(vec![])),
            (
                // Of 254, 257 and 262.
                r#"[{"unit":"a.service","load":"loaded","active":"failed","sub":"failed","description":"A"},
                    {"unit":"dev-disk-by\\x2duuid.device","load":"loaded","active":"active","sub":"plugged","description":"B"}]"#,
                Some(vec![
                    listed("a.service", "failed", "failed"),
                    listed("dev-disk-by\\x2duuid.device", "active", "plugged"),
                ]),
            ),
            // Found by fuzzing: nobody writes it so, and by their places they are the same.
            (r#"[["a.service","failed","failed"]]"#, Some(vec![listed("a.service", "failed", "failed")])),
            (r#"[{"unit":"a.service"}]"#, None),
            (r#"[{"unit":"a.service","active":"active"}]"#, None),
            (r#"{"unit":"a.service","active":"active","sub":"running"}"#, None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
